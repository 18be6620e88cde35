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
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_points, collect_errors, load_json, pairing_name
from bdgan_lib.datasets.formats.shapes import Canvas, LabelledImage, box

FOLDER = "labels"


def write(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/labels/<name>.json`; every pixel keeps its label, and its object as `group_id`.

    A part of a region becomes a polygon if labelme fills it to the very pixels; what has holes, is too thin
    or is in pieces that no polygon meets becomes one shape `mask` (labelme 5.2 or newer).
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


def read(path: Path, losses: list[str]) -> Iterator[LabelledImage]:
    """The images of a folder's JSON files (of its `labels/` if it has one); what is lost is told in `losses`.

    Polygons, rectangles, circles and masks come in, filled as labelme does; lines and points are left out.
    The image is named by the JSON file; the path inside is not followed.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = sorted(file for file in folder.glob("*.json") if file.is_file())
    if not files:
        raise BdganError(f"{folder}: the JSON files are missing; is this the folder, and the format?")
    for file in files:
        item = None
        with collect_errors(file.name, losses):
            name, record = pairing_name(file.name, set()), load_json(file)
            canvas = Canvas(name, record["imageHeight"], record["imageWidth"], losses)
            for i, shape in enumerate(record["shapes"]):
                with collect_errors(f"{name}: shape at {i}", losses):
                    group = shape.get("group_id")
                    if group is not None and type(group) is not int:
                        raise BdganError(f"group_id {group!r:.20} came; wanted a whole number or null")
                    # a group 0 is an object as well
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
            found = _filled("polygon", points, *region.shape)
            if not (found & ~region).any():
                rest &= ~found
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
    found = decode_labels(base64.b64decode(shape["mask"], validate=True)) > 0
    pixels = np.zeros((canvas.height, canvas.width), bool)
    window = pixels[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    if not (window.shape == found.shape == (bottom - top + 1, right - left + 1)):
        raise BdganError(f"its mask {list(found.shape)} does not fit its box or the image")
    window[:] = found
    return pixels


def _filled(kind: str, points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The shape's pixels by labelme's rule, which is Pillow's: outline and inside."""
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
