"""COCO: one `instances.json`, a category per label, an annotation per region."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bdgan_lib.core import rle
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.polygons import outline
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import checked_points, collect_errors, load_json, pairing_name
from bdgan_lib.datasets.formats.shapes import BACKGROUND, VOID, Canvas, LabelledImage, box

FILE = "instances.json"


def write(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/instances.json`, in which every pixel keeps its label and its object.

    A region is written as polygons along its pixels' edges if pycocotools fills these to the very region, as
    it does where there is no hole, else as compressed run lengths. Unlabelled pixels are a crowd, which
    COCO's scores leave out. The number of the object stands in `attributes`, where datumaro looks for it.
    """
    path, images, annotations = (
        require_new_path(folder / FILE),
        list[dict[str, Any]](),
        list[dict[str, Any]](),
    )
    ids = {BACKGROUND: 0, VOID: UNLABELLED}  # the others have the ids of the labels
    for image_id, item in enumerate(items, 1):
        height, width = item.mask.shape
        images.append({"id": image_id, "file_name": f"{item.name}.png", "height": height, "width": width})
        for label in item.labels:
            ids.setdefault(label, len(ids) - 1 if len(ids) <= UNLABELLED else len(ids))
        for label, instance, pixels in item.regions():
            left, top, right, bottom = box(pixels)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[label],
                    "segmentation": _segmentation(pixels, polygons=label != VOID),
                    "area": int(pixels.sum()),
                    "bbox": [left, top, right - left + 1, bottom - top + 1],
                    "iscrowd": int(label == VOID),
                    "attributes": {"instance": instance},
                }
            )
    used = {annotation["category_id"] for annotation in annotations}
    categories = [{"id": id, "name": name} for name, id in ids.items()
                  if name not in (BACKGROUND, VOID) or id in used]  # fmt: skip
    record = {"images": images, "annotations": annotations, "categories": categories}
    write_atomic(path, json.dumps(record).encode())


def read(path: Path, losses: list[str]) -> Iterator[LabelledImage]:
    """The images of a COCO file, or of the folder with `instances.json`; what is lost is added to `losses`.

    Each annotation is an object of its own unless its `attributes` number it; a crowd is of none, and told.
    """
    record = load_json(path / FILE if path.is_dir() else path)
    names, taken, seen = dict[Any, Any](), set[str](), set[Any]()
    of_image: dict[Any, list[dict[str, Any]]] = {}
    for category in _listed(record, "categories"):
        with collect_errors("a category", losses):
            names[category["id"]] = category["name"]
    for i, annotation in enumerate(_listed(record, "annotations")):
        with collect_errors(f"annotation at {i}", losses):
            of_image.setdefault(annotation["image_id"], []).append(annotation)
    for i, image in enumerate(_listed(record, "images")):
        item = None
        with collect_errors(f"image at {i}", losses):
            if image["id"] in seen:
                raise BdganError(f"a second image has the id {image['id']!r:.20}")
            seen.add(image["id"])
            name = pairing_name(image["file_name"], taken)
            canvas = Canvas(name, image["height"], image["width"], losses)
            for annotation in of_image.pop(image["id"], []):
                with collect_errors(f"{name}: annotation {annotation.get('id')!r:.20}", losses):
                    _paint(canvas, annotation, names)
            item = canvas.finished()
        if item:
            yield item
    losses += [f"annotations of image {id!r:.20} have no image" for id in of_image]


def filled(polygons: object, height: int, width: int) -> NDArray[np.bool_]:
    """The union of polygons, each [x, y, x, y, ...], as pycocotools fills them; [height, width]."""
    if not (isinstance(polygons, list) and polygons):
        raise BdganError("it has no polygon")
    rings = [checked_points(np.reshape(p, (-1, 2)), height, width) for p in polygons]
    packed = coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return rle.decode(coco_mask.merge(packed)["counts"].decode(), height, width)


def _listed(record: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(record.get(key), list):
        raise BdganError(f"the file has no list of {key}; wanted COCO's instances")
    return record[key]


def _segmentation(pixels: NDArray[np.bool_], polygons: bool) -> list[list[int]] | dict[str, Any]:
    height, width = pixels.shape
    if polygons:
        rings = [ring.astype(int).ravel().tolist() for ring in outline(pixels)]
        if np.array_equal(filled(rings, height, width), pixels):
            return rings
    return {"size": [height, width], "counts": rle.encode(pixels)}


def _paint(canvas: Canvas, annotation: dict[str, Any], names: dict[Any, Any]) -> None:
    label, came = names[annotation["category_id"]], annotation["segmentation"]
    if not isinstance(came, dict):
        pixels = filled(came, canvas.height, canvas.width)
    elif came["size"] != [canvas.height, canvas.width]:
        raise BdganError(f"its runs are of {came['size']!r:.40}, the image is another size")
    else:
        decode = rle.decode if isinstance(came["counts"], str) else rle.from_runs
        pixels = decode(came["counts"], canvas.height, canvas.width)
    instance = (annotation.get("attributes") or {}).get("instance")
    if type(instance) is not int:
        instance = None
        if annotation.get("iscrowd") and label != VOID:
            canvas.losses.append(f"{canvas.name}: a crowd of {label!r:.100} is of no object here")
            instance = 0
    canvas.paint(label, instance, pixels)
