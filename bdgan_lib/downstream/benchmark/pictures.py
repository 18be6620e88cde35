"""Pictures in and out of the benchmark's networks: sets to train on, folders to predict."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from bdgan_lib.core.image_codecs import encode_png, read_image, upright_size
from bdgan_lib.core.io import atomic_folder, list_pictures, write_atomic
from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.downstream.benchmark.truth import TruthFolder
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.training.supervised import predict


def training_set(folders: Iterable[Path], task: Task, classes: Sequence[str]) -> LabelledSet:
    """The task's images of all folders, one after the other, with the task's labels.

    They are read from a temporary file, so a set may be larger than the memory.

    Args:
        folders: data sets of `bdgan synthesize`, or folders of `bdgan benchmark images`.
        task: images of classes outside it are left out.
        classes: names of the task's world, by class id.

    Raises:
        BdganError: a folder is neither, is of other classes, holds no image of the task or no labelled pixel,
            images differ in size, from each other or from their labels, or the disk is full.
    """
    dtype = np.uint16 if len(task.labels) > UNLABELLED + 1 else np.uint8
    # what is mapped stays; a buffer would be written again, in vain, when a full disk closes the file
    with TemporaryFile(buffering=0) as image_file, TemporaryFile(buffering=0) as mask_file:
        images, masks = _Stack(image_file, np.uint8), _Stack(mask_file, dtype)
        for folder in folders:
            before, labelled = len(images), False
            pairs = _pairs(folder, task, classes)
            for id, image, mask in tqdm(pairs, f"reading {folder}", unit="image", leave=False):
                _check_size(folder, id, image, mask)
                images.append(image, f"{folder}, image {id}")
                masks.append(mask, f"{folder}, image {id}")
                labelled = labelled or bool((mask != UNLABELLED).any())
            if len(images) == before:
                raise BdganError(f"{folder} has no image of the task {task.name}; give another set or task")
            if not labelled:
                raise BdganError(
                    f"{folder} has no labelled pixel: every one is {UNLABELLED}; label its images"
                )
        if not len(images):
            raise BdganError("expected one folder or more to train on, got none")
        return LabelledSet(images.array(), masks.array())


def _pairs(
    folder: Path, task: Task, classes: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.unsignedinteger]]]:
    """Name, image and labels of each of the task's images in a folder."""
    if (folder / "labels").is_dir():
        truth = TruthFolder(folder / "labels", task, folder / "images")
        for id in truth.ids:
            if (image := truth.image(id)) is not None:
                yield id, image, truth.label(id)
        return
    stored = ShardedSet(folder)
    _check_classes(folder, stored.manifest.get("classes") or (), classes)
    for sample, _ in stored:
        class_id = np.array([sample.class_id])
        if task.holds(class_id)[0]:
            yield sample.id, sample.image, task.masks(class_masks(sample.mask[None], class_id))[0]


class _Stack:
    """Arrays of one shape and type, on top of each other in a file."""

    def __init__(self, file: IO[bytes], dtype: type[np.unsignedinteger]) -> None:
        self._file, self._dtype, self._count = file, dtype, 0
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self._count

    def append(self, array: NDArray[Any], name: str) -> None:
        """Add one; the name of its image is for messages."""
        if not self._count:
            self._shape = array.shape
        elif array.shape != self._shape:
            (height, width), (rows, columns) = self._shape[:2], array.shape[:2]
            raise BdganError(
                f"expected images of one size, got {width} × {height} pixels and, in {name}, "
                f"{columns} × {rows}; crop or scale them"
            )
        try:
            rest = np.ascontiguousarray(array, self._dtype).tobytes()
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise BdganError(
                f"no space for the images in {gettempdir()} ({error}); set TMPDIR to another folder"
            ) from error
        self._count += 1

    def array(self) -> NDArray[Any]:
        """All of them, from the file."""
        return np.memmap(self._file, self._dtype, "r", shape=(self._count, *self._shape))


def _check_size(folder: Path, id: str, image: NDArray[np.uint8], mask: NDArray[np.unsignedinteger]) -> None:
    if image.shape[:2] != mask.shape:
        (height, width), (rows, columns) = image.shape[:2], mask.shape
        raise BdganError(
            f"{folder}: image {id} has {width} × {height} pixels, its labels {columns} × {rows}; "
            "expected the same size"
        )


def _check_classes(folder: Path, names: Sequence[str], classes: Sequence[str]) -> None:
    """Class ids of a set say which label an image has, so they must mean what the task's world means."""
    if list(names) == list(classes):
        return
    first = next((k for k, (a, b) in enumerate(zip(names, classes, strict=False)) if a != b), None)
    more = "" if first is None else f"; the first that differs is class {first}, {names[first]!r:.50}"
    raise BdganError(
        f"{folder} has other classes than the task: expected {_shortened(classes)}, got {_shortened(names)}"
        f"{more}; give the profile that made the set"
    )


def _shortened(names: Sequence[str]) -> str:
    shown = ", ".join(name[:30] for name in names[:4]) + ", ..." * (len(names) > 4)
    return f"{len(names)} ({shown})" if names else "none"


def write_predictions(network: nn.Module, pictures: Path, out: Path, device: str = "cpu") -> int:
    """Predict every picture of a folder, into a new one: <name>.png of label ids, all or none.

    Pictures of one size that follow each other are predicted together. Returns how many there are.

    Raises:
        BdganError: there are no pictures, or two of one name.
    """
    paths = list_pictures(pictures, "*")
    if not paths:
        raise BdganError(f"{pictures} holds no pictures to predict")
    names = [path.stem.lower() for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BdganError(f"{pictures} has two pictures named {twice[0]}; rename one")
    with atomic_folder(out) as unfinished:
        for _, group in groupby(paths, upright_size):
            run = list(group)
            for part in (run[k : k + 50] for k in range(0, len(run), 50)):
                labels = predict(network, np.stack([read_image(p) for p in part]), device=device).argmax(1)
                for path, mask in zip(part, labels.numpy().astype(np.uint16), strict=True):
                    narrow = mask.astype(np.uint8) if mask.max() < 255 else mask
                    write_atomic(unfinished / f"{path.stem}.png", encode_png(narrow))
    return len(paths)
