"""Pictures of several objects, with their boxes and masks: the pocket world's stand-in for MS-COCO."""

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.labelled_arrays import Detected
from bdgan_lib.worlds import backgrounds
from bdgan_lib.worlds.canvas import SIDE, Canvas, Draws
from bdgan_lib.worlds.pocket import CLASSES, DRAWN_BY
from bdgan_lib.worlds.rendering import downscale, draws_of

SLIVER = 24  # visible pixels of 96 x 96 below which an object is neither taught nor scored

_WATER = ("clownfish", "angelfish", "trout")
_TABLE = ("apple", "mug", "flower", "mushroom")
_GARDEN = ("robin", "blue jay", "goldfinch", "mushroom", "car", "house", "flower")


class _Placed(Canvas):
    """A canvas on which the scene decides where an object stands, not the object's random numbers."""

    def put(self, x: float, y: float, share: float) -> None:
        """The next object's centre in design pixels, and its length as a share of the side."""
        self._place = x, y, share / 0.69  # what an object of the twelve classes fills by itself

    def pose(self, cx: float, cy: float, scale: float, angle: float, mirrored: bool, aspect: float) -> None:
        x, y, share = self._place
        super().pose(x, y, scale * share, angle, mirrored, aspect)


def scene(seed: int, size: int = 96) -> Detected:
    """One to five objects of the twelve classes, some before others, some cut off by the border.

    Classes come in company (fish in water, mugs on a table) with a stranger now and then. Boxes are the
    tightest around the visible pixels; what is visible of an object in less than SLIVER pixels is `ignored`.
    """
    draws = draws_of(seed, 2)
    over = max(2, round(SIDE / size))
    background, company = _theme(size * over, draws)
    canvas = _Placed(np.ascontiguousarray(background, np.float32) * np.float32(255), draws)
    instances, class_ids = np.zeros((size * over, size * over), np.uint8), list[int]()
    for x, y, share in _places(draws):
        stranger, pick = draws.chance(0.12), draws.unit()
        names = CLASSES if stranger else company
        name = names[int(pick * len(names))]
        canvas.labels[:] = 255  # stays where the object covers nothing
        canvas.put(SIDE * x, SIDE * y, share)
        DRAWN_BY[name](canvas, draws)
        class_ids.append(CLASSES.index(name))
        covered = canvas.labels != 255  # by the object, or by its twig (label 0)
        instances[covered] = np.where(canvas.labels[covered] > 0, len(class_ids), 0)
    centre = over // 2
    seen = instances[centre::over, centre::over]
    visible = [k for k in range(1, len(class_ids) + 1) if np.any(seen == k)]
    masks = np.stack([seen == k for k in visible])
    boxes = np.stack([tight_box(mask) for mask in masks])
    ids = np.array([class_ids[k - 1] for k in visible], np.int64)
    slivers = masks.sum((1, 2)) < SLIVER * (size / 96) ** 2
    return Detected(downscale(canvas.image, size, 1.5, draws.noise), boxes, ids, masks, slivers)


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Left, top, right, bottom of the pixels of a mask [H, W] that has some; the right and bottom edges."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _theme(side: int, draws: Draws) -> tuple[NDArray[np.floating], tuple[str, ...]]:
    """A background and the classes that occur on it."""
    kind = draws.unit()
    if kind < 0.25:
        return backgrounds.water(side, draws), _WATER
    if kind < 0.5:
        return backgrounds.room(side, draws), _TABLE
    if kind < 0.75:
        return backgrounds.land(side, draws, low=0.3, high=0.6), _GARDEN
    return backgrounds.foliage(side, draws), _GARDEN


def _places(draws: Draws) -> list[tuple[float, float, float]]:
    """Centre and length of the objects in shares of the side, far to near; they overlap, none hides another.

    The first one's centre lies well inside the picture, so that every picture shows something.
    """
    places: list[tuple[float, float, float]] = []
    count = 1 + draws.index(5)
    for attempt in range(4 * count):
        share, edge = draws.span(0.25, 0.6), 0.3 if attempt == 0 else 0.06
        x, y = draws.span(edge, 1 - edge), draws.span(edge, 1 - edge)
        apart = all(np.hypot(x - a, y - b) > 0.3 * (share + c) for a, b, c in places)
        if apart and len(places) < count:
            places.append((x, y, share))
    return sorted(places, key=lambda place: place[1])
