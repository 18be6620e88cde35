"""Annotators that know the truth and count their clicks: how much work is a mask with each tool?

Each returns its strokes in order, as `strokes` describes them, with the clicks each one cost; drawn one after
the other they reach the wanted overlap with the truth.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np

from bdgan_lib.annotation.assist import Image, Mask, grabcut, overlap
from bdgan_lib.annotation.strokes import brush
from bdgan_lib.core import rle
from bdgan_lib.core.polygons import fill, outline, simplified, smooth


class Move(NamedTuple):
    """A stroke and what it cost."""

    stroke: dict[str, Any]
    clicks: int


def clicks(moves: list[Move]) -> int:
    """What all of them cost."""
    return sum(move.clicks for move in moves)


def draw_polygon(truth: Mask, wanted: float = 0.9) -> list[Move]:
    """Click around the object: a click for each vertex and one to close each ring.

    The vertices are the fewest with which a simplified outline reaches the wanted overlap; no hand places
    them that well.
    """
    if not truth.any():
        return []
    rings, best, fewest = [smooth(ring) for ring in outline(truth)], None, np.inf
    for tolerance in np.arange(0, max(truth.shape) / 4, 0.05):
        found = simplified(rings, tolerance)
        cost = sum(len(ring) + 1 for ring in found)
        if cost < fewest and overlap(fill(found, *truth.shape), truth) >= wanted:
            best, fewest = found, cost
    assert best is not None, "tolerance 0 gives the truth"
    stroke = {"op": "polygon", "rings": [ring.tolist() for ring in best], "label": 1}
    return [Move(stroke, int(fewest))]


def draw_grabcut(
    image: Image, truth: Mask, wanted: float = 0.9, cap: int = 20, margin: int = 1
) -> list[Move]:
    """A box around the object (2 clicks), then a dab at a time in the middle of the largest wrong region.

    Each dab (1 click) has GrabCut make the mask anew. After `cap` dabs patience ends: see `give_up`.
    """
    if not truth.any():
        return []
    rows, columns = np.flatnonzero(truth.any(1)).tolist(), np.flatnonzero(truth.any(0)).tolist()
    x0, y0 = max(0, columns[0] - margin), max(0, rows[0] - margin)
    x1, y1 = min(truth.shape[1], columns[-1] + 1 + margin), min(truth.shape[0], rows[-1] + 1 + margin)
    dabs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    moves: list[Move] = []
    for dab in range(cap + 1):
        found = grabcut(image, (x0, y0, x1, y1), dabs[True], dabs[False])
        moves.append(Move(mask_stroke(found, "grabcut"), 1 if dab else 2))
        if overlap(found, truth) >= wanted:
            return moves
        x, y = deepest(found ^ truth)
        dabs[bool(truth[y, x])].append((x + 0.5, y + 0.5))
    return moves + give_up(truth, wanted)


def draw_proposal(proposal: Mask, truth: Mask, wanted: float = 0.9, cap: int = 20) -> list[Move]:
    """Take a proposed mask (1 click), then brush in the middle of the largest wrong region (1 click a dab).

    A dab is as large as helps most. After `cap` dabs patience ends: see `give_up`.
    """
    mask, moves = proposal.copy(), [Move(mask_stroke(proposal, "proposal"), 1)]
    for _ in range(cap):
        if overlap(mask, truth) >= wanted:
            return moves
        x, y = deepest(mask ^ truth)
        points, radius, label = [[x + 0.5, y + 0.5]], best_radius(mask, truth, x, y), int(truth[y, x])
        mask[brush(points, radius, *mask.shape)] = label
        moves.append(Move({"op": "brush", "points": points, "radius": radius, "label": label}, 1))
    return moves if overlap(mask, truth) >= wanted else moves + give_up(truth, wanted)


def give_up(truth: Mask, wanted: float) -> list[Move]:
    """Wipe all out (no click is counted) and draw a polygon."""
    return [Move(mask_stroke(np.zeros_like(truth), "wipe"), 0), *draw_polygon(truth, wanted)]


def best_radius(mask: Mask, truth: Mask, x: int, y: int) -> float:
    """Of the disc at pixel (x, y) that, given its true label, sets most pixels right on balance."""
    rows, columns = np.indices(mask.shape)
    distance = np.hypot(columns - x, rows - y).ravel()
    gain = (np.where(mask == truth, -1, 1) * (mask != truth[y, x])).ravel()
    order = np.argsort(distance, kind="stable")
    distance, total = distance[order], np.cumsum(gain[order])
    whole = np.append(distance[1:] > distance[:-1], True)  # a disc takes all pixels at its rim
    return round(float(distance[whole][np.argmax(total[whole])]) + 0.01, 4)


def mask_stroke(mask: Mask, tool: str) -> dict[str, Any]:
    """The stroke that puts this mask in place of all that was drawn."""
    regions = [{"label": 1, "rle": rle.encode(mask)}]
    return {"op": "mask", "regions": regions, "whole": True, "tool": tool}


def deepest(wrong: Mask) -> tuple[int, int]:
    """Column and row of the pixel farthest from the edge of the largest connected region."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    largest = regions == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    depth = cv2.distanceTransform(np.pad(largest, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return int(x), int(y)
