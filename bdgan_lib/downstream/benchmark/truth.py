"""True labels of a task's images, one image at a time, and the predictions that are scored against them."""

import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import ENDINGS, encode_png, read_image
from bdgan_lib.core.io import OVERVIEW, list_pictures, require_new_path, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.masks import Findings, expected_files, listed, read_mask
from bdgan_lib.downstream.tasks import Task

Mask = NDArray[np.unsignedinteger]  # [H, W] label ids of the task; 255 = unlabelled


class Truth(Protocol):
    """True labels by image id."""

    @property
    def ids(self) -> tuple[str, ...]:
        """All image ids, sorted."""

    def label(self, id: str) -> Mask:
        """The true labels of one image."""

    def image(self, id: str) -> NDArray[np.uint8] | None:
        """The image [H, W, 3]; None if not available."""


@dataclass(frozen=True, eq=False)
class TruthInMemory:
    """Labels and images by id, all in memory."""

    labels: dict[str, Mask]
    images: dict[str, NDArray[np.uint8]]

    @property
    def ids(self) -> tuple[str, ...]:
        """All image ids, sorted."""
        return tuple(sorted(self.labels))

    def label(self, id: str) -> Mask:
        """The true labels of one image."""
        return self.labels[id]

    def image(self, id: str) -> NDArray[np.uint8] | None:
        """The image [H, W, 3]; None if not available."""
        return self.images.get(id)


class TruthFolder:
    """A folder of `<image id>.png` with label ids (255 = unlabelled), each read when asked for.

    Args:
        folder: the label files.
        task: whose labels they hold.
        images: a folder of image files, of any format, with the same ids; optional.

    Raises:
        BdganError: the folder has other files, or none.
    """

    def __init__(self, folder: Path, task: Task, images: Path | None = None) -> None:
        self.folder, self.task, self.images = folder, task, images
        findings = Findings()
        self._files, _ = listed(folder, findings)
        findings.refuse(folder, expected_files(task))
        if not self._files:
            raise BdganError(f"{folder} holds no labels; expected {expected_files(task)}")

    @property
    def ids(self) -> tuple[str, ...]:
        """All image ids, sorted."""
        return tuple(sorted(self._files))

    def label(self, id: str) -> Mask:
        """The true labels of one image.

        Raises:
            BdganError: the file is not a mask of the task's labels.
        """
        findings = Findings()
        mask = read_mask(self._files[id], self.task, findings, truth=True)
        findings.refuse(self.folder, expected_files(self.task) + " or 255")
        assert mask is not None
        return mask

    def image(self, id: str) -> NDArray[np.uint8] | None:
        """The image [H, W, 3]; None without a folder of images.

        Raises:
            BdganError: the folder of images lacks it, or has two of its name.
        """
        if self.images is None:
            return None
        paths = self._pictures.get(id, [])
        if len(paths) > 1:  # what lies beside a picture, such as a tool's JSON, is none
            paths = [path for path in paths if path.suffix.lower() in ENDINGS]
        if not paths:
            raise BdganError(f"{self.images} has no image {id}; expected one for each label")
        if len(paths) > 1:
            raise BdganError(f"{paths[0]} and {paths[1]} have one name; remove or rename one")
        return read_image(paths[0])

    @cached_property
    def _pictures(self) -> dict[str, list[Path]]:
        """The files of the folder of images by their names without the ending."""
        assert self.images is not None
        files = defaultdict[str, list[Path]](list)
        for path in list_pictures(self.images, "*"):
            files[path.stem].append(path)
        return files


def write_truth(truth: Truth, task: Task, out: Path) -> int:
    """Write a new folder with images/ and labels/ of `<image id>.png` and the label names in labels.txt.

    The folder appears whole or not at all. Returns the number of images.

    Raises:
        BdganError: the folder exists.
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
    """Yield (image id, predicted, target) of every image, sorted by id.

    Raises:
        BdganError: after the last image, if anything is wrong with the folder; it lists every error. So use
            no pair before the iteration has ended.
    """
    findings = Findings()
    files, seen = listed(folder, findings)
    ids = truth.ids
    for id in sorted(files.keys() - {*ids, OVERVIEW}):
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
    findings.refuse(folder, expected_files(task))


class Fingerprint:
    """The sha256 of masks and their ids; it depends on the label ids, not on how the PNGs are compressed."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, id: str, mask: Mask) -> None:
        """Add a mask; add them sorted by id."""
        self._digest.update(f"{id} {mask.shape[0]} {mask.shape[1]}\n".encode())
        self._digest.update(mask.astype("<u2").tobytes())

    def hexdigest(self) -> str:
        """The sha256 in hexadecimal."""
        return self._digest.hexdigest()
