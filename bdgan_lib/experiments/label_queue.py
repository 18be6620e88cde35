"""Does it matter which samples are labelled? A head's mIoU against the labels, by the queue and at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.annotation.queue import balanced_random_order, next_ids, random_order
from bdgan_lib.data.annotations import Annotation
from bdgan_lib.downstream.metrics import iou
from bdgan_lib.downstream.selection import image_counts
from bdgan_lib.experiments.cells import Row, run_cells
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.examples import Examples, collect
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head
from bdgan_lib.profiles import Profile

POOL_SEED = 10_200_000  # of the samples that may be labelled
FIRST_SEED = 10_300_000  # of the test samples: nothing else uses them, nothing was chosen on them
ARMS = ("queue", "random", "balanced random")
POINTS = (12, 24, 36, 60)  # labels at which a head is trained
ROUND = 12  # labels between two fits of the queue's ensemble


@dataclass(frozen=True)
class QueueBench:
    """A pool of samples to label, and fresh samples to test on, all with the oracle's foreground."""

    profile: Profile
    candidates: int = 240
    fresh: int = 1_008  # test samples; as many of each class

    @cached_property
    def generator(self) -> Any:
        return self.profile.generator()

    @cached_property
    def labels(self) -> list[Annotation]:
        """What is seen of a candidate when it is labelled."""
        return self.profile.test_annotations(self.generator, self.candidates, POOL_SEED)

    @cached_property
    def pool(self) -> Examples:
        return collect(self.generator, self.labels, keep="memory")

    @cached_property
    def test(self) -> Examples:
        found = self.profile.test_annotations(self.generator, self.fresh, FIRST_SEED)
        return collect(self.generator, found, keep="memory")

    def order(self, arm: str, seed: int, count: int) -> list[str]:
        """The first ids in the order in which this arm has them labelled."""
        if arm == "random":
            return random_order(self.labels, seed)[:count]
        balanced = balanced_random_order(self.labels, seed)
        if arm == "balanced random":
            return balanced[:count]
        found = balanced[: len(self.profile.classes)]  # the queue too begins at random
        proposer, by_id = Proposer(self.generator, self.labels, seed=seed), {a.id: a for a in self.labels}
        while len(found) < count:
            proposer.fit(by_id[id] for id in found)
            doubt = dict(zip(by_id, proposer.divergence(list(by_id)).tolist(), strict=True))
            found += next_ids(self.labels, found, doubt, min(ROUND, count - len(found)))
        return found

    def score(self, ids: list[str], seed: int, steps: int) -> float:
        """FG/BG mIoU on the fresh samples of a head trained from scratch on these labels."""
        index = {a.id: i for i, a in enumerate(self.labels)}
        chosen = torch.tensor([index[id] for id in ids])
        examples = Examples(self.pool.batch(chosen), self.pool.class_ids[chosen], self.pool.masks[chosen])
        blocks = tuple((name, channels, side) for name, (channels, side) in self.generator.blocks.items())
        torch.manual_seed(seed)
        head = build_head(HeadConfig(blocks, len(self.profile.classes)))
        fit_head(head, examples, HeadTraining(steps=steps, seed=seed))
        batches = zip(self.test.batches(50, self.fresh), self.test.class_ids.split(50), strict=True)
        found = np.concatenate([head.label(features, ids)[0] for features, ids in batches])
        return float(iou(image_counts(found, self.test.masks.numpy(), 2).sum(0)).mean())

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """The curve of one arm with one seed."""
        points, seed = settings["labels"], settings["seed"]
        ids = self.order(settings["arm"], seed, points[-1])
        scores = [self.score(ids[:count], seed, settings["steps"]) for count in points]
        return {"fgbg_miou": scores, "order": ids}


def run(
    profile: Profile,
    folder: Path,
    seeds: int = 5,
    points: Sequence[int] = POINTS,
    steps: int = HeadTraining.steps,
    candidates: int = 240,
    fresh: int = 1_008,
) -> Row:
    """Every arm with every seed; see `run_cells` for the result."""
    bench = QueueBench(profile, candidates, fresh)
    settings = {"labels": list(points), "steps": steps, "candidates": candidates, "fresh": fresh}
    cells = {f"{arm} / {s}": {"arm": arm, "seed": s, **settings} for arm in ARMS for s in range(seeds)}
    about = {"profile": profile.name, "generator_sha256": bench.generator.sha256}
    return run_cells("label-queue", cells, bench.measure, folder, about)
