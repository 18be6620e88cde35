"""A data set for other tools: one function per format, whole or not there, and every loss has a name."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from bdgan_lib.core.io import require_new_path
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats import coco_panoptic, coco_set, folder, huggingface, voc, yolo
from bdgan_lib.datasets.formats.set_items import ExportReport, SetItems
from bdgan_lib.datasets.shards import ShardedSet

EXPORTS = {
    "coco": coco_set.write,
    "coco-panoptic": coco_panoptic.write,
    "voc": voc.write,
    "hf": huggingface.write,
    "yolo-seg": yolo.write,
    "folder": folder.write,
}
ABOUT = "export.json"  # whence an export is, its licence, its categories, what was lost


def export_set(data: ShardedSet, folder: Path, format: str, progress: bool = True) -> ExportReport:
    """Write a data set to `folder` in the format of another tool, and `export.json` that says whence it is.

    Memory is that of one image (of 100 for "hf"). The folder appears under its name when all is written.
    BdganError for an unknown format, labels that it cannot hold, a folder that exists or a damaged shard.
    """
    if format not in EXPORTS:
        raise BdganError(f"no format {format!r}; there is {', '.join(EXPORTS)}")
    with TemporaryDirectory(
        dir=require_new_path(folder).parent, prefix="."
    ) as temporary:  # all of it or nothing
        whole = Path(temporary) / folder.name
        whole.mkdir()
        with tqdm(total=len(data), unit="image", disable=not progress, mininterval=1.0) as bar:
            source = SetItems(data, bar.update)
            report = EXPORTS[format](source, whole)
        about = {**source.about, "format": format, "categories": list(source.names), **asdict(report)}
        (whole / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        whole.rename(folder)
    return report
