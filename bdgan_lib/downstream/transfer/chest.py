"""Chest radiographs with few labels: a head is taught on a share of them, the backbone stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.transfer import segment
from bdgan_lib.downstream.transfer.segment import SegmentConfig
from bdgan_lib.training.supervised import FitConfig

SHARES = (0.01, 0.05, 0.1, 1.0)  # paper: 1, 5, 10, ... 100%

_FIT = FitConfig(steps=120, batch_size=16, flip=False)  # no flip: the heart has its side
POCKET = SegmentConfig(("ground", "lung", "heart"), frozen=True, fit=_FIT)


@dataclass(frozen=True)
class ChestConfig:
    """How much is labelled, and how the head is taught."""

    share: float = 1.0  # of the training pictures that have labels, in (0, 1]
    segment: SegmentConfig = POCKET


def labelled(count: int, share: float, seed: int) -> list[int]:
    """Which of `count` pictures have labels: at least one; a smaller share's are among a larger one's."""
    if not 0 < share <= 1:
        raise BdganError(f"share is {share}; give a number above 0 and at most 1")
    order = np.random.default_rng([seed, 2]).permutation(count)
    return order[: ceil(round(share * count, 6))].tolist()  # rounded: 0.07 * 100 is more than 7


def train_and_score(
    backbone: Backbone,
    train: Sequence[Segmented],
    test: Sequence[Segmented],
    config: ChestConfig = ChestConfig(),
    device: str = "cpu",
    progress: str | None = None,
) -> dict[str, float]:
    """As `segment.train_and_score`, on the labelled share of `train`; "labelled" says how many these are.

    The seed of `config.segment.fit` picks them, and begins the head.
    """
    used = labelled(len(train), config.share, config.segment.fit.seed)
    few = [train[k] for k in used]
    return {
        **segment.train_and_score(backbone, few, test, config.segment, device, progress),
        "labelled": len(few),
    }


def with_seed(config: ChestConfig, seed: int) -> ChestConfig:
    """The same, from another seed."""
    return replace(config, segment=replace(config.segment, fit=replace(config.segment.fit, seed=seed)))
