"""Intersection over union from counts: count first, divide last."""

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import UNLABELLED, BdganError


def confusion(
    predicted: NDArray[np.integer], target: NDArray[np.integer], num_labels: int
) -> NDArray[np.int64]:
    """Pixel counts [num_labels, num_labels]: rows are targets, columns predictions.

    Args:
        predicted: labels from 0 to num_labels - 1, of any shape.
        target: of the same shape; 255 is ignored.
        num_labels: the background included.

    Raises:
        BdganError: the shapes differ, or a label is out of range.
    """
    if predicted.shape != target.shape:
        raise BdganError(f"predictions {predicted.shape} and labels {target.shape} differ in shape")
    used = target != UNLABELLED
    p, w = predicted[used].astype(np.int64), target[used].astype(np.int64)
    for what, labels in (("predicted", p), ("target", w)):
        strangers = labels[(labels < 0) | (labels >= num_labels)]
        if len(strangers):
            raise BdganError(f"expected {what} labels 0 to {num_labels - 1}, got {strangers[0]}")
    return np.bincount(w * num_labels + p, minlength=num_labels**2).reshape(num_labels, num_labels)


def areas(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each label, [3, num_labels]: in the intersection, in the predictions, in the targets."""
    return np.stack([np.diag(counts), counts.sum(0), counts.sum(1)])


def iou_of_areas(areas: NDArray[np.number]) -> NDArray[np.float64]:
    """Intersection over union of each label, in [0, 1], from its areas; NaN if it does not occur."""
    both, predicted, target = areas.astype(float)
    either = predicted + target - both
    return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each label, in [0, 1], from confusion counts; NaN if it does not occur."""
    return iou_of_areas(areas(counts))


def mean_iou(predicted: NDArray[np.integer], target: NDArray[np.integer], num_labels: int) -> float:
    """Mean IoU over the labels that occur, in [0, 1]; NaN if no pixel is labelled. See `confusion`.

    Raises:
        BdganError: as of `confusion`.
    """
    scores = iou(confusion(predicted, target, num_labels))
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else float("nan")
