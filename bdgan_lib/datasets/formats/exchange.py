"""Annotations to other tools and back: labels in the tools' files, whose they are in `samples.json`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import collect_errors, load_json
from bdgan_lib.datasets.annotation_store import Annotation, json_text
from bdgan_lib.datasets.formats import coco, cvat, labelme, png
from bdgan_lib.datasets.formats.shapes import LabelledImage

FORMATS = {"coco": coco, "labelme": labelme, "cvat": cvat, "png": png}
SAMPLES = "samples.json"  # id -> `Annotation.to_json`, and whether objects were told apart


def export_annotations(
    annotations: Iterable[Annotation], images: Iterable[NDArray[np.uint8]], folder: Path, format: str
) -> int:
    """Write annotations and their images for another tool; returns how many.

    images: uint8 [H, W, 3] in the order of the annotations, best from a generator: one is held at a time.
    They go to `images/<id>.png`, the labels beside them in the format, the rest to `samples.json`.
    `import_annotations` gives back every field. BdganError for an unknown format, labels it cannot hold,
    images that do not fit or a folder that exists; then nothing is written.
    """
    codec, records = _codec(format), dict[str, Any]()

    def items(pictures: Path) -> Iterator[LabelledImage]:
        for annotation, image in zip_longest(annotations, images):
            if annotation is None or image is None or image.shape[:2] != annotation.mask.shape:
                came = f"{annotation and annotation.id} and {'none' if image is None else list(image.shape)}"
                raise BdganError(f"annotation and image came as {came}; wanted pairs of one size")
            id = annotation.id
            write_atomic(require_new_path(pictures / f"{id}.png"), encode_png(image))
            records[id] = annotation.to_json() | {"instances": annotation.instances is not None}
            yield LabelledImage(id, annotation.mask, annotation.classes, annotation.instances)

    with TemporaryDirectory(
        dir=require_new_path(folder).parent, prefix="."
    ) as temporary:  # all of it or nothing
        whole = Path(temporary) / folder.name
        codec.write(items(whole / "images"), whole)
        write_atomic(whole / SAMPLES, json_text(records, SAMPLES))
        whole.rename(folder)
    return len(records)


def import_annotations(folder: Path, format: str) -> tuple[list[Annotation], list[str]]:
    """Annotations that were exported and perhaps edited, and all that was lost or refused, by name.

    Labels and samples pair by name; a label that the sample's classes lack is added to them, and told.
    """
    losses: list[str] = []
    found, samples = [], load_json(folder / SAMPLES)
    for item in _codec(format).read(folder, losses):
        with collect_errors(item.name, losses):
            if item.name not in samples:
                raise BdganError(f"{SAMPLES} has no sample of this name")
            found.append(_annotation(item, samples.pop(item.name), losses))
    return found, losses + [f"{name!r:.100}: no labels came for this sample" for name in samples]


def _codec(format: str) -> Any:
    if format not in FORMATS:
        raise BdganError(f"no format {format!r}; there is {', '.join(FORMATS)}")
    return FORMATS[format]


def _annotation(item: LabelledImage, record: dict[str, Any], losses: list[str]) -> Annotation:
    instances = item.instances
    if instances is None and record["instances"]:
        instances = np.zeros_like(item.mask)
    if record["id"] != item.name:
        raise BdganError(f"its record in {SAMPLES} is of {record['id']!r:.100}")
    plain = Annotation.from_json(record, np.full_like(item.mask, UNLABELLED), instances)
    classes, table = list(plain.classes), np.full(256, UNLABELLED, np.uint8)
    for label in np.unique(item.mask[item.mask != UNLABELLED]).tolist():
        name = item.labels[label]
        if name not in classes:
            losses.append(f"{item.name}: label {name!r} is new")
            classes.append(name)
        table[label] = classes.index(name)
    return replace(plain, mask=table[item.mask], classes=tuple(classes))
