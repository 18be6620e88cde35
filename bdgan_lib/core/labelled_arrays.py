"""Images with labels in memory: samples, segmented and detected images, sets of them, class masks."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import UNLABELLED


@dataclass(frozen=True, eq=False)
class LabelledSample:
    """One image with its labels, as a data set stores them."""

    image: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.uint8]  # [H, W] label ids; 255 = unlabelled
    class_id: int
    seed: int
    id: str  # the file name that pairs image, mask and provenance; see `checked_id`


@dataclass(frozen=True, eq=False)
class Segmented:
    """An image with a label for every pixel."""

    image: NDArray[np.uint8]  # [H, W, 3]
    labels: NDArray[np.uint8]  # [H, W]; 255 = unlabelled


@dataclass(frozen=True, eq=False)
class Detected:
    """An image with its objects."""

    image: NDArray[np.uint8]  # [H, W, 3]
    boxes: NDArray[np.float32]  # [N, 4] left, top, right, bottom; pixel column j covers [j, j + 1]
    class_ids: NDArray[np.int64]  # [N], from 0
    masks: NDArray[np.bool_] | None  # [N, H, W] visible pixels; None if there are only boxes
    ignored: NDArray[np.bool_]  # [N]; not trained on and not scored: crowds, difficult objects, slivers


Number = TypeVar("Number", int, NDArray[np.integer])


def mask_value(n: Number) -> Number:
    """The mask value of label n, counted from background = 0: n up to 254, and n + 1 from there on.

    The value 255 is skipped because it means "unlabelled" in every mask.
    """
    return n + (n >= UNLABELLED)


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images and their class masks."""

    images: NDArray[np.uint8]  # [N, H, W, 3]
    masks: NDArray[np.unsignedinteger]  # [N, H, W] class masks, or a task's labels (downstream.tasks)


def pair_runs(
    labels: NDArray[np.uint8], instances: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of pixels with the same label and instance, row after row.

    Args:
        labels: [H, W].
        instances: [H, W].

    Returns:
        The number of pixels of each run, [R], and 256 * label + instance of each, [R].
    """
    first, second = labels.ravel(), instances.ravel()
    turns = np.flatnonzero((first[1:] != first[:-1]) | (second[1:] != second[:-1])) + 1
    starts = np.concatenate([[0], turns])[: first.size]
    pairs = first[starts].astype(np.int64) << 8 | second[starts]
    return np.diff(starts, append=first.size), pairs


def count_pairs(lengths: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels by label and instance, [256 * 256], from their runs: see `pair_runs`."""
    return np.bincount(pairs, lengths, minlength=65536).astype(np.int64)


def class_masks(masks: NDArray[np.integer], class_ids: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Class masks [N, H, W]: 0 = background, class id + 1 = foreground, 255 = unlabelled.

    From class 254 on the value is class id + 2 and the dtype uint16, since 255 is taken (see `mask_value`).

    Args:
        masks: [N, H, W]; 0 = background, 255 = unlabelled, everything else foreground.
        class_ids: [N], from 0.
    """
    values = mask_value(np.asarray(class_ids, np.int64) + 1)
    labels = np.where(masks == UNLABELLED, UNLABELLED, (masks > 0) * values[:, None, None])
    return labels.astype(np.uint8 if values.max(initial=0) < UNLABELLED else np.uint16)
