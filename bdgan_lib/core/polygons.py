"""Masks and polygons: one filling rule, outlines that fill to exactly their mask, and their simplification.

A ring is a closed polygon, [N, 2] of (x, y) in pixels, whose last corner joins the first; pixel (i, j) covers
x in [j, j + 1] and y in [i, i + 1]. Rings fill by the even-odd rule, so a ring inside another is a hole.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]


def fill(rings: Sequence[Ring], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [height, width] of pixels whose centre lies inside the rings; on an edge, one side counts."""
    inside = np.zeros((height, width), bool)
    crossings = [np.zeros((2, 0), int)]  # row and column of each, where inside and outside change places
    for ring in rings:
        start = np.asarray(ring, float).reshape(-1, 2)
        end = np.roll(start, -1, 0)
        low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
        # rows whose centre the edge crosses: low <= row + 0.5 < high
        first = np.clip(np.ceil(low - 0.5), 0, height).astype(int)
        count = np.clip(np.ceil(high - 0.5), 0, height).astype(int) - first
        edge = np.repeat(np.arange(len(start)), count)
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        (x0, y0), (x1, y1) = start[edge].T, end[edge].T
        with np.errstate(all="ignore"):
            x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
        crossings.append(np.stack([row, column]))
    rows, columns = np.concatenate(crossings, 1)
    if rows.size:
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max()
        turns = np.zeros((bottom - top, right - left + 1), np.uint8)
        np.add.at(turns, (rows - top, columns - left), 1)  # only even or odd matters, so it may overflow
        inside[top:bottom, left:right] = np.bitwise_xor.accumulate(turns & 1, 1)[:, :-1]
    return inside


def outline(mask: NDArray[np.bool_]) -> list[Ring]:
    """Rings along the pixels' edges, holes in the opposite direction; `fill` makes the same mask of them."""
    m = np.pad(np.asarray(mask, bool), 1)
    below, above = m[1:, 1:-1], m[:-1, 1:-1]
    right, left = m[1:-1, 1:], m[1:-1, :-1]
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}  # corner -> directions of edges that begin there
    for edges, shift, step in (
        (below & ~above, (0, 0), (1, 0)),
        (above & ~below, (1, 0), (-1, 0)),
        (left & ~right, (0, 0), (0, 1)),
        (right & ~left, (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(edges).tolist():
            steps.setdefault((x + shift[0], y + shift[1]), []).append(step)
    rings = []
    while steps:
        corner = first = next(iter(steps))
        step, ring = (0, 0), list[tuple[int, int]]()
        while not ring or corner != first:
            choices = steps[corner]
            turn = (-step[1], step[0])  # two pixels that touch at a corner keep separate rings
            new = turn if turn in choices else choices[0]
            choices.remove(new)
            if not choices:
                del steps[corner]
            if new != step:
                ring.append(corner)
            step, corner = new, (corner[0] + new[0], corner[1] + new[1])
        rings.append(np.array(ring, float))
    return rings


def smooth(ring: Ring) -> Ring:
    """An outline's ring through the midpoints of its pixel edges: the same pixels, without stairs."""
    steps = np.roll(ring, -1, 0) - ring
    count = np.abs(steps).sum(1).astype(int)  # unit edges of each side
    along = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + 0.5
    points: Ring = np.repeat(ring, count, 0) + along[:, None] * np.repeat(np.sign(steps), count, 0)
    return points


def simplified(rings: Sequence[Ring], tolerance: float) -> list[Ring]:
    """Rings with fewer vertices (Douglas-Peucker); removed ones lie within `tolerance` pixels of it.

    Rings left with fewer than three vertices are dropped, since they are smaller than the tolerance.
    """
    shorter = [
        cv2.approxPolyDP(ring.astype(np.float32), tolerance, True)[:, 0].astype(float) for ring in rings
    ]
    return [ring for ring in shorter if len(ring) >= 3]
