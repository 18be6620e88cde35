"""COCO panoptic: every pixel in one segment, R + 256 G + 256² B of a PNG; background is a stuff category."""

from pathlib import Path

import numpy as np

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.datasets.formats.coco_set import extent, image_entry
from bdgan_lib.datasets.formats.json_lists import Lists
from bdgan_lib.datasets.formats.set_items import VOID, ExportReport, SetItems


def write(source: SetItems, folder: Path) -> ExportReport:
    """Write `images/`, `panoptic/` and `panoptic.json`. Nothing is lost.

    A segment's id is its category + 1: 0 is the format's own unlabelled. Category 0 is the background.
    """
    report, lists = ExportReport(), Lists(folder, "images", "annotations")
    (folder / "images").mkdir()
    (folder / "panoptic").mkdir()
    for item in source:
        report.images += 1
        (folder / "images" / item.stored.image_name).write_bytes(item.stored.image)
        ids = np.where(item.categories == VOID, 0, item.categories + np.uint16(1))
        rgb = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], -1).astype(np.uint8)
        (folder / "panoptic" / f"{item.id}.png").write_bytes(encode_png(rgb))
        lists.add("images", image_entry(item, report.images))
        segments = [
            {"id": category + 1, "category_id": category, **extent(pixels), "iscrowd": 0}
            for category, pixels in item.regions(least=0)
            if category != VOID
        ]
        report.regions += len(segments)
        lists.add("annotations", {"image_id": report.images, "file_name": f"{item.id}.png",
                                  "segments_info": segments})  # fmt: skip
    categories = [{"id": id, "name": name, "isthing": int(id > 0)} for id, name in enumerate(source.names)]
    lists.save(folder / "panoptic.json", {"info": source.about, "categories": categories})
    return report
