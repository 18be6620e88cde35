"""A data set in the formats of other tools, written whole or not at all, with a report of what was lost."""

from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from bdgan_lib.core.io import atomic_folder
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats import coco, folder, huggingface, voc, yolo
from bdgan_lib.datasets.formats.names import SET_FORMATS
from bdgan_lib.datasets.formats.set_items import ExportReport, SetItems
from bdgan_lib.datasets.shards import ShardedSet

_WRITERS = (
    coco.write_set, coco.write_panoptic_set, voc.write_set, huggingface.write_set, yolo.write_set,
    folder.write_set,
)  # fmt: skip
EXPORTS = dict(zip(SET_FORMATS, _WRITERS, strict=True))
ABOUT = "export.json"  # source, licence, categories and losses of an export


def export_set(data: ShardedSet, folder: str | Path, format: str, progress: bool = True) -> ExportReport:
    """Write a data set in the format of another tool, and `export.json` about its source and losses.

    One image is in memory at a time (100 for "hf"). The folder appears when all is written.

    Args:
        data: the data set.
        folder: a new folder.
        format: "coco", "coco-panoptic", "voc", "hf", "yolo-seg" or "folder".
        progress: show a bar.

    Raises:
        BdganError: the format is unknown or cannot hold the labels, the folder exists, or a shard is damaged.
    """
    if format not in EXPORTS:
        raise BdganError(f"unknown format {format!r}; choose one of {', '.join(EXPORTS)}")
    with atomic_folder(Path(folder)) as unfinished:
        with tqdm(total=len(data), unit="image", disable=not progress, mininterval=1.0) as bar:
            source = SetItems(data, bar.update)
            report = EXPORTS[format](source, unfinished)
        about = {**source.about, "format": format, "categories": list(source.names), **asdict(report)}
        write_json(unfinished / ABOUT, about, ascii_only=False)
    return report
