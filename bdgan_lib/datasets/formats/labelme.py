"""labelme: a JSON file per image, a shape per region."""

import base64
import json
import math
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bdgan_lib.core.image_codecs import decode_labels, encode_png
from bdgan_lib.core.io import list_pictures, require_new_path, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import (
    NameOf,
    checked_points,
    collect_errors,
    is_junk,
    pairing_name,
    stem_of,
    unpaired,
)
from bdgan_lib.datasets.formats.shapes import CHECK_FORMAT, Canvas, LabelledImage, box, checked_size

FOLDER = "labels"
# the keys of a shape that is of no object if its group is null, in the order in which we write them; labelme
# has another order, and there null is an object of its own
_OF_NO_OBJECT = ["label", "group_id", "description", "flags", "shape_type", "points", "mask"]
_CORNERS = {"polygon": (3, None), "rectangle": (2, 4), "circle": (2, 2), "mask": (2, 2),
            "oriented_rectangle": (4, 4), "rotation": (4, 4)}  # fmt: skip


def write_annotations(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/labels/<name>.json`; every pixel keeps its label, and its object as `group_id`.

    A part of a region becomes a polygon if labelme fills it to exactly its pixels. The rest (holes, parts too
    thin for a polygon) becomes one shape `mask` (labelme 5.2 or newer).
    """
    require_new_path(folder / FOLDER).mkdir()
    for item in items:
        record = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [
                {"label": label, "group_id": instance or None, "description": "", "flags": {}} | shape
                for label, instance, pixels in item.regions()
                for shape in _shapes(pixels)
            ],
            "imagePath": f"../images/{item.name}.png",
            "imageData": None,
            "imageHeight": item.mask.shape[0],
            "imageWidth": item.mask.shape[1],
        }
        write_atomic(
            require_new_path(folder / FOLDER / f"{item.name}.json"), json.dumps(record, indent=1).encode()
        )


def read_annotations(path: Path, losses: list[str], name_of: NameOf = stem_of) -> Iterator[LabelledImage]:
    """Read the images of the JSON files in a folder and those in it, or in its `labels/` if there is one.

    Polygons, rectangles (upright or oriented), circles and masks are read, filled as labelme does; lines and
    points are left out. A shape without a group is a separate object, unless it is as `write_annotations`
    wrote it. The JSON file's name is the image's; the path inside is ignored.

    Args:
        path: the folder.
        losses: receives a line for everything that is lost.
        name_of: see `pairing_name`.

    Raises:
        BdganError: there is no JSON file.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = [path for path in list_pictures(folder, "**/*.json") if not is_junk(path)]
    if not files:
        raise BdganError(f"{folder}: the JSON files are missing; {CHECK_FORMAT}")
    names = [file.relative_to(folder).as_posix() for file in files]
    untied = any(unpaired(name, name_of) and _may_hold(file) for name, file in zip(names, files, strict=True))
    taken = set[str]()
    for path_in_folder, file in zip(names, files, strict=True):
        item = None
        with collect_errors(f"{path_in_folder!r:.100}", losses):
            name = pairing_name(path_in_folder, taken, name_of)
            record: dict[str, Any] = read_json(file)
            size = record.get("imageHeight"), record.get("imageWidth")
            canvas = Canvas(name, checked_size(name, size, path), losses)
            canvas.whole = not untied or bool(record["shapes"])
            for i, shape in enumerate(record["shapes"]):
                with canvas.shape(f"shape at {i}"):
                    canvas.paint(shape["label"], _object(shape), _pixels(shape, canvas))
            item = canvas.finished()
        if item:
            yield item


def _may_hold(file: Path) -> bool:
    """Whether a file holds shapes, or cannot be read."""
    try:
        return read_json(file).get("shapes") != []
    except BdganError:
        return True


def _shapes(pixels: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    left, top, right, bottom = box(pixels)
    region = pixels[top : bottom + 1, left : right + 1]
    rest = region.copy()
    # in OpenCV's contours a vertex is a pixel, as in Pillow's polygons
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        points = contour[:, 0].astype(float)
        if len(points) >= 3:
            polygon = _filled("polygon", points, *region.shape)
            if not (polygon & ~region).any():
                rest &= ~polygon
                yield {"shape_type": "polygon", "points": (points + (left, top)).tolist(), "mask": None}
    if rest.any():
        x0, y0, x1, y1 = box(rest)
        png = encode_png(rest[y0 : y1 + 1, x0 : x1 + 1].astype(np.uint8))
        points = np.array([[x0, y0], [x1, y1]], float) + (left, top)
        yield {"shape_type": "mask", "points": points.tolist(), "mask": base64.b64encode(png).decode()}


def _object(shape: dict[str, Any]) -> int | str | None:
    group = shape.get("group_id")
    if group is None:
        return 0 if list(shape) == _OF_NO_OBJECT else None
    if type(group) is not int:
        raise BdganError(f"expected a whole number or null as group_id, got {group!r:.20}")
    return group or "0"  # in labelme group 0 is an object too


def _pixels(shape: dict[str, Any], canvas: Canvas) -> NDArray[np.bool_]:
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in _CORNERS:
        raise BdganError(f"shape of kind {kind!r:.20} left out")
    points = checked_points(shape["points"], canvas.height, canvas.width, *_CORNERS[kind])
    corners = set(product(*zip(points.min(0), points.max(0), strict=True)))
    if kind == "rectangle" and len(points) > 2 and set(map(tuple, points.tolist())) != corners:
        raise BdganError(
            f"expected two opposite corners of a rectangle or all four, got {points.tolist()!s:.80}"
        )
    if kind != "mask":
        return _filled(kind, points, canvas.height, canvas.width)
    mask = decode_labels(base64.b64decode(shape["mask"], validate=True)) > 0
    rows, columns = mask.shape
    # as labelme, which rounds the box; a whole one fits exactly
    if (np.abs(points[1] - points[0] + 1 - (columns, rows)) >= 1).any():
        raise BdganError(f"its mask {list(mask.shape)} does not fit its box {points.tolist()!s:.80}")
    left, top = np.rint(points[0]).astype(int).tolist()
    pixels = np.zeros((canvas.height, canvas.width), bool)
    window = pixels[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
    window[:] = mask[max(-top, 0) :, max(-left, 0) :][: len(window), : window.shape[1]]
    return pixels


def _filled(kind: str, points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The shape's pixels by labelme's rule, which is Pillow's: outline and interior."""
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    if kind == "rectangle":
        draw.rectangle([*points.min(0), *points.max(0)], outline=1, fill=1)
    elif kind != "circle":
        draw.polygon([(x, y) for x, y in points.tolist()], outline=1, fill=1)
    else:  # its centre, a point on it
        radius = math.dist(points[0], points[1])
        draw.ellipse([*(points[0] - radius), *(points[0] + radius)], outline=1, fill=1)
    return np.asarray(picture) > 0
