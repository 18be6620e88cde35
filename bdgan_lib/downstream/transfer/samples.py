"""Data sets as lazy sequences: files are listed and paired first, and read when an item is accessed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.training.supervised import FitConfig, epoch_batch

Item = TypeVar("Item")


class Lazy(Sequence[Item], Generic[Item]):
    """Item k is `read(keys[k])`, read at each access, so memory does not grow with the data set."""

    def __init__(self, keys: Iterable[str], read: Callable[[str], Item]) -> None:
        self.keys, self._read = tuple(keys), read

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> "Lazy[Item]": ...

    def __getitem__(self, index: int | slice) -> "Item | Lazy[Item]":
        if isinstance(index, slice):
            return Lazy(self.keys[index], self._read)
        key = self.keys[index]
        try:
            return self._read(key)
        except (OSError, BdganError) as error:
            raise BdganError(f"{key}: {error}") from error


def folder(root: Path, name: str, what: str) -> Path:
    """The path `root/name`.

    Raises:
        BdganError: it is not a folder; the message says what (`what`) it should hold.
    """
    path = root / name
    if not path.is_dir():
        raise BdganError(f"{path} is missing; expected {what}, unpacked as its authors pack it")
    return path


def require_files(paths: Iterable[Path]) -> None:
    """Check that all files exist.

    Raises:
        BdganError: the first missing file and the number of missing files.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise BdganError(f"{missing[0]} is missing ({len(missing)} such); unpack the data set again")


def segmented(image: NDArray[np.uint8], labels: NDArray[np.uint8], num_labels: int) -> Segmented:
    """An image [H, W, 3] with its labels [H, W].

    Raises:
        BdganError: their sizes differ, or a label is not in range.
    """
    if image.shape[:2] != labels.shape:
        raise BdganError(
            f"expected image and mask of one size, got {list(image.shape[:2])} and {list(labels.shape)}"
        )
    invalid = labels[(labels >= num_labels) & (labels != UNLABELLED)]
    if len(invalid):
        raise BdganError(f"expected mask labels 0 to {num_labels - 1}, or 255, got {invalid[0]}")
    return Segmented(image, labels)


def shuffled(
    samples: Sequence[Item], steps: int, batch_size: int, seed: int, workers: int = 0
) -> Iterable[list[Item]]:
    """Shuffled batches, whose order depends only on the seed; `workers` processes prefetch."""
    config = FitConfig(batch_size=batch_size, seed=seed)
    order = (epoch_batch(len(samples), step, config).tolist() for step in range(steps))
    return _loaded(samples, order, workers)


def in_order(samples: Sequence[Item], batch_size: int, workers: int = 0) -> Iterable[list[Item]]:
    """Batches of all samples in order, the last maybe smaller; `workers` processes prefetch."""
    firsts = range(0, len(samples), batch_size)
    order = (list(range(first, min(first + batch_size, len(samples)))) for first in firsts)
    return _loaded(samples, order, workers)


def _loaded(samples: Any, batches: Iterator[list[int]], workers: int) -> Iterable[list[Item]]:
    return DataLoader(
        samples,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,  # `read` functions cannot be pickled
        generator=torch.Generator(),  # the default would draw from the global one
    )


def resized(samples: Sequence[Segmented], height: int, width: int) -> Lazy[Segmented]:
    """The samples at one size: images resized by area means or linearly, labels by nearest neighbour."""

    def read(key: str) -> Segmented:
        sample = samples[int(key)]
        how = cv2.INTER_AREA if height * width < sample.labels.size else cv2.INTER_LINEAR
        image = cv2.resize(sample.image, (width, height), interpolation=how)
        labels = cv2.resize(sample.labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return Segmented(image, labels)

    return Lazy(map(str, range(len(samples))), read)
