"""One image's labels on their way between tools, and the canvas to paint the shapes of a label file on."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import MOST_PIXELS
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import checked_label

BACKGROUND = "background"  # what no shape covers, in every file
VOID = "unlabelled"  # the name of 255 in files of shapes


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image's labels with their names, whatever file they came from or go to."""

    name: str  # pairs labels and image; see `checked_id`
    mask: NDArray[np.uint8]  # [H, W] an index into labels, or 255 = unlabelled
    labels: tuple[str, ...]
    instances: NDArray[np.uint8] | None = None  # [H, W]; 0 = of no object, else its number; None = not told

    def __post_init__(self) -> None:
        checked_id(self.name)
        for label in self.labels:
            checked_label(label)
        if len(set(self.labels)) < len(self.labels) or VOID in self.labels:
            raise BdganError(
                f"{self.name}: labels {self.labels!r:.200} came; wanted each once, and not {VOID!r}"
            )
        if self.instances is not None and self.instances.shape != self.mask.shape:
            raise BdganError(
                f"{self.name}: instances {list(self.instances.shape)}, mask {list(self.mask.shape)}; "
                "wanted one size"
            )
        beyond = self.mask[(self.mask >= len(self.labels)) & (self.mask != UNLABELLED)]
        if beyond.size:
            raise BdganError(f"{self.name}: label {beyond.max()} came; wanted 0..{len(self.labels) - 1}")

    def regions(self) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
        """(label, instance or 0, pixels [H, W]) of all that is not plain background; no pixel comes twice."""
        keys = self.mask.astype(np.uint16)
        if self.instances is not None:
            keys += self.instances.astype(np.uint16) * 256
        for key in np.unique(keys).tolist():
            instance, label = divmod(key, 256)
            name = VOID if label == UNLABELLED else self.labels[label]
            if name != BACKGROUND or instance:
                yield name, instance, keys == key


class Canvas:
    """Where the shapes of one image are painted, a later one over an earlier; what that loses is told."""

    def __init__(self, name: str, height: object, width: object, losses: list[str]) -> None:
        if not (type(height) is int and type(width) is int and height > 0 < width):
            raise BdganError(f"the size came as {height!r:.20} x {width!r:.20}; wanted two whole numbers")
        if height * width > MOST_PIXELS:
            raise BdganError(f"it claims {width} x {height} pixels; at most {MOST_PIXELS:,}")
        self.name, self.height, self.width, self.losses = name, height, width, losses
        self._top = np.zeros((height, width), np.int32)  # which of the pairs below lies there
        self._pairs: dict[tuple[str, Hashable], int] = {(BACKGROUND, 0): 0}  # (label, object)
        self._labels = {BACKGROUND: 0, VOID: UNLABELLED}

    def paint(self, label: object, instance: Hashable, pixels: NDArray[np.bool_]) -> None:
        """Lay a shape over what is there.

        instance: the object's number, or anything else that tells objects apart; 0 = of none, None = one of
        its own.
        """
        if not pixels.any():
            raise BdganError("it covers no pixel")
        name = checked_label(label)
        if name not in self._labels:
            if len(self._labels) > UNLABELLED:
                raise BdganError(f"label {name!r:.100} is the 256th of one image; at most 255")
            self._labels[name] = len(self._labels) - 1
        pair = name, ("own", len(self._pairs)) if instance is None else instance
        index = self._pairs.setdefault(pair, len(self._pairs))
        under = self._top[pixels]
        if lost := int(((under > 0) & (under != index)).sum()):
            self.losses.append(
                f"{self.name}: {lost} pixels of an earlier shape went to a {name!r:.100} over it"
            )
        self._top[pixels] = index

    def finished(self) -> LabelledImage:
        """What was painted. Labels stand in the order they came in, after the background."""
        numbers = self._numbers()
        ids = [self._labels[label] for label, _ in self._pairs]
        instances = np.array([numbers[key] for _, key in self._pairs], np.uint8)[self._top]
        mask = np.array(ids, np.uint8)[self._top]
        labels = tuple(label for label in self._labels if label != VOID)
        return LabelledImage(self.name, mask, labels, instances if instances.any() else None)

    def _numbers(self) -> dict[Hashable, int]:
        """Numbers 1 to 255 of the objects: their own where they have one, else the next that is free."""
        objects = dict.fromkeys(key for _, key in self._pairs)
        numbers: dict[Hashable, int] = {n: n for n in objects if type(n) is int and 0 <= n < 256}
        free = iter([n for n in range(1, 256) if n not in numbers])
        for key in objects:
            if key not in numbers:
                numbers[key] = next(free, 0)
                if not isinstance(key, tuple):
                    self.losses.append(f"{self.name}: object {key!r:.20} is number {numbers[key]} here")
        if beyond := sum(not numbers[key] for key in objects) - 1:  # 0 itself is of no object
            self.losses.append(f"{self.name}: {beyond} objects beyond the 255th are of no object here")
        return numbers


def box(pixels: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the box round a region, its last column and row within."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
