"""PNG folders: label ids in `labels/<name>.png`, objects in `instances/<name>.png`, names in `labels.txt`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bdgan_lib.core.image_codecs import decode_labels, encode_png
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import (
    NameOf,
    collect_errors,
    is_junk,
    pairing_name,
    shared_names,
    stem_of,
    text_lines,
    unpaired,
)
from bdgan_lib.datasets.formats.shapes import (
    BACKGROUND,
    CHECK_FORMAT,
    IGNORE,
    LabelledImage,
    checked_size,
)

LABELS, INSTANCES, NAMES = "labels", "instances", "labels.txt"


def write_annotations(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write 8-bit grey PNGs, 255 = unlabelled, and `labels.txt`, whose first line names label 0, and so on.

    Nothing is lost.

    Raises:
        BdganError: there are more than 255 labels in all.
    """
    names, ids = require_new_path(folder / NAMES), {BACKGROUND: 0}
    require_new_path(folder / LABELS).mkdir()
    require_new_path(folder / INSTANCES).mkdir()
    for item in items:
        for label in item.labels:
            ids.setdefault(label, len(ids))
        if len(ids) > UNLABELLED:
            raise BdganError(
                f"expected at most 255 labels, got {len(ids)} with {item.name}; choose coco or cvat"
            )
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(item.labels)] = [ids[label] for label in item.labels]
        write_atomic(require_new_path(folder / LABELS / f"{item.name}.png"), encode_png(table[item.mask]))
        if item.instances is not None:
            write_atomic(folder / INSTANCES / f"{item.name}.png", encode_png(item.instances))
    write_atomic(names, "".join(f"{label}\n" for label in ids).encode())


def read_annotations(path: Path, losses: list[str], name_of: NameOf = stem_of) -> Iterator[LabelledImage]:
    """Read the images of such a folder.

    PNGs of any tool are read: grey of 1 to 16 bits with values up to 255, or palettes (their indices, as in
    Pascal VOC). Without `labels.txt` the labels are named by their numbers. It is read as editors save it.

    Args:
        path: the folder.
        losses: receives a line for everything that is lost.
        name_of: see `pairing_name`.

    Raises:
        BdganError: it has no folder `labels/`, or `labels.txt` is not text.
    """
    if not (path / LABELS).is_dir():
        raise BdganError(f"{path / LABELS} is missing; {CHECK_FORMAT}")
    names = None
    if (path / NAMES).exists():
        lines = text_lines(path / NAMES)
        names = [line.strip(" \t") or line for line in lines]
        texts = [name for name in names if name.strip(" \t")]
        if len({*texts}) < len(texts):
            names = lines  # they differ in these spaces alone
        names = names[names[:1] == [IGNORE] :]  # labelme's lists begin with the label -1
    listed = len(
        names or ()
    )  # without blank last lines, which are labels only of masks that have their number
    while names and listed and not names[listed - 1].strip(" \t"):
        listed -= 1
    masks, maps = ([file for file in sorted((path / kind).glob("*")) if file.is_file() and not is_junk(file)]
                   for kind in (LABELS, INSTANCES))  # fmt: skip
    objects = {file.name: file for file in maps}
    shared = shared_names((file.name for file in masks if file.suffix.lower() == ".png"), name_of)
    untied = any(unpaired(file.name, name_of) and _may_hold(file) for file in masks)
    for file in masks:
        item, instances = None, objects.pop(file.name, None)
        with collect_errors(f"{file.name!r:.100}", losses):
            name, mask = pairing_name(file.name, set(), name_of), decode_labels(file.read_bytes())
            checked_size(name, mask.shape, path)
            if names and IGNORE in names:
                mask[mask == names.index(IGNORE)] = UNLABELLED
            count = int(mask[mask != UNLABELLED].max(initial=0)) + 1
            item = LabelledImage(
                name,
                mask,
                tuple(
                    names[: max(listed, count)]
                    if names
                    else (BACKGROUND, *(f"label {n}" for n in range(1, count)))
                ),
                decode_labels(instances.read_bytes()) if instances else None,
                whole=name not in shared and not (untied and not mask.any()),
            )
        if item:
            yield item
    losses += [f"{name!r:.100}: instances without labels" for name in sorted(objects)]


def _may_hold(file: Path) -> bool:
    """Whether a file holds a label beside the background, or cannot be read."""
    try:
        return bool(decode_labels(file.read_bytes()).any())
    except BdganError:
        return True
