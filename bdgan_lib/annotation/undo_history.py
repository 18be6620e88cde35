"""The labels and instances of one image, drawn by strokes that can be undone and redone."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.strokes import Stroke, regions

Maps = NDArray[np.uint8]  # [2, H, W]: labels, instances
Box = tuple[slice, slice]  # rows, columns
Patch = tuple[slice, slice, Maps]  # a box of the maps, and their previous values in it


def box_of(pixels: NDArray[np.bool_]) -> Box | None:
    """The rows and columns of the smallest box around the pixels [H, W] that are true; None if none is."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(pixels).view(np.uint8))
    return (slice(y, y + height), slice(x, x + width)) if width else None


class UndoHistory:
    """Labels and instances [H, W], and the strokes drawn on top of the initial ones."""

    def __init__(self, maps: Maps, num_labels: int) -> None:
        self.maps, self._initial = maps.copy(), maps.copy()
        self.num_labels = num_labels
        self._changed: list[Box] = []  # of every change so far, undone ones too
        self._done: list[tuple[Stroke, list[Patch]]] = []
        self._undone: list[Stroke] = []

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The label ids, [H, W]."""
        return self.maps[0]

    @property
    def instances(self) -> NDArray[np.uint8]:
        """The instance ids, [H, W]."""
        return self.maps[1]

    @property
    def strokes(self) -> list[Stroke]:
        """The strokes drawn and not undone, in order."""
        return [stroke for stroke, _ in self._done]

    @property
    def undone(self) -> list[Stroke]:
        """The strokes that `redo` can draw again, the next one last."""
        return self._undone[:]

    @property
    def changes(self) -> int:
        """How often pixels have changed so far; each undone stroke counts again."""
        return len(self._changed)

    def changed_since(self, changes: int) -> Box | None:
        """The smallest box around what has changed since `changes` was this number; None if nothing has."""
        if not (boxes := self._changed[changes:]):
            return None
        rows, columns = (
            slice(min(s.start for s in side), max(s.stop for s in side)) for side in zip(*boxes, strict=True)
        )
        return rows, columns

    def draw(self, stroke: Stroke) -> None:
        """Draw a stroke and forget the undone ones; BdganError if malformed, and then nothing has changed."""
        self._draw(stroke)
        self._undone.clear()

    def undo(self) -> bool:
        """Undo the last stroke; False if there is none."""
        if not self._done:
            return False
        stroke, patches = self._done.pop()
        self._restore(patches)
        self._undone.append(stroke)
        return True

    def redo(self) -> bool:
        """Draw the last undone stroke again; False if there is none."""
        if not self._undone:
            return False
        self._draw(self._undone.pop())
        return True

    def touched(self, except_by: str) -> NDArray[np.bool_]:
        """Pixels [H, W] covered by the initial labels or by strokes of other tools than `except_by`."""
        replayed = UndoHistory(self._initial, self.num_labels)
        covered: NDArray[np.bool_] = replayed.labels > 0
        for stroke in self.strokes:
            if stroke.get("tool") != except_by:
                for pixels, *_ in regions(stroke, replayed.labels, replayed.instances, self.num_labels):
                    covered = covered | pixels
            replayed.draw(stroke)
        return covered

    def _draw(self, stroke: Stroke) -> None:
        patches: list[Patch] = []
        try:
            for pixels, label, instance in regions(stroke, self.labels, self.instances, self.num_labels):
                if box := box_of(pixels):
                    rows, columns = box
                    before = self.maps[:, rows, columns].copy()
                    patches.append((rows, columns, before))
                    self._changed.append(box)
                    for map, value in zip(self.maps, (label, instance), strict=True):
                        np.copyto(map[box], np.uint8(value), where=pixels[box])
        except BaseException:
            self._restore(patches)
            raise
        self._done.append((stroke, patches))

    def _restore(self, patches: Iterable[Patch]) -> None:
        for rows, columns, before in reversed(list(patches)):
            self.maps[:, rows, columns] = before
            self._changed.append((rows, columns))
