"""COCO: `images/` and `instances.json`, an annotation per region as run lengths; holes stay holes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core import rle
from bdgan_lib.datasets.formats import shapes
from bdgan_lib.datasets.formats.json_lists import Lists
from bdgan_lib.datasets.formats.set_items import VOID, ExportReport, Item, SetItems


def write(source: SetItems, folder: Path) -> ExportReport:
    """Write COCO's instances. Nothing is lost.

    A region is all of a category in an image: nobody told its objects apart, so its pieces are not split.
    Unlabelled pixels are a crowd of a category of their own.
    """
    report, lists, void = ExportReport(), Lists(folder, "images", "annotations"), len(source.names)
    (folder / "images").mkdir()
    crowds = False
    for item in source:
        report.images += 1
        (folder / "images" / item.stored.image_name).write_bytes(item.stored.image)
        lists.add("images", image_entry(item, report.images))
        for category, pixels in item.regions():
            report.regions += 1
            crowds |= category == VOID
            lists.add(
                "annotations",
                {
                    "id": report.regions,
                    "image_id": report.images,
                    "category_id": void if category == VOID else category,
                    "segmentation": {"size": list(pixels.shape), "counts": rle.encode(pixels)},
                    **extent(pixels),
                    "iscrowd": int(category == VOID),
                },
            )
    categories = [{"id": id, "name": name} for id, name in enumerate(source.names) if id]
    categories += [{"id": void, "name": shapes.VOID}] * crowds
    lists.save(folder / "instances.json", {"info": source.about, "categories": categories})
    return report


def image_entry(item: Item, id: int) -> dict[str, Any]:
    """An image in COCO's list of them, with its class and its seed."""
    height, width = item.mask.shape
    told = {key: item.record.get(key) for key in ("class_id", "class_name", "seed")}
    return {"id": id, "file_name": item.stored.image_name, "height": height, "width": width, **told}


def extent(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """Area and bbox [left, top, width, height] of a region, in pixels."""
    left, top, right, bottom = shapes.box(pixels)
    return {"area": int(pixels.sum()), "bbox": [left, top, right - left + 1, bottom - top + 1]}
