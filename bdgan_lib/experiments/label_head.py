"""What each choice in a label head buys: variants, baselines, ablations and ensembles, over several seeds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.experiments.runner import Cells, Row, run_cells
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.cost import head_cost
from bdgan_lib.heads.ensemble import image_divergence
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head
from bdgan_lib.heads.training_data import TrainingData, collect_training_data
from bdgan_lib.metrics.segmentation import iou
from bdgan_lib.metrics.uncertainty import drop_gain, error_rates, image_counts, kept_miou, rank_correlation
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import annotate, test_annotations
from bdgan_lib.training.file_logs import LogFolder

FIRST_SEED = GENERATOR["label-head test"].first  # nothing was chosen on these samples
DROPPED = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)

# name -> what differs from the standard head: architecture, training, labels per class
TRIALS: dict[str, dict[str, Any]] = {
    "fast": {},
    "paper": {"architecture": {"variant": "paper"}},
    "linear probe": {"architecture": {"variant": "linear"}},
    "pixel MLP x10": {
        "architecture": {"variant": "mlp", "members": 10},
        "training": {"pixel_share": 0.25, "member_share": 1.0},
    },
    "1 label": {"labels": 1},
    "2 labels": {"labels": 2},
    "10 labels": {"labels": 10},
    "low": {"architecture": {"groups": ["low"]}},
    "low + mid": {"architecture": {"groups": ["low", "mid"]}},
    "high": {"architecture": {"groups": ["high"]}},
    "half width": {"architecture": {"widths": [32, 24, 16]}},
    "double width": {"architecture": {"widths": [128, 96, 64]}},
    "no class": {"architecture": {"conditional": False}},
    "stride 1": {"architecture": {"stride": 1}},
    "stride 4": {"architecture": {"stride": 4}},
    "ensemble 2": {"architecture": {"members": 2}},
    "ensemble 4": {"architecture": {"members": 4}},
    "ensemble 16": {"architecture": {"members": 16}},
}


@dataclass(frozen=True)
class LabelHeadExperiment:
    """One generator, its annotations, and fresh samples the oracle has labelled."""

    profile: Profile
    test_samples: int = 1_000

    @cached_property
    def generator(self) -> Any:
        """The profile's generator."""
        return self.profile.generator()

    @cached_property
    def pool(self) -> TrainingData:
        """Ten annotated samples per class, the most recognisable first: five of them ship."""
        annotations = annotate(self.profile, self.generator, keep=10)
        annotations.sort(key=lambda a: (a.class_id, -a.extra["confidence"]))
        return collect_training_data(self.generator, annotations, feature_cache="memory")

    @cached_property
    def test(self) -> TrainingData:
        """Fresh samples with the oracle's foreground."""
        annotations = test_annotations(self.profile, self.generator, self.test_samples, FIRST_SEED)
        return collect_training_data(self.generator, annotations, feature_cache="memory")

    def chosen(self, labels: int, seed: int) -> torch.Tensor:
        """Indices into the pool: `labels` of every class, of the five that ship a draw by the seed."""
        noise, chosen = np.random.default_rng([seed, labels]), []
        for class_id in range(len(self.profile.classes)):
            of_class = torch.nonzero(self.pool.class_ids == class_id).flatten().numpy()
            few = of_class if labels >= len(of_class) else noise.choice(of_class[:5], labels, False)
            chosen += few.tolist()
        return torch.tensor(chosen)

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """Train one head and score it on the fresh samples."""
        architecture = Architecture(**settings.get("architecture", {}))
        training = replace(HeadTraining(), seed=settings["seed"], **settings.get("training", {}))
        chosen = self.chosen(settings.get("labels", 5), settings["seed"])
        pool = self.pool
        training_data = TrainingData(pool.batch(chosen), pool.class_ids[chosen], pool.masks[chosen])
        blocks = tuple((name, channels, side) for name, (channels, side) in self.generator.blocks.items())
        config = HeadConfig(blocks, len(self.profile.classes), architecture=architecture)
        torch.manual_seed(training.seed)
        head = build_head(config)
        start = time.monotonic()
        fit_head(head, training_data, training)
        trained = time.monotonic() - start
        batches = zip(self.test.batches(50, self.test_samples), self.test.class_ids.split(50), strict=True)
        labels, divergence = zip(*(head.label(features, ids) for features, ids in batches), strict=True)
        counts = image_counts(np.concatenate(labels), self.test.masks.numpy(), 2)
        cost = head_cost(config, training.batch_size)
        row: Row = {
            "fgbg_miou": float(iou(counts.sum(0)).mean()),
            "train_seconds": round(trained, 2),
            "gflop": cost.flops / 1e9,
            "step_mb": cost.step_bytes / 1e6,
            "weights": cost.parameters,
        }
        if architecture.members > 1:
            uncertainty = image_divergence(np.concatenate(divergence))
            row["rank_correlation"] = rank_correlation(uncertainty, error_rates(counts))
            row["kept_miou"] = kept_miou(counts, uncertainty, DROPPED)
            row["drop10_gain"] = drop_gain(counts, uncertainty)
        return row


def run(
    profile: Profile,
    folder: Path,
    seeds: int = 5,
    trials: tuple[str, ...] = tuple(TRIALS),
    test_samples: int = 1_000,
    logs: LogFolder | None = None,
    **training: Any,
) -> Row:
    """All trials with every seed; `training` changes HeadTraining for all. See `run_cells` for the result."""
    experiment = LabelHeadExperiment(profile, test_samples)
    cells: Cells = {}
    for name in trials:
        trial = TRIALS[name]
        steps = {"steps": HeadTraining.steps, **training}  # named, so that a new default is measured anew
        settings = {**trial, "training": {**steps, **trial.get("training", {})}, "fresh": test_samples}
        cells |= {(name, seed): {"trial": name, **settings, "seed": seed} for seed in range(seeds)}
    about = {"profile": profile.name, "generator_sha256": experiment.generator.sha256}
    return run_cells("label-head", ("trial", "seed"), cells, experiment.measure, folder, about, logs=logs)
