"""What predictions are scored against: a task's images with their true labels, one at a time."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import decode_image, encode_png
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.masks import Findings, listed, read_mask, wanted_files
from bdgan_lib.downstream.tasks import Task

Mask = NDArray[np.unsignedinteger]  # [H, W] label ids of the task; 255 = unlabelled


class Truth(Protocol):
    """True labels by image id."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all its images, sorted."""

    def label(self, id: str) -> Mask:
        """The true labels of one image."""

    def image(self, id: str) -> NDArray[np.uint8] | None:
        """The image [H, W, 3] itself, where it is at hand."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Labels and images by id, all of them held."""

    labels: dict[str, Mask]
    images: dict[str, NDArray[np.uint8]]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self.labels))

    def label(self, id: str) -> Mask:
        return self.labels[id]

    def image(self, id: str) -> NDArray[np.uint8] | None:
        return self.images.get(id)


class InFolder:
    """`<image id>.png` of label ids, 255 = unlabelled, read when asked for; the images beside, if given.

    images: a folder of pictures of any kind with the same ids.
    """

    def __init__(self, folder: Path, task: Task, images: Path | None = None) -> None:
        self.folder, self.task, self.images = folder, task, images
        findings = Findings()
        self._files, _ = listed(folder, findings)
        findings.refuse(folder, wanted_files(task))
        if not self._files:
            raise BdganError(f"{folder} holds no labels; expected {wanted_files(task)}")

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def label(self, id: str) -> Mask:
        """BdganError when the file is no mask of the task's labels."""
        findings = Findings()
        mask = read_mask(self._files[id], self.task, findings, truth=True)
        findings.refuse(self.folder, wanted_files(self.task) + " or 255")
        assert mask is not None
        return mask

    def image(self, id: str) -> NDArray[np.uint8] | None:
        """BdganError for one that is not in the folder of images."""
        if self.images is None:
            return None
        if not (paths := sorted(self.images.glob(f"{id}.*"))):
            raise BdganError(f"{self.images} has no image {id}; expected one for each label")
        return decode_image(paths[0].read_bytes())


def write_truth(truth: Truth, task: Task, out: Path) -> int:
    """Write images/ and labels/ of `<image id>.png` and labels.txt, the labels' names from 0: a new folder.

    The folder appears whole or not at all. Returns how many images there are.
    """
    making = require_new_path(out).with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        for part in ("images", "labels"):
            (making / part).mkdir(parents=True)
        for id in truth.ids:
            write_atomic(making / "labels" / f"{id}.png", encode_png(truth.label(id)))
            if (image := truth.image(id)) is not None:
                write_atomic(making / "images" / f"{id}.png", encode_png(image))
        write_atomic(making / "labels.txt", "".join(f"{label}\n" for label in task.labels).encode())
        making.replace(out)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return len(truth.ids)


def predictions(folder: Path, task: Task, truth: Truth) -> Iterator[tuple[str, Mask, Mask]]:
    """(image id, predicted, wanted) of every image, sorted by id.

    After the last one comes a BdganError if anything is wrong with the folder: it names all of it at once, so
    take nothing for good before the end.
    """
    findings = Findings()
    files, seen = listed(folder, findings)
    ids = truth.ids
    for id in sorted(files.keys() - set(ids)):
        findings.add("extra", f"{id}.png")
    for id in ids:
        if id in files:
            target = truth.label(id)
            height, width = target.shape
            mask = read_mask(files[id], task, findings, (height, width))
            if mask is not None:
                yield id, mask, target
        elif id not in seen:
            findings.add("missing", f"{id}.png")
    findings.refuse(folder, wanted_files(task))


class Fingerprint:
    """A sha256 over masks by id: of the label ids themselves, whatever program packed the PNGs."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, id: str, mask: Mask) -> None:
        """One more mask; ids come sorted."""
        self._digest.update(f"{id} {mask.shape[0]} {mask.shape[1]}\n".encode())
        self._digest.update(mask.astype("<u2").tobytes())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
