"""Is an ensemble's doubt worth anything? What is kept when the doubtful images go (paper section 3.3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from bdgan_lib.metrics.segmentation import confusion, iou
from bdgan_lib.metrics.statistics import bootstrap_interval


def image_counts(
    predicted: NDArray[np.integer], target: NDArray[np.integer], num_labels: int
) -> NDArray[np.int64]:
    """Confusion counts of every image, [N, num_labels, num_labels], of labels [N, H, W]."""
    return np.stack([confusion(p, w, num_labels) for p, w in zip(predicted, target, strict=True)])


def error_rates(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of each image's labelled pixels that are wrong, [N] in [0, 1]."""
    right = counts.trace(axis1=1, axis2=2)
    return 1 - right / np.maximum(counts.sum((1, 2)), 1)


def rank_correlation(uncertainty: NDArray[np.floating], errors: NDArray[np.floating]) -> float:
    """Spearman's, in [-1, 1]: 1 if the images' doubt [N] orders them as their true errors [N] do."""
    return float(spearmanr(uncertainty, errors).statistic)


def kept_miou(
    counts: NDArray[np.integer], uncertainty: NDArray[np.floating], dropped: Sequence[float]
) -> list[float]:
    """Mean IoU of what is kept when a share of the images, those with the largest doubt, is dropped."""
    order = np.argsort(uncertainty, kind="stable")
    return [
        float(np.nanmean(iou(counts[order[: max(1, round(len(order) * (1 - share)))]].sum(0))))
        for share in dropped
    ]


def drop_gain(
    counts: NDArray[np.integer],
    uncertainty: NDArray[np.floating],
    share: float = 0.1,
    draws: int = 1_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """What dropping that share adds to the mean IoU, with its 95% bootstrap interval over images."""

    def gain(chosen: NDArray[np.integer]) -> float:
        every, kept = kept_miou(counts[chosen], uncertainty[chosen], (0.0, share))
        return kept - every

    return gain(np.arange(len(uncertainty))), *bootstrap_interval(gain, len(uncertainty), draws, seed)
