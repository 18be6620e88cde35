"""Chest radiographs with few labels: a head is trained on a share of them, the backbone is frozen."""

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

_FIT = FitConfig(steps=120, batch_size=16, flip=False)  # no flip: the heart is on one side
POCKET = SegmentConfig(("ground", "lung", "heart"), frozen=True, fit=_FIT)


@dataclass(frozen=True)
class ChestConfig:
    """How many images are labelled, and how the head is trained."""

    share: float = 1.0  # of the training images that are labelled, in (0, 1]
    segment: SegmentConfig = POCKET


def labelled(count: int, share: float, seed: int) -> list[int]:
    """Indices of the labelled images among `count`, at least one; a larger share contains a smaller one's.

    Raises:
        BdganError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise BdganError(f"expected a share above 0 and at most 1, got {share}")
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
    """`segment.train_and_score` on the labelled share of `train`; adds their number as "labelled".

    The seed of `config.segment.fit` selects them and initialises the head.
    """
    used = labelled(len(train), config.share, config.segment.fit.seed)
    few = [train[k] for k in used]
    scores = segment.train_and_score(backbone, few, test, config.segment, device, progress)
    return {**scores, "labelled": len(few)}


def with_seed(config: ChestConfig, seed: int) -> ChestConfig:
    """The same settings with another seed."""
    return replace(config, segment=replace(config.segment, fit=replace(config.segment.fit, seed=seed)))
