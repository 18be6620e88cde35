"""How well uncertainty predicts errors, and the gain of dropping uncertain images (paper section 3.3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.metrics.segmentation import confusion, iou
from bdgan_lib.metrics.statistics import bootstrap_interval


def image_counts(
    predicted: NDArray[np.integer], target: NDArray[np.integer], num_labels: int
) -> NDArray[np.int64]:
    """Confusion counts of each image, [N, num_labels, num_labels], from labels [N, H, W]."""
    return np.stack([confusion(p, w, num_labels) for p, w in zip(predicted, target, strict=True)])


def error_rates(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of each image's labelled pixels that are wrong, [N] in [0, 1]; 1 where none is labelled."""
    right = counts.trace(axis1=1, axis2=2)
    return 1 - right / np.maximum(counts.sum((1, 2)), 1)


def rank_correlation(uncertainty: NDArray[np.floating], errors: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of the images' uncertainty [N] and their true errors [N], in [-1, 1]."""
    from scipy.stats import spearmanr

    return float(spearmanr(uncertainty, errors).statistic)


def kept_miou(
    counts: NDArray[np.integer], uncertainty: NDArray[np.floating], dropped: Sequence[float]
) -> list[float]:
    """Mean IoU of the images kept after dropping each share of the most uncertain ones."""
    order = np.argsort(uncertainty, kind="stable")
    kept = [order[: max(1, round(len(order) * (1 - share)))] for share in dropped]
    return [float(np.nanmean(iou(counts[images].sum(0)))) for images in kept]


def drop_gain(
    counts: NDArray[np.integer],
    uncertainty: NDArray[np.floating],
    share: float = 0.1,
    draws: int = 1_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """How much dropping the most uncertain images raises the mean IoU, with its 95% bootstrap interval.

    Args:
        counts: confusion counts of each image, [N, num_labels, num_labels].
        uncertainty: of each image, [N].
        share: of the images to drop.
        draws: bootstrap draws over images.
        seed: of the bootstrap.

    Returns:
        The gain and the ends of its interval.
    """

    def gain(images: NDArray[np.integer]) -> float:
        every, kept = kept_miou(counts[images], uncertainty[images], (0.0, share))
        return kept - every

    return gain(np.arange(len(uncertainty))), *bootstrap_interval(gain, len(uncertainty), draws, seed)
