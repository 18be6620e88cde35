"""labelme: a JSON file per image, a shape per region."""

import base64
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bdgan_lib.core.image_codecs import decode_labels, encode_png
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_points, collect_errors, pairing_name
from bdgan_lib.datasets.formats.shapes import CHECK_FORMAT, Canvas, LabelledImage, box

FOLDER = "labels"


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


def read_annotations(path: Path, losses: list[str]) -> Iterator[LabelledImage]:
    """Read the images of the JSON files in a folder, or in its `labels/` if there is one.

    Polygons, rectangles, circles and masks are read, filled as labelme does; lines and points are left out.
    The JSON file's name is the image's; the path inside is ignored.

    Args:
        path: the folder.
        losses: receives a line for everything that is lost.

    Raises:
        BdganError: there is no JSON file.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = sorted(file for file in folder.glob("*.json") if file.is_file())
    if not files:
        raise BdganError(f"{folder}: the JSON files are missing; {CHECK_FORMAT}")
    for file in files:
        item = None
        with collect_errors(file.name, losses):
            name = pairing_name(file.name, set())
            record: dict[str, Any] = read_json(file)
            canvas = Canvas(name, record["imageHeight"], record["imageWidth"], losses)
            for i, shape in enumerate(record["shapes"]):
                with collect_errors(f"{name}: shape at {i}", losses):
                    group = shape.get("group_id")
                    if group is not None and type(group) is not int:
                        raise BdganError(f"expected a whole number or null as group_id, got {group!r:.20}")
                    # in labelme group 0 is an object too
                    canvas.paint(shape["label"], {None: 0, 0: "0"}.get(group, group), _pixels(shape, canvas))
            item = canvas.finished()
        if item:
            yield item


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


def _pixels(shape: dict[str, Any], canvas: Canvas) -> NDArray[np.bool_]:
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("polygon", "rectangle", "circle", "mask"):
        raise BdganError(f"shape of kind {kind!r:.20} left out")
    points = checked_points(shape["points"], canvas.height, canvas.width, 3 if kind == "polygon" else 2)
    if kind != "mask":
        return _filled(kind, points, canvas.height, canvas.width)
    (left, top), (right, bottom) = points[:2].astype(int).tolist()
    mask = decode_labels(base64.b64decode(shape["mask"], validate=True)) > 0
    pixels = np.zeros((canvas.height, canvas.width), bool)
    window = pixels[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    if not (window.shape == mask.shape == (bottom - top + 1, right - left + 1)):
        raise BdganError(f"its mask {list(mask.shape)} does not fit its box or the image")
    window[:] = mask
    return pixels


def _filled(kind: str, points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The shape's pixels by labelme's rule, which is Pillow's: outline and interior."""
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    if kind == "polygon":
        draw.polygon([(x, y) for x, y in points.tolist()], outline=1, fill=1)
    elif kind == "rectangle":
        draw.rectangle([*points[:2].min(0), *points[:2].max(0)], outline=1, fill=1)
    else:  # a circle: its centre, a point on it
        radius = math.dist(points[0], points[1])
        draw.ellipse([*(points[0] - radius), *(points[0] + radius)], outline=1, fill=1)
    return np.asarray(picture) > 0
