"""Does it matter which samples are labelled? A head's mIoU against the labels, by the queue and at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdgan_lib.annotation.active_learning import balanced_random_order, next_ids, random_order
from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.experiments.runner import Cells, Row, run_cells
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head
from bdgan_lib.heads.training_data import TrainingData, collect_training_data
from bdgan_lib.metrics.segmentation import confusion, iou, mean_iou
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import test_annotations
from bdgan_lib.training.file_logs import LogFolder

POOL_SEED = GENERATOR["label-queue candidates"].first  # of the samples that may be labelled
FIRST_SEED = GENERATOR["label-queue test"].first  # of the test samples; nothing was chosen on them
ARMS = ("queue", "random", "balanced random")
TARGETS = ("parts", "fgbg")  # what a head is trained to label
POINTS = (12, 24, 48)  # labels at which a head is trained
ROUND = 12  # labels between two fits of the queue's ensemble


@dataclass(frozen=True)
class QueueExperiment:
    """A pool of samples to label, and fresh samples to test on, all with the oracle's labels."""

    profile: Profile
    candidates: int = 240
    test_samples: int = 1_008  # as many of each class

    @cached_property
    def generator(self) -> Any:
        """The profile's generator."""
        return self.profile.generator()

    @cached_property
    def labels(self) -> list[Annotation]:
        """What is seen of a candidate when it is labelled."""
        return test_annotations(self.profile, self.generator, self.candidates, POOL_SEED)

    @cached_property
    def pool(self) -> TrainingData:
        """Features and labels of the candidates."""
        return collect_training_data(self.generator, self.labels, parts=True, feature_cache="memory")

    @cached_property
    def test(self) -> TrainingData:
        """Features and labels of the test samples."""
        annotations = test_annotations(self.profile, self.generator, self.test_samples, FIRST_SEED)
        return collect_training_data(self.generator, annotations, parts=True, feature_cache="memory")

    @cached_property
    def num_labels(self) -> dict[int, int]:
        """Of each class, with its ground."""
        return {a.class_id: len(a.classes) for a in self.labels}

    def order(self, arm: str, target: str, seed: int, count: int) -> list[str]:
        """The first ids in the order in which this arm has them labelled."""
        if arm == "random":
            return random_order(self.labels, seed)[:count]
        balanced = balanced_random_order(self.labels, seed)
        if arm == "balanced random":
            return balanced[:count]
        ids = balanced[: len(self.profile.classes)]  # the queue too begins at random
        proposer = Proposer(self.generator, self.labels, parts=target == "parts", seed=seed)
        by_id = {a.id: a for a in self.labels}
        while len(ids) < count:
            proposer.fit(by_id[id] for id in ids)
            uncertainty = dict(zip(by_id, proposer.divergence(list(by_id)).tolist(), strict=True))
            ids += next_ids(self.labels, ids, uncertainty, min(ROUND, count - len(ids)))
        return ids

    def score(self, ids: list[str], target: str, seed: int, steps: int) -> float:
        """Mean IoU on the test samples of a head trained from scratch on these labels.

        Of parts: the mean over a class's labels, then over the classes.
        """
        index = {a.id: i for i, a in enumerate(self.labels)}
        chosen, parts = torch.tensor([index[id] for id in ids]), target == "parts"
        targets, num_labels = self.test.masks.numpy(), max(self.num_labels.values()) if parts else 2
        masks = self.pool.masks[chosen] if parts else (self.pool.masks[chosen] > 0).to(torch.uint8)
        training_data = TrainingData(self.pool.batch(chosen), self.pool.class_ids[chosen], masks)
        blocks = tuple((name, channels, side) for name, (channels, side) in self.generator.blocks.items())
        torch.manual_seed(seed)
        names = tuple(f"label {k}" for k in range(num_labels))
        head = build_head(HeadConfig(blocks, len(self.profile.classes), names))
        fit_head(head, training_data, HeadTraining(steps=steps, parts=parts, seed=seed))
        batches = zip(self.test.batches(50, self.test_samples), self.test.class_ids.split(50), strict=True)
        predictions = np.concatenate([head.label(features, ids)[0] for features, ids in batches])
        if not parts:
            return mean_iou(predictions, (targets > 0).astype(np.uint8), 2)
        classes = self.test.class_ids.numpy()
        by_class = [
            iou(confusion(predictions[classes == k], targets[classes == k], num_labels))[:n]
            for k, n in self.num_labels.items()
        ]
        return float(np.mean([np.nanmean(scores) for scores in by_class]))

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """The curve of one arm with one seed."""
        points, target, seed = settings["labels"], settings["target"], settings["seed"]
        ids = self.order(settings["arm"], target, seed, max(points))
        scores = [self.score(ids[:count], target, seed, settings["steps"]) for count in points]
        return {"miou": scores, "order": ids}


def run(
    profile: Profile,
    folder: Path,
    seeds: int = 5,
    points: Sequence[int] = POINTS,
    targets: Sequence[str] = TARGETS,
    steps: int = HeadTraining.steps,
    candidates: int = 240,
    test_samples: int = 1_008,
    logs: LogFolder | None = None,
) -> Row:
    """Every arm with every seed, for parts and for foreground; see `run_cells` for the result."""
    experiment = QueueExperiment(profile, candidates, test_samples)
    settings = {"labels": list(points), "steps": steps, "candidates": candidates, "fresh": test_samples}
    cells: Cells = {
        (target, arm, s): {"target": target, "arm": arm, "seed": s, **settings}
        for target in targets
        for s in range(seeds)
        for arm in ARMS
    }
    about = {"profile": profile.name, "generator_sha256": experiment.generator.sha256}
    factors = ("target", "arm", "seed")
    return run_cells("label-queue", factors, cells, experiment.measure, folder, about, logs=logs)
