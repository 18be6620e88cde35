"""CVAT for images 1.1: one `annotations.xml`, a mask per region."""

import math
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import cv2
import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from numpy.typing import NDArray

from bdgan_lib.core import rle
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import (
    NameOf,
    checked_points,
    collect_errors,
    pairing_name,
    shared_names,
    stem_of,
    unpaired,
)
from bdgan_lib.datasets.formats.coco import fill_polygons
from bdgan_lib.datasets.formats.shapes import CHECK_FORMAT, Canvas, LabelledImage, box, checked_size

FILE = "annotations.xml"
_ABOUT = ("version", "meta")  # elements beside the images
_SHAPES = {"mask", "polygon", "box", "ellipse", "polyline", "points", "cuboid", "skeleton", "track"}
# the attributes of a mask that is of no object, in the order in which we write them; CVAT has another
_OF_NO_OBJECT = ["label", "source", "occluded", "z_order", "rle", "left", "top", "width", "height"]


def write_annotations(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/annotations.xml`: every pixel keeps its label, and its object as `group_id`."""
    path, root = require_new_path(folder / FILE), Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels, seen = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels"), set[str]()
    for i, item in enumerate(items):
        height, width = item.mask.shape
        image = SubElement(root, "image", _texts(id=i, name=f"{item.name}.png", width=width, height=height))
        for label, instance, pixels in item.regions():
            left, top, right, bottom = box(pixels)
            runs = rle.runs(pixels[top : bottom + 1, left : right + 1].T)  # row by row
            place = _texts(left=left, top=top, width=right - left + 1, height=bottom - top + 1)
            group = _texts(group_id=instance) if instance else {}
            more = _texts(source="manual", occluded=0, z_order=0, rle=", ".join(map(str, runs)))
            SubElement(image, "mask", {"label": label} | more | place | group)
            if label not in seen:
                SubElement(SubElement(labels, "label"), "name").text = label
                seen.add(label)
    write_atomic(path, ElementTree.tostring(root, "utf-8", xml_declaration=True))


def read_annotations(path: Path, losses: list[str], name_of: NameOf = stem_of) -> Iterator[LabelledImage]:
    """Read the images of such a file, or of the folder with `annotations.xml`.

    Masks, polygons, boxes and ellipses are read, filled as CVAT does when it makes masks of them, and painted
    in order of z_order; other shapes are left out. Each is a separate object unless it has a group, or is a
    mask as `write_annotations` wrote it. A file with a DTD or entities is refused.

    Args:
        path: the file or its folder.
        losses: receives a line for everything that is lost.
        name_of: see `pairing_name`.

    Raises:
        BdganError: the file is missing, or is not plain XML.
    """
    path = path / FILE if path.is_dir() else path
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except FileNotFoundError as error:
        raise BdganError(f"{path} is missing; {CHECK_FORMAT}") from error
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BdganError(f"{path} is not plain XML ({error}); {CHECK_FORMAT}") from error
    taken, shared = set[str](), shared_names((image.get("name") for image in root.iter("image")), name_of)
    images = [element for element in root if element.tag == "image"]
    # shapes outside all images may be of any; those of a nameless image, of one that seems to have none
    outside = any(e.tag not in _ABOUT and e.tag != "image" for e in root)
    outside |= any(shape.tag in _SHAPES for e in root if e.tag in _ABOUT for shape in e.iter())
    nameless = any(_shapes_of(image) for image in images if unpaired(image.get("name"), name_of))
    for i, image in enumerate(root):
        item = None
        with collect_errors(
            f"element at {i}" + f" ({image.get('name')!r:.100})" * ("name" in image.attrib), losses
        ):
            if image.tag in _ABOUT:
                continue
            if image.tag != "image":
                raise BdganError(f"expected CVAT for images, got {image.tag!r:.20}, which is left out")
            name = pairing_name(image.get("name"), taken, name_of)
            size = _number(image.get("height")), _number(image.get("width"))
            canvas = Canvas(name, checked_size(name, size, path.parent), losses)
            canvas.whole = not (outside or name in shared or (nameless and not _shapes_of(image)))
            shapes = list[tuple[int, Element]]()
            for shape in image:
                if shape.tag == "tag":
                    losses.append(f"{name}: a 'tag' is of the whole image; it is left out")
                    continue
                with canvas.shape(f"a {shape.tag!r:.20}"):
                    shapes.append((int(shape.get("z_order", "0")), shape))
            for _, shape in sorted(shapes, key=itemgetter(0)):
                with canvas.shape(f"a {shape.tag!r:.20}"):
                    group = int(shape.get("group_id", "0")) or None
                    canvas.paint(
                        shape.get("label"),
                        0 if list(shape.attrib) == _OF_NO_OBJECT else group,
                        _pixels(shape, canvas.height, canvas.width),
                    )
            item = canvas.finished()
        if item:
            yield item


def _shapes_of(image: Element) -> list[Element]:
    return [shape for shape in image if shape.tag != "tag"]


def _texts(**attributes: object) -> dict[str, str]:
    return {key: str(value) for key, value in attributes.items()}


def _number(text: str | None) -> object:
    """The number in an attribute; None if there is no such attribute."""
    return None if text is None else int(text) if text.strip().isdecimal() else float(text)


def _pixels(shape: Element, height: int, width: int) -> NDArray[np.bool_]:
    def numbers(*keys: str) -> list[float]:
        return [float(shape.attrib[key]) for key in keys]

    turn = float(shape.get("rotation", "0"))
    if shape.tag == "mask":
        left, top, columns, rows = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        if not (0 <= left < left + columns <= width and 0 <= top < top + rows <= height):
            raise BdganError("its box lies outside the image")
        runs = [int(n) for n in shape.attrib["rle"].split(",")]
        pixels = np.zeros((height, width), bool)
        pixels[top : top + rows, left : left + columns] = rle.from_runs(runs, columns, rows).T
        return pixels
    if shape.tag == "polygon":
        points = [[float(x) for x in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        if strange := [point for point in points if len(point) != 2]:
            raise BdganError(f"expected two numbers x,y of each point, got {strange[0]!s:.80}")
        return fill_polygons([points], height, width)
    if shape.tag == "box":
        ends = np.reshape(numbers("xtl", "ytl", "xbr", "ybr"), (2, 2))
        low, high = checked_points(ends, height, width, 2)
        centre, half = (low + high) / 2, (high - low) / 2
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        return fill_polygons([np.ravel(corners @ [[cos, sin], [-sin, cos]] + centre)], height, width)
    if shape.tag == "ellipse":
        ends = checked_points(np.reshape(numbers("cx", "cy", "rx", "ry"), (2, 2)), height, width, 2)
        (cx, cy), (rx, ry) = np.rint(ends).astype(int).tolist()
        if min(rx, ry) < 0 or not math.isfinite(turn):
            raise BdganError("expected radii of 0 or more and a finite rotation")
        picture = np.zeros((height, width), np.uint8)
        cv2.ellipse(picture, (cx, cy), (rx, ry), turn % 360, 0, 360, 1, -1)
        return picture > 0
    raise BdganError("shapes of this kind are left out")
