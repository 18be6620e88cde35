"""One image's labels and instances under strokes, each of which can be undone and done again."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.strokes import Stroke, regions

Maps = NDArray[np.uint8]  # [2, H, W]: labels, instances
Patch = tuple[slice, slice, Maps]  # a box of the drawing, and what stood in it


class UndoHistory:
    """Labels and instances [H, W], and the strokes that made them of what stood there first."""

    def __init__(self, maps: Maps, num_labels: int) -> None:
        self.maps = maps.copy()
        self.num_labels = num_labels
        self._done: list[tuple[Stroke, list[Patch]]] = []
        self._undone: list[Stroke] = []

    @property
    def labels(self) -> NDArray[np.uint8]:
        return self.maps[0]

    @property
    def instances(self) -> NDArray[np.uint8]:
        return self.maps[1]

    @property
    def strokes(self) -> list[Stroke]:
        """What stands, in its order."""
        return [stroke for stroke, _ in self._done]

    @property
    def undone(self) -> list[Stroke]:
        """What `redo` brings back, the last one first."""
        return self._undone[:]

    def draw(self, stroke: Stroke) -> None:
        """Draw a stroke; what was undone is forgotten. BdganError if it is malformed: nothing has changed."""
        self._draw(stroke)
        self._undone.clear()

    def undo(self) -> bool:
        """Take the last stroke back; False if there is none."""
        if not self._done:
            return False
        stroke, patches = self._done.pop()
        self._restore(patches)
        self._undone.append(stroke)
        return True

    def redo(self) -> bool:
        """Draw the stroke that was taken back last; False if there is none."""
        if not self._undone:
            return False
        self._draw(self._undone.pop())
        return True

    def _draw(self, stroke: Stroke) -> None:
        patches: list[Patch] = []
        try:
            for pixels, label, instance in regions(stroke, self.labels, self.instances, self.num_labels):
                if pixels.any():
                    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
                    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
                    patches.append((*box, self.maps[(slice(None), *box)].copy()))
                    self.labels[pixels], self.instances[pixels] = label, instance
        except BaseException:
            self._restore(patches)
            raise
        self._done.append((stroke, patches))

    def _restore(self, patches: Iterable[Patch]) -> None:
        for rows, columns, before in reversed(list(patches)):
            self.maps[:, rows, columns] = before
