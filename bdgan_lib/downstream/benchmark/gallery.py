"""A result's best and worst predictions with their images and true labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.io import OVERVIEW
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.masks import Findings, listed, read_mask
from bdgan_lib.downstream.benchmark.result import Result
from bdgan_lib.downstream.benchmark.truth import Fingerprint, Mask, Truth
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.metrics.segmentation import areas, confusion, iou_of_areas


@dataclass(frozen=True, eq=False)
class Example:
    """One image of a result with its true and predicted labels."""

    id: str
    miou: float  # of this image
    image: NDArray[np.uint8] | None  # [H, W, 3]; None if not available
    target: Mask
    predicted: Mask


@dataclass(frozen=True, eq=False)
class Gallery:
    """The best and worst examples of one result, in its order."""

    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def galleries(
    results: Sequence[Result],
    folders: Iterable[Path],
    tasks: Mapping[str, Task],
    truth: Callable[[Task], Truth],
) -> dict[int, Gallery]:
    """The gallery of each result, by the result's index.

    Args:
        results: results of any world.
        folders: prediction folders in any order; a folder belongs to the results with its sha256.
        tasks: the tasks of one world by name; results of other worlds get no gallery.
        truth: gives a task's true labels; called at most once per task.

    Raises:
        BdganError: a folder fits no result, or a result was scored on other true labels.
    """
    truths: dict[str, Truth] = {}
    prints: dict[tuple[Path, str], set[str]] = {}
    by_result: dict[int, Gallery] = {}
    for folder in folders:
        fits = 0
        for i, result in enumerate(results):
            task = tasks.get(result.task)
            if task is None or (task.world, task.labels) != (result.world, result.labels):
                continue
            if (key := (folder, task.name)) not in prints:
                prints[key] = _fingerprints(folder, task)
            if result.predictions_sha256 in prints[key]:
                fits += 1
                its_truth = truths.get(task.name) or truths.setdefault(task.name, truth(task))
                by_result[i] = _gallery(result, folder, task, its_truth)
        if not fits:
            raise BdganError(f"{folder} holds the predictions of no result here; give those that were scored")
    return by_result


def _fingerprints(folder: Path, task: Task) -> set[str]:
    """The sha256 of all masks in a folder, with an overview and without; none if a file is not a mask."""
    with_it, without, findings = Fingerprint(), Fingerprint(), Findings()
    digests = {without, with_it}
    for id, path in sorted(listed(folder, findings)[0].items()):
        mask = read_mask(path, task, findings)
        for digest in digests.copy():
            if digest is with_it or id != OVERVIEW:
                if mask is None:
                    digests.discard(digest)
                else:
                    digest.add(id, mask)
    return {digest.hexdigest() for digest in digests}


def _gallery(result: Result, folder: Path, task: Task, truth: Truth) -> Gallery:
    given, findings = Fingerprint(), Findings()
    for id in truth.ids:
        given.add(id, truth.label(id))
    if given.hexdigest() != result.labels_sha256:
        raise BdganError(
            f"result {result.name!r} was scored on other labels than these; give those (--labels)"
        )

    def example(id: str) -> Example:
        predicted, target = read_mask(folder / f"{id}.png", task, findings), truth.label(id)
        if predicted is None or predicted.shape != target.shape:  # only if the file was changed meanwhile
            raise BdganError(f"{folder / id}.png is not a mask of {task.name}; score the folder again")
        scores = iou_of_areas(areas(confusion(predicted, target, len(task.labels))))
        return Example(id, float(np.nanmean(scores)), truth.image(id), target, predicted)

    if strange := {*result.best, *result.worst} - set(truth.ids):
        raise BdganError(f"result {result.name!r} names image {min(strange)}, which its task does not have")
    return Gallery(tuple(map(example, result.best)), tuple(map(example, result.worst)))
