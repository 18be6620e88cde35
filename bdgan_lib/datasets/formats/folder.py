"""Plain folders: `images/`, `masks/` of label ids, and `records.jsonl` with a line per image."""

import json
from pathlib import Path

from bdgan_lib.datasets.formats.set_items import ExportReport, SetItems


def write_set(source: SetItems, folder: Path) -> ExportReport:
    """Write images and masks as stored, and their provenance in the same order. Nothing is lost."""
    report = ExportReport()
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    with (folder / "records.jsonl").open("w", encoding="utf-8") as records:
        for item in source:
            report.images += 1
            (folder / "images" / item.stored.image_name).write_bytes(item.stored.image)
            (folder / "masks" / f"{item.id}.png").write_bytes(item.stored.mask)
            records.write(json.dumps(item.record, sort_keys=True, ensure_ascii=False) + "\n")
    return report
