"""Strokes: what an annotator draws, as plain JSON, and the pixels each of them covers.

    {"op": "polygon", "rings": [[[x, y], ...], ...], "label": 1, "instance": 1, "replace": false}
    {"op": "brush", "points": [[x, y], ...], "radius": 4, "label": 1, "instance": 1}
    {"op": "fill", "point": [x, y], "label": 1, "instance": 1}
    {"op": "mask", "regions": [{"label": 1, "instance": 1, "rle": "..."}, ...], "whole": false, "tool": "..."}
    {"op": "relabel", "label": 1, "instance": 2, "to_label": 2, "to_instance": 1}

Numbers are pixels; pixel (i, j) covers x in [j, j + 1] and y in [i, i + 1]. Label 0 is background, 255
unlabelled. `replace`: the polygon replaces all pixels of its label and instance, as when a vertex is dragged.
`whole`: all pixels outside the regions become background. `tool`: what made the mask, a name of at most 40
characters, for the records alone. `relabel` gives all pixels of one object to another, or to the background.

Every other stroke may have `mode`: with "protect" it changes only what is background or the same object, with
"subtract" it takes its pixels away from this object and changes nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bdgan_lib.core import rle
from bdgan_lib.core.polygons import fill
from bdgan_lib.core.types import UNLABELLED, BdganError

Stroke = Mapping[str, Any]
Region = tuple[NDArray[np.bool_], int, int]  # pixels [H, W], the label and the instance they get
MOST_POINTS = 20_000  # of one stroke
_KEYS = {
    "polygon": {"rings", "label", "instance", "replace"},
    "brush": {"points", "radius", "label", "instance"},
    "fill": {"point", "label", "instance"},
    "mask": {"regions", "whole", "tool"},
    "relabel": {"label", "instance", "to_label", "to_instance"},
}
_MODES = ("protect", "subtract")
_REGION = {"label", "instance", "rle"}


def regions(
    stroke: Stroke, labels: NDArray[np.uint8], instances: NDArray[np.uint8], num_labels: int
) -> Iterator[Region]:
    """Yield the regions that a stroke draws, in order.

    Args:
        stroke: the stroke.
        labels: label ids drawn so far, [H, W].
        instances: instance ids drawn so far, [H, W].
        num_labels: number of labels, with background.

    Raises:
        BdganError: the stroke is malformed.
    """
    shape = labels.shape
    op = stroke.get("op")
    if not isinstance(op, str) or op not in _KEYS:
        raise BdganError(f"expected a stroke of kind {', '.join(_KEYS)}, got {op!r:.40}")
    mode = stroke.get("mode")
    if "mode" in stroke and (op == "relabel" or stroke.get("whole") or mode not in _MODES):
        raise BdganError(
            f"expected a mode of {', '.join(_MODES)} for a stroke on a part, got {mode!r:.40} of a {op}"
        )
    refuse_strangers(f"a {op}", stroke, _KEYS[op] | {"op", "mode"})
    for flag in ("replace", "whole"):
        if type(stroke.get(flag, False)) is not bool:
            raise BdganError(f"expected {flag} as true or false, got {stroke[flag]!r:.40}")
    tool = stroke.get("tool", op)
    if not (isinstance(tool, str) and tool.isprintable() and 0 < len(tool) <= 40):
        raise BdganError(f"expected a tool's name of 1 to 40 printable characters, got {tool!r:.40}")
    if op == "mask":
        if stroke.get("whole"):
            yield np.ones(shape, bool), 0, 0
        for region in _listed(stroke.get("regions"), "regions"):
            if not isinstance(region, Mapping) or not isinstance(region.get("rle"), str):
                raise BdganError("a region of a mask has no `rle`; expected label, instance and rle")
            refuse_strangers("a region of a mask", region, _REGION)
            pixels = rle.decode(region["rle"], *shape)
            yield _changed(mode, pixels, *target(region, num_labels), labels, instances)
        return
    label, instance = target(stroke, num_labels)
    if op == "relabel":
        new = {"label": stroke.get("to_label"), "instance": stroke.get("to_instance", 1)}
        yield (labels == label) & (instances == instance), *target(new, num_labels)
        return
    if op == "polygon":
        rings = [points_of(ring) for ring in _listed(stroke.get("rings"), "rings")]
        if sum(map(len, rings)) > MOST_POINTS or any(len(ring) < 3 for ring in rings):
            raise BdganError(f"a polygon needs three points a ring and at most {MOST_POINTS} in all")
        if stroke.get("replace"):
            yield (labels == label) & (instances == instance), 0, 0
        pixels = fill(rings, *shape)
    elif op == "brush":
        radius: Any = stroke.get("radius")
        if not _number(radius) or not 0 < radius <= max(shape):
            raise BdganError(f"expected a brush radius above 0 and at most {max(shape)}, got {radius!r:.40}")
        pixels = brush(points_of(stroke.get("points")), radius, *shape)
    else:
        ((x, y),) = points_of([stroke.get("point")])
        if not (0 <= x < shape[1] and 0 <= y < shape[0]):
            raise BdganError(f"the fill at {x:.0f}, {y:.0f} is outside the image; click inside")
        pixels = _connected(labels, instances, int(y), int(x))
    yield _changed(mode, pixels, label, instance, labels, instances)


def _changed(
    mode: Any,
    pixels: NDArray[np.bool_],
    label: int,
    instance: int,
    labels: NDArray[np.uint8],
    instances: NDArray[np.uint8],
) -> Region:
    """Which of the pixels change in this mode, and to what."""
    if mode is None:
        return pixels, label, instance
    same = (labels == label) & (instances == instance)
    if mode == "subtract":
        return pixels & same, 0, 0
    return pixels & (same | (labels == 0)), label, instance


def brush(points: ArrayLike, radius: float, height: int, width: int) -> NDArray[np.bool_]:
    """Mask [height, width] of pixels whose centre lies within `radius` of a line through the points."""
    path = np.asarray(points, float).reshape(-1, 2)
    covered = np.zeros((height, width), bool)
    for a, b in zip(path, path[1:] if len(path) > 1 else path, strict=False):
        low, high = np.minimum(a, b) - radius, np.maximum(a, b) + radius
        x0, y0 = np.clip(np.floor(low), 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(high), 0, (width, height)).astype(int)
        x, y = np.arange(x0, x1) + 0.5 - a[0], np.arange(y0, y1)[:, None] + 0.5 - a[1]
        dx, dy = b - a
        t = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        covered[y0:y1, x0:x1] |= (x - t * dx) ** 2 + (y - t * dy) ** 2 <= radius**2
    return covered


def _connected(labels: NDArray[np.uint8], instances: NDArray[np.uint8], y: int, x: int) -> NDArray[np.bool_]:
    """The 4-connected region of equal label and instance around a pixel."""
    same = (labels == labels[y, x]) & (instances == instances[y, x])
    region = np.zeros((len(same) + 2, same.shape[1] + 2), np.uint8)  # OpenCV wants a frame
    cv2.floodFill(same.view(np.uint8), region, (x, y), 1, flags=4 | cv2.FLOODFILL_MASK_ONLY)
    return region[1:-1, 1:-1].view(bool)


def refuse_strangers(what: str, record: Mapping[str, Any], known: set[str]) -> None:
    """Raise a BdganError that names a key of the record that is not known."""
    if strangers := set(record) - known:
        raise BdganError(f"{what} has no key {min(map(str, strangers))!r:.40}; it has {sorted(known)}")


def target(record: Mapping[str, Any], num_labels: int) -> tuple[int, int]:
    """The label and the instance that a record gives to pixels; BdganError if it has none such."""
    label, instance = record.get("label"), record.get("instance", 1)
    if type(label) is not int or not (0 <= label < num_labels or label == UNLABELLED):
        raise BdganError(f"expected a label from 0 to {num_labels - 1} or {UNLABELLED}, got {label!r:.40}")
    if type(instance) is not int or not 0 <= instance <= 255:
        raise BdganError(f"expected an instance from 0 to 255, got {instance!r:.40}")
    return label, 0 if label in (0, UNLABELLED) else instance


def points_of(points: Any) -> NDArray[np.float64]:
    """Points [N, 2] of a list of pairs; BdganError if it is anything else, empty or too long."""
    listed = _listed(points, "points")
    whole = all(isinstance(p, list | tuple) and len(p) == 2 and all(map(_number, p)) for p in listed)
    if not listed or len(listed) > MOST_POINTS or not whole:
        raise BdganError(f"expected points as 1 to {MOST_POINTS} pairs of numbers, got {str(points)[:60]}")
    return np.array(listed, float)


def _listed(value: Any, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise BdganError(f"expected {what} as a list, got {str(value)[:40]!r}")
    return value


def _number(value: Any) -> bool:
    """Whether this is a number of the size of a coordinate; bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
