"""COCO: annotation files of instances, and data sets with instances or panoptic segments."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bdgan_lib.core import rle
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.polygons import outline
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import (
    NameOf,
    checked_points,
    collect_errors,
    pairing_name,
    shared_names,
    stem_of,
    unpaired,
)
from bdgan_lib.datasets.formats.json_lists import Lists
from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, ExportReport, Item, SetItems
from bdgan_lib.datasets.formats.shapes import (
    BACKGROUND,
    CHECK_FORMAT,
    MEANINGS,
    VOID,
    Canvas,
    LabelledImage,
    box,
    checked_size,
)

FILE = "instances.json"


def write_annotations(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/instances.json`, in which every pixel keeps its label and its object.

    A region is written as polygons along its pixels' edges if pycocotools fills them to exactly the region,
    which it does where there is no hole, else as compressed run lengths. Unlabelled pixels are a crowd, which
    COCO's scores ignore. The object's number is in `attributes`, where datumaro looks for it.
    """
    path = require_new_path(folder / FILE)
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    ids = {BACKGROUND: 0, VOID: UNLABELLED}  # the others have the ids of the labels
    for image_id, item in enumerate(items, 1):
        height, width = item.mask.shape
        images.append({"id": image_id, "file_name": f"{item.name}.png", "height": height, "width": width})
        for label in item.labels:
            ids.setdefault(label, len(ids) - 1 if len(ids) <= UNLABELLED else len(ids))
        for label, instance, pixels in item.regions():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[label],
                    "segmentation": _segmentation(pixels, polygons=label != VOID),
                    **_extent(pixels),
                    "iscrowd": int(label == VOID),
                    "attributes": {"instance": instance},
                }
            )
    used = {annotation["category_id"] for annotation in annotations}
    categories = [{"id": id, "name": name} for name, id in ids.items()
                  if name not in (BACKGROUND, VOID) or id in used]  # fmt: skip
    record = {"images": images, "annotations": annotations, "categories": categories}
    write_atomic(path, json.dumps(record).encode())


def read_annotations(path: Path, losses: list[str], name_of: NameOf = stem_of) -> Iterator[LabelledImage]:
    """Read the images of a COCO file, or of the folder with `instances.json`.

    Each annotation is a separate object unless its `attributes` give a number; a crowd belongs to no object.

    Args:
        path: the file or its folder.
        losses: receives a line for everything that is lost.
        name_of: see `pairing_name`.

    Raises:
        BdganError: the file is missing, or is not COCO's instances.
    """
    file = path / FILE if path.is_dir() else path
    record: dict[str, Any] = read_json(file, CHECK_FORMAT)
    names, taken, seen = dict[Any, Any](), set[str](), set[Any]()
    of_image: dict[Any, list[dict[str, Any]]] = {}
    for i, category in enumerate(_list(record, "categories")):
        with collect_errors(f"category at {i}", losses):
            if names.setdefault(category["id"], category["name"]) != category["name"]:
                names[category["id"]] = None  # no label
                raise BdganError(f"a second category has the id {category['id']!r:.20}; neither is read")
    nowhere = len(losses)
    for i, annotation in enumerate(_list(record, "annotations")):
        with collect_errors(f"annotation at {i}", losses):
            if type(id := annotation["image_id"]) not in (int, float, str):
                raise BdganError(f"expected an image_id, got {id!r:.40}")
            of_image.setdefault(id, []).append(annotation)
    images = _list(record, "images")
    damaged = len(losses) > nowhere  # an annotation that may be of any image
    entries = [image for image in images if isinstance(image, dict)]
    ids = Counter(entry["id"] for entry in entries if isinstance(entry.get("id"), Hashable) and "id" in entry)
    # images of annotations that are in no image that is read: they may be of one that seems to have none
    orphans = of_image.keys() - ids
    orphans |= {id for entry in entries if unpaired(entry.get("file_name"), name_of)
                for id in [entry.get("id")] if isinstance(id, Hashable) and id in of_image}  # fmt: skip
    alike = {_plain(id) for id in orphans}
    shared = shared_names((entry.get("file_name") for entry in entries), name_of)
    for i, image in enumerate(images):
        item = None
        with collect_errors(f"image at {i}{_file_of(image)}", losses):
            if image["id"] in seen:
                raise BdganError(f"a second image has the id {image['id']!r:.20}")
            seen.add(image["id"])
            name = pairing_name(image["file_name"], taken, name_of)
            size = checked_size(name, (image.get("height"), image.get("width")), file.parent)
            canvas = Canvas(name, size, losses)
            names_of_it = {_plain(image["id"]), _plain(name), _plain(image["file_name"])}
            lost = orphans if image["id"] not in of_image else names_of_it & alike
            canvas.whole = not (damaged or name in shared or lost)
            for annotation in of_image.pop(image["id"], []):
                with canvas.shape(f"annotation {annotation.get('id')!r:.20}"):
                    _paint(canvas, annotation, names)
            if ids[image["id"]] > 1:  # which of the images they are of is unknown
                canvas = Canvas(name, size, losses)
                canvas.whole = False
            item = canvas.finished()
        if item:
            yield item
    losses += [f"annotations of image {id!r:.20} have no image" for id in of_image.keys() - ids]


def write_set(source: SetItems, folder: Path) -> ExportReport:
    """Write `images/` and `instances.json`, an annotation per region as run lengths. Nothing is lost.

    A region is all pixels of a category in an image: the objects of a class are not told apart, so its pieces
    are not split. Holes stay holes. Unlabelled pixels are a crowd of a category of their own.
    """
    report, lists, void = ExportReport(), Lists(folder, "images", "annotations"), len(source.names)
    (folder / "images").mkdir()
    crowds = False
    for item in source:
        _add_image(item, folder, report, lists)
        for category, pixels in item.regions():
            report.regions += 1
            crowds |= category == VOID_CATEGORY
            lists.add(
                "annotations",
                {
                    "id": report.regions,
                    "image_id": report.images,
                    "category_id": void if category == VOID_CATEGORY else category,
                    "segmentation": {"size": list(pixels.shape), "counts": rle.encode(pixels)},
                    **_extent(pixels),
                    "iscrowd": int(category == VOID_CATEGORY),
                },
            )
    categories = [{"id": id, "name": name} for id, name in enumerate(source.names) if id]
    categories += [{"id": void, "name": VOID}] * crowds
    lists.save(folder / FILE, {"info": source.about, "categories": categories})
    return report


def write_panoptic_set(source: SetItems, folder: Path) -> ExportReport:
    """Write `images/`, `panoptic/` and `panoptic.json`. Nothing is lost.

    Every pixel is in one segment, whose id is R + 256 G + 256² B of a PNG: its category + 1, since 0 is the
    format's unlabelled. Category 0, the background, is a stuff category.
    """
    report, lists = ExportReport(), Lists(folder, "images", "annotations")
    (folder / "images").mkdir()
    (folder / "panoptic").mkdir()
    for item in source:
        _add_image(item, folder, report, lists)
        ids = np.where(item.categories == VOID_CATEGORY, 0, item.categories + np.uint16(1))
        rgb = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], -1).astype(np.uint8)
        (folder / "panoptic" / f"{item.id}.png").write_bytes(encode_png(rgb))
        segments = [
            {"id": category + 1, "category_id": category, **_extent(pixels), "iscrowd": 0}
            for category, pixels in item.regions(least=0)
            if category != VOID_CATEGORY
        ]
        report.regions += len(segments)
        lists.add("annotations", {"image_id": report.images, "file_name": f"{item.id}.png",
                                  "segments_info": segments})  # fmt: skip
    categories = [{"id": id, "name": name, "isthing": int(id > 0)} for id, name in enumerate(source.names)]
    lists.save(folder / "panoptic.json", {"info": source.about, "categories": categories})
    return report


def fill_polygons(polygons: object, height: int, width: int) -> NDArray[np.bool_]:
    """The union [height, width] of polygons, as pycocotools fills them.

    Each is a list [x, y, x, y, ...], or one of pairs [[x, y], [x, y], ...].

    Raises:
        BdganError: there is no polygon, or one is too short or lies far outside the image.
    """
    if not (isinstance(polygons, list) and polygons):
        raise BdganError("it has no polygon")
    rings = [checked_points(_pairs(polygon), height, width) for polygon in polygons]
    packed = coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return rle.decode(coco_mask.merge(packed)["counts"].decode(), height, width)


def _pairs(polygon: object) -> NDArray[np.float64]:
    points = np.asarray(polygon, float)
    if points.ndim == 1 and points.size % 2:
        raise BdganError(f"expected numbers x, y in turn, got {points.size} of them")
    return points.reshape(-1, 2) if points.ndim == 1 else points


def _plain(id: object) -> object:
    """What an id is to a reader who takes "3", "03" and 3.0 for the same."""
    try:
        return float(id)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return str(id).strip().casefold()


def _file_of(image: object) -> str:
    name = image.get("file_name") if isinstance(image, dict) else None
    return f" ({name[:100]!r})" if isinstance(name, str) else ""


def _list(record: dict[str, Any], key: str) -> list[Any]:
    values = record.get(key)
    if not isinstance(values, list):
        raise BdganError(f"expected COCO's instances, got a file without a list of {key}; {CHECK_FORMAT}")
    return values


def _segmentation(pixels: NDArray[np.bool_], polygons: bool) -> list[list[int]] | dict[str, Any]:
    height, width = pixels.shape
    if polygons:
        rings = [ring.astype(int).ravel().tolist() for ring in outline(pixels)]
        if np.array_equal(fill_polygons(rings, height, width), pixels):
            return rings
    return {"size": [height, width], "counts": rle.encode(pixels)}


def _extent(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """Area and bbox [left, top, width, height] of a region, in pixels."""
    left, top, right, bottom = box(pixels)
    return {"area": int(pixels.sum()), "bbox": [left, top, right - left + 1, bottom - top + 1]}


def _paint(canvas: Canvas, annotation: dict[str, Any], names: dict[Any, Any]) -> None:
    label, segmentation = names[annotation["category_id"]], annotation["segmentation"]
    if not isinstance(segmentation, dict):
        pixels = fill_polygons(segmentation, canvas.height, canvas.width)
    elif segmentation["size"] != [canvas.height, canvas.width]:
        raise BdganError(
            f"expected runs of the image's {[canvas.height, canvas.width]}, got {segmentation['size']!r:.40}"
        )
    else:
        decode = rle.decode if isinstance(segmentation["counts"], str) else rle.from_runs
        pixels = decode(segmentation["counts"], canvas.height, canvas.width)
    instance = (annotation.get("attributes") or {}).get("instance")
    if type(instance) is not int:
        instance = None
        if annotation.get("iscrowd") and MEANINGS.get(label, label) != VOID:
            canvas.losses.append(f"{canvas.name}: a crowd of {label!r:.100} is of no object here")
            instance = 0
    canvas.paint(label, instance, pixels)


def _add_image(item: Item, folder: Path, report: ExportReport, lists: Lists) -> None:
    """Write an image and its entry in COCO's list of images, with its class and its seed."""
    report.images += 1
    (folder / "images" / item.stored.image_name).write_bytes(item.stored.image)
    height, width = item.mask.shape
    metadata = {key: item.record.get(key) for key in ("class_id", "class_name", "seed")}
    entry = {"id": report.images, "file_name": item.stored.image_name, "height": height, "width": width}
    lists.add("images", {**entry, **metadata})
