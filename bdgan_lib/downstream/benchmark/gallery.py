"""The best and the worst predictions of a result, with their images and true labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.masks import Findings, listed, read_mask
from bdgan_lib.downstream.benchmark.result import Result
from bdgan_lib.downstream.benchmark.truth import Fingerprint, Mask, Truth
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.metrics.segmentation import areas, confusion, iou_of_areas


@dataclass(frozen=True, eq=False)
class Example:
    """One image of a result."""

    id: str
    miou: float  # its own
    image: NDArray[np.uint8] | None  # [H, W, 3]; None if it is not at hand
    target: Mask
    predicted: Mask


@dataclass(frozen=True, eq=False)
class Gallery:
    """Examples of one result, in its order."""

    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def galleries(
    results: Sequence[Result],
    folders: Iterable[Path],
    tasks: Mapping[str, Task],
    truth: Callable[[Task], Truth],
) -> dict[int, Gallery]:
    """Examples by the result's index, from prediction folders in any order.

    A folder belongs to the results whose sha256 its label ids have. tasks: of one world, by name; results of
    others have no examples. truth: asked once for each task that a folder is of. BdganError for a folder that
    fits no result, and for other labels than a result was scored on.
    """
    truths: dict[str, Truth] = {}
    prints: dict[tuple[Path, str], str | None] = {}
    by_result: dict[int, Gallery] = {}
    for folder in folders:
        fits = 0
        for i, result in enumerate(results):
            task = tasks.get(result.task)
            if task is None or (task.world, task.labels) != (result.world, result.labels):
                continue
            if (key := (folder, task.name)) not in prints:
                prints[key] = _fingerprint(folder, task)
            if prints[key] == result.predictions_sha256:
                fits += 1
                its_truth = truths.get(task.name) or truths.setdefault(task.name, truth(task))
                by_result[i] = _gallery(result, folder, task, its_truth)
        if not fits:
            raise BdganError(f"{folder} holds the predictions of no result here; give those that were scored")
    return by_result


def _fingerprint(folder: Path, task: Task) -> str | None:
    """Of all masks in a folder; None if something there is no mask of the task."""
    digest, findings = Fingerprint(), Findings()
    for id, path in sorted(listed(folder, findings)[0].items()):
        mask = read_mask(path, task, findings)
        if mask is None:
            return None
        digest.add(id, mask)
    return digest.hexdigest()


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
            raise BdganError(f"{folder / id}.png is no mask of {task.name}; score the folder anew")
        scores = iou_of_areas(areas(confusion(predicted, target, len(task.labels))))
        return Example(id, float(np.nanmean(scores)), truth.image(id), target, predicted)

    if strange := {*result.best, *result.worst} - set(truth.ids):
        raise BdganError(f"result {result.name!r} names image {min(strange)}, which its task does not have")
    return Gallery(tuple(map(example, result.best)), tuple(map(example, result.worst)))
