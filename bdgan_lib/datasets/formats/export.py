"""A data set in the formats of other tools, written whole or not at all, with a report of what was lost."""

from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from bdgan_lib.core.io import atomic_folder
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats import coco, folder, huggingface, voc, yolo
from bdgan_lib.datasets.formats.names import SET_FORMATS
from bdgan_lib.datasets.formats.recipes import RecipeWriter, format_of
from bdgan_lib.datasets.formats.set_items import ExportReport, Item, SetItems
from bdgan_lib.datasets.shards import ShardedSet

_WRITERS = (
    coco.write_set, coco.write_panoptic_set, voc.write_set, huggingface.write_set, yolo.write_set,
    folder.write_set,
)  # fmt: skip
EXPORTS = dict(zip(SET_FORMATS, _WRITERS, strict=True))
ABOUT = "export.json"  # source, licence, categories and losses of an export


def export_set(
    data: ShardedSet,
    folder: str | Path,
    format: str | None = None,
    progress: bool = True,
    recipe: str | None = None,
) -> ExportReport:
    """Write a data set in the format of another tool, and `export.json` about its source and losses.

    One image is in memory at a time (100 for "hf"). The folder appears when all is written.

    Args:
        data: the data set.
        folder: a new folder.
        format: "coco", "coco-panoptic", "voc", "hf", "yolo-seg" or "folder"; not needed with a recipe.
        progress: show a bar.
        recipe: a tool to train with, one of `RECIPES`, whose files are written beside the data.

    Raises:
        BdganError: the format or the recipe is unknown or cannot hold the labels, they do not go together,
            the folder exists, or a shard is damaged.
    """
    if recipe is not None:
        format = format_of(recipe, format)
    if format not in EXPORTS:
        raise BdganError(f"unknown format {format!r}; choose one of {', '.join(EXPORTS)}")
    with atomic_folder(Path(folder)) as unfinished:
        with tqdm(total=len(data), unit="image", disable=not progress) as bar:

            def advance(item: Item) -> None:
                bar.update()
                if writer:
                    writer.add(item)

            source = SetItems(data, advance)
            writer = RecipeWriter(recipe, source) if recipe else None
            report = EXPORTS[format](source, unfinished)
        if writer:
            report.losses += writer.write(unfinished)
        about = {**source.about, "format": format, "categories": list(source.names), **asdict(report)}
        write_json(unfinished / ABOUT, about, ascii_only=False)
    return report
