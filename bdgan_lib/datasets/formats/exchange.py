"""Annotations in the formats of other tools and back; what the formats cannot hold is in `samples.json`."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import atomic_folder, list_folder, require_new_path, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import NameOf, collect_errors, stem_of
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore, json_text
from bdgan_lib.datasets.formats import coco, cvat, label_studio, labelme, png
from bdgan_lib.datasets.formats.names import ANNOTATION_FORMATS
from bdgan_lib.datasets.formats.shapes import CHECK_FORMAT, MEANINGS, PICTURES, LabelledImage


class AnnotationFormat(Protocol):
    """A module that writes and reads the annotation files of another tool."""

    def write_annotations(self, items: Iterable[LabelledImage], folder: Path) -> None:
        """Write the labels of images into a folder."""

    def read_annotations(
        self, path: Path, losses: list[str], name_of: NameOf = stem_of
    ) -> Iterator[LabelledImage]:
        """Read the images of a file or a folder and add a line to `losses` for everything that is lost."""


_MODULES: tuple[AnnotationFormat, ...] = (coco, labelme, cvat, label_studio, png)
FORMATS = dict(zip(ANNOTATION_FORMATS, _MODULES, strict=True))
_ID = re.compile(r"(?<![\w-])[A-Za-z0-9][\w-]*(?![\w-])")
SAMPLES = "samples.json"  # id -> `Annotation.to_json`, and whether objects were told apart


def export_annotations(
    annotations: Iterable[Annotation], images: Iterable[NDArray[np.uint8]], folder: Path, format: str
) -> int:
    """Write annotations and their images for another tool and return how many there are.

    Images go to `images/<id>.png`, the labels beside them in the format, the rest to `samples.json`.
    `import_annotations` restores every field.

    Args:
        annotations: each with an id of its own.
        images: uint8 [H, W, 3], in the order of the annotations; one is in memory at a time.
        folder: a new folder.
        format: one of FORMATS.

    Raises:
        BdganError: the format is unknown or cannot hold the labels, images do not fit, or the folder exists;
            nothing is written.
    """
    codec, records = codec_of(format), dict[str, Any]()

    def items(pictures: Path) -> Iterator[LabelledImage]:
        for annotation, image in zip_longest(annotations, images):
            if annotation is None or image is None or image.shape[:2] != annotation.mask.shape:
                shape = "no image" if image is None else f"an image {list(image.shape)}"
                raise BdganError(
                    f"expected pairs of one size, got annotation {annotation and annotation.id} and {shape}"
                )
            id = annotation.id
            write_atomic(require_new_path(pictures / f"{id}.png"), encode_png(image))
            records[id] = annotation.to_json() | {"instances": annotation.instances is not None}
            yield LabelledImage(id, annotation.mask, annotation.classes, annotation.instances)

    with atomic_folder(folder) as unfinished:
        codec.write_annotations(items(unfinished / PICTURES), unfinished)
        write_atomic(unfinished / SAMPLES, json_text(records, SAMPLES))
    return len(records)


def import_annotations(
    folder: Path, format: str, store: AnnotationStore | None = None
) -> tuple[list[Annotation], list[str]]:
    """Read annotations that were exported and perhaps edited, and list what was lost or refused, by name.

    Labels and samples are paired by name; a new label is added to the sample's classes, and listed. Labels
    that could not be read whole are taken if some of them could be read and the store has none of the sample.

    Args:
        folder: what `export_annotations` wrote, edited.
        format: one of FORMATS.
        store: the annotations that are to be replaced; it is not changed.

    Raises:
        BdganError: the format is unknown, or `samples.json` or the tool's file is missing or damaged.
    """
    losses: list[str] = []
    annotations, samples = list[Annotation](), read_json(folder / SAMPLES, CHECK_FORMAT)
    sizes = dict[str, tuple[int, ...]]()
    for item in codec_of(format).read_annotations(folder, losses):
        with collect_errors(item.name, losses):
            if item.name not in samples:
                raise BdganError(f"{SAMPLES} has no sample of this name")
            record = samples.pop(item.name)
            if not item.whole and not np.any(item.mask):
                raise BdganError("nothing of its labels could be read; it is not taken")
            if store is not None and (store.root / f"{item.name}.json").exists():
                _require_replaceable(item, store)
            annotation = _annotation(item, record, losses)
            if store is not None:
                _require_size(annotation, store, sizes)
            annotations.append(annotation)
    refused = {name for loss in losses for name in _ID.findall(loss)}  # their line has told why
    return annotations, losses + [
        f"{name!r:.100}: the file has no labels for this sample" for name in samples if name not in refused
    ]


def codec_of(format: str) -> AnnotationFormat:
    """The module of a format.

    Raises:
        BdganError: the format is unknown.
    """
    if format not in FORMATS:
        raise BdganError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[format]


def _require_replaceable(item: LabelledImage, store: AnnotationStore) -> None:
    """Raise unless an item's labels may replace the stored ones of the sample."""
    if not item.whole:
        raise BdganError(
            "its labels could not be read whole, and the stored ones stay; mend the file, or remove those"
        )
    try:
        size = store.load(item.name).mask.shape
    except BdganError:  # a damaged label may be replaced
        return
    if size != item.mask.shape:
        raise BdganError(
            f"expected labels of the size of the stored ones, {list(size)}, got {list(item.mask.shape)}"
        )


def _require_size(annotation: Annotation, store: AnnotationStore, sizes: dict[str, tuple[int, ...]]) -> None:
    """Raise unless labels have the size of the store's others of the same generator, or picture.

    Args:
        annotation: the labels.
        store: the others.
        sizes: the size by generator, filled here when it is empty.
    """
    if not sizes:
        sizes[""] = ()  # filled
        for path in list_folder(store.root, "*.json"):
            with suppress(BdganError):  # a damaged label tells nothing
                generator = store.generator_of(path.stem)
                if generator not in sizes:
                    sizes[generator] = store.load(path.stem).mask.shape
    size = sizes.get(annotation.generator_sha256)
    if size and size != annotation.mask.shape:
        raise BdganError(
            f"expected labels of the size of its generator's images, {list(size)}, "
            f"got {list(annotation.mask.shape)}"
        )


def _annotation(item: LabelledImage, record: Any, losses: list[str]) -> Annotation:
    instances = item.instances
    if instances is None and record["instances"]:
        raise BdganError(f"the objects are missing that {SAMPLES} promises; restore its file of instances")
    if instances is not None and not record["instances"] and not instances.any():
        instances = None  # not told apart
    if record["id"] != item.name:
        raise BdganError(f"its record in {SAMPLES} is of {record['id']!r:.100}")
    plain = Annotation.from_json(record, np.full_like(item.mask, UNLABELLED), instances)
    classes, table = list(plain.classes), np.full(256, UNLABELLED, np.uint8)
    known = [MEANINGS.get(name, name) for name in classes]
    bare = [name.strip(" \t") for name in known]  # as `labels.txt` gives them
    for label in np.unique(item.mask[item.mask != UNLABELLED]).tolist():
        name = MEANINGS.get(item.labels[label], item.labels[label])
        if name not in known and bare.count(name) == 1:
            name = known[bare.index(name)]
        if name not in known:
            losses.append(f"{item.name}: label {name!r} is new")
            classes.append(name)
            known.append(name)
        if (index := known.index(name)) >= UNLABELLED:
            raise BdganError(f"expected at most {UNLABELLED} labels, got {name!r:.100} as the {index + 1}th")
        table[label] = index
    return replace(plain, mask=table[item.mask], classes=tuple(classes))
