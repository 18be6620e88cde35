"""Images with labels in memory: samples, segmented and detected images, sets of them, class masks."""

from __future__ import annotations  # torch is named in types alone: renderer processes start without it

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import UNLABELLED

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class LabelledSample:
    """One image with its labels, as they are stored."""

    image: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.uint8]  # [H, W] label ids; 255 = unlabelled
    class_id: int
    seed: int
    id: str  # pairs image, mask and provenance by name; see `checked_id`


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
    masks: NDArray[np.bool_] | None  # [N, H, W] visible pixels; None where nobody outlined the objects
    ignored: NDArray[np.bool_]  # [N]; neither taught nor scored: a crowd, a difficult one, a sliver


Number = TypeVar("Number", int, NDArray[np.integer])


def mask_value(n: Number) -> Number:
    """The value in masks of label or class n, counted from ground = 0.

    It is n itself up to 254; from 255 on n + 1, because 255 says "unlabelled" in every mask.
    """
    return n + (n >= UNLABELLED)  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images and their class masks."""

    images: NDArray[np.uint8]  # [N, H, W, 3]
    masks: NDArray[np.unsignedinteger]  # [N, H, W]; as `class_masks` gives, or a task's (downstream.tasks)


def class_masks(masks: NDArray[np.integer], class_ids: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Foreground masks [N, H, W], class ids [N] -> class masks: 0 = ground, else class id + 1; 255 stays.

    From class 254 on it is class id + 2 and uint16, since 255 is taken (see `mask_value`).
    """
    values = mask_value(np.asarray(class_ids, np.int64) + 1)
    found = np.where(masks == UNLABELLED, UNLABELLED, (masks > 0) * values[:, None, None])
    return found.astype(np.uint8 if values.max(initial=0) < UNLABELLED else np.uint16)
