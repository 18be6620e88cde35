"""Simulated annotators that know the truth and count their clicks: what does a mask cost with each tool?

Each returns its strokes in order (see `strokes`) with the clicks that each one costs. Drawn one after the
other, the strokes reach the target overlap (IoU) with the truth.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Image, Mask, grabcut, overlap
from bdgan_lib.annotation.segmenters import Clicks
from bdgan_lib.annotation.strokes import brush
from bdgan_lib.annotation.undo_history import UndoHistory
from bdgan_lib.core import rle
from bdgan_lib.core.polygons import fill, outline, simplified, smooth


class Move(NamedTuple):
    """A stroke and what it cost."""

    stroke: dict[str, Any]
    clicks: int


def clicks(moves: list[Move]) -> int:
    """The clicks of all moves together."""
    return sum(move.clicks for move in moves)


def final_mask(moves: list[Move], height: int, width: int) -> NDArray[np.uint8]:
    """The mask [H, W] that the strokes leave."""
    history = UndoHistory(np.zeros((2, height, width), np.uint8), 2)
    for move in moves:
        history.draw(move.stroke)
    return history.labels


def draw_polygon(truth: Mask, target: float = 0.9) -> list[Move]:
    """Draw polygons around the object: a click for each vertex and one to close each ring.

    They have the fewest vertices with which a simplified outline reaches the target overlap, which is better
    than any person places them.
    """
    if not truth.any():
        return []
    rings, best, fewest = [smooth(ring) for ring in outline(truth)], None, np.inf
    tried: set[bytes] = set()  # neighbouring tolerances often give the same rings
    for tolerance in np.arange(0, max(truth.shape) / 4, 0.05):
        simple = simplified(rings, tolerance)
        cost = sum(len(ring) + 1 for ring in simple)
        key = b"".join(ring.tobytes() for ring in simple)
        if cost >= fewest or key in tried:
            continue
        tried.add(key)
        if overlap(fill(simple, *truth.shape), truth) >= target:
            best, fewest = simple, cost
    assert best is not None, "tolerance 0 gives the truth"
    stroke = {"op": "polygon", "rings": [ring.tolist() for ring in best], "label": 1}
    return [Move(stroke, int(fewest))]


def draw_grabcut(
    image: Image, truth: Mask, target: float = 0.9, cap: int = 20, margin: int = 1
) -> list[Move]:
    """Draw a box around the object (2 clicks), then a dab (1 click) amid the largest wrong region, and so on.

    GrabCut computes the mask again after each dab. After `cap` dabs the annotator gives up (see `give_up`).

    Args:
        image: [H, W, 3].
        truth: the true mask, [H, W].
        target: overlap to reach.
        cap: number of dabs at most.
        margin: between object and box, in pixels.
    """
    if not truth.any():
        return []
    x0, y0, x1, y1 = box_around(truth, margin)
    dabs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    moves: list[Move] = []
    for dab in range(cap + 1):
        mask = grabcut(image, (x0, y0, x1, y1), dabs[True], dabs[False])
        moves.append(Move(mask_stroke(mask, "grabcut"), 1 if dab else 2))
        if overlap(mask, truth) >= target:
            return moves
        x, y = deepest(mask ^ truth)
        dabs[bool(truth[y, x])].append((x + 0.5, y + 0.5))
    return moves + give_up(truth, target)


def draw_clicks(
    segmenter_clicks: Clicks, truth: Mask, target: float = 0.9, cap: int = 20, box: bool = False
) -> list[Move]:
    """Click amid the object, then amid the largest wrong region, and so on (1 click each).

    After `cap` points the annotator gives up (see `give_up`).

    Args:
        segmenter_clicks: what a segmenter started on the image.
        truth: the true mask, [H, W].
        target: overlap to reach.
        cap: number of points at most.
        box: draw a box around the object first (2 clicks).
    """
    if not truth.any():
        return []
    around = box_around(truth) if box else None
    points: list[tuple[float, float, bool]] = []
    moves: list[Move] = []
    mask = np.zeros_like(truth)
    for point in range(not box, cap + 1):
        if point:
            x, y = deepest(mask ^ truth)
            points.append((x + 0.5, y + 0.5, bool(truth[y, x])))
        mask = segmenter_clicks.predict(points, around)[0]
        moves.append(Move(mask_stroke(mask, "clicks"), 1 if point else 2))
        if overlap(mask, truth) >= target:
            return moves
    return moves + give_up(truth, target)


def draw_proposal(proposal: Mask, truth: Mask, target: float = 0.9, cap: int = 20) -> list[Move]:
    """Accept a proposed mask (1 click), then brush amid the largest wrong region (1 click a dab), and so on.

    Each dab has the radius that helps most. After `cap` dabs the annotator gives up (see `give_up`).

    Args:
        proposal: the proposed mask, [H, W].
        truth: the true mask, [H, W].
        target: overlap to reach.
        cap: number of dabs at most.
    """
    mask, moves = proposal.copy(), [Move(mask_stroke(proposal, "proposal"), 1)]
    for _ in range(cap):
        if overlap(mask, truth) >= target:
            return moves
        x, y = deepest(mask ^ truth)
        points, radius, label = [[x + 0.5, y + 0.5]], best_radius(mask, truth, x, y), int(truth[y, x])
        mask[brush(points, radius, *mask.shape)] = label
        moves.append(Move({"op": "brush", "points": points, "radius": radius, "label": label}, 1))
    return moves if overlap(mask, truth) >= target else moves + give_up(truth, target)


def box_around(truth: Mask, margin: int = 1) -> tuple[int, int, int, int]:
    """The box x0, y0, x1, y1 around a mask with some pixel, `margin` pixels larger on every side."""
    rows, columns = np.flatnonzero(truth.any(1)).tolist(), np.flatnonzero(truth.any(0)).tolist()
    x0, y0 = max(0, columns[0] - margin), max(0, rows[0] - margin)
    return x0, y0, min(truth.shape[1], columns[-1] + 1 + margin), min(truth.shape[0], rows[-1] + 1 + margin)


def give_up(truth: Mask, target: float) -> list[Move]:
    """Erase everything (no click is counted) and draw a polygon."""
    return [Move(mask_stroke(np.zeros_like(truth), "wipe"), 0), *draw_polygon(truth, target)]


def best_radius(mask: Mask, truth: Mask, x: int, y: int) -> float:
    """Radius of the disc at pixel (x, y) that corrects most pixels on balance, filled with the true label."""
    rows, columns = np.indices(mask.shape)
    distance = np.hypot(columns - x, rows - y).ravel()
    gain = (np.where(mask == truth, -1, 1) * (mask != truth[y, x])).ravel()
    order = np.argsort(distance, kind="stable")
    distance, total = distance[order], np.cumsum(gain[order])
    whole = np.append(distance[1:] > distance[:-1], True)  # a disc takes all pixels at its rim
    return round(float(distance[whole][np.argmax(total[whole])]) + 0.01, 4)


def mask_stroke(mask: Mask, tool: str) -> dict[str, Any]:
    """The stroke that replaces everything drawn by this mask."""
    regions = [{"label": 1, "rle": rle.encode(mask)}]
    return {"op": "mask", "regions": regions, "whole": True, "tool": tool}


def deepest(wrong: Mask) -> tuple[int, int]:
    """Column and row of the pixel farthest from the edge of the largest connected region."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    largest = regions == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
    depth = cv2.distanceTransform(np.pad(largest, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return int(x), int(y)
