"""Scores a folder of predictions on a task: pixels are counted first, divided last."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from bdgan_lib import __version__
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_label
from bdgan_lib.downstream.benchmark.result import SHOWN, Result, checked_date
from bdgan_lib.downstream.benchmark.truth import Fingerprint, Truth, predictions
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.metrics.segmentation import areas, confusion, iou_of_areas
from bdgan_lib.metrics.statistics import bootstrap_interval


def score(
    task: Task, truth: Truth, folder: Path, name: str, date: str | None = None, draws: int = 1_000
) -> Result:
    """Score a folder of `<image id>.png` on a task.

    mIoU counts the pixels of all images together and averages the labels that occur, background included.
    The best and worst images are ranked by their own mIoU, ties by id. Images without a labelled pixel do not
    count. One image is in memory at a time; of each, the areas of its labels are kept.

    Args:
        task: what the labels mean.
        truth: the images to score on.
        folder: the predictions.
        name: name of the method that predicted.
        date: YYYY-MM-DD; None for today (UTC).
        draws: bootstrap draws over images, for the interval.

    Raises:
        BdganError: everything that is wrong with the folder, or no pixel is labelled.
    """
    checked_label(name)
    today = datetime.now(timezone.utc).date().isoformat()
    date = checked_date(today if date is None else date)
    predicted_hash, target_hash = Fingerprint(), Fingerprint()
    rows, image_miou, count = [], {}, len(task.labels)
    for id, predicted, target in predictions(folder, task, truth):
        predicted_hash.add(id, predicted)
        target_hash.add(id, target)
        label_areas = areas(confusion(predicted, target, count))
        if label_areas.any():  # false if no pixel is labelled
            rows.append(csr_array(label_areas.reshape(1, -1)))  # an image has few of a thousand labels
            image_miou[id] = float(np.nanmean(iou_of_areas(label_areas)))
    if not rows:
        raise BdganError(f"no pixel of the {len(truth.ids)} images is labelled; there is nothing to score")
    table = vstack(rows).tocsr()  # [N, 3 * count]

    def miou(chosen: NDArray[np.int64]) -> float:
        weights = np.bincount(chosen, minlength=len(rows))
        return float(np.nanmean(iou_of_areas((weights @ table).reshape(3, count))))

    both, predicted, target = table.sum(0).reshape(3, count).tolist()
    return Result(
        task.world, task.name, name, task.labels, tuple(both), tuple(predicted), tuple(target),
        bootstrap_interval(miou, len(rows), draws), len(rows),
        tuple(sorted(image_miou, key=lambda id: (-image_miou[id], id))[:SHOWN]),
        tuple(sorted(image_miou, key=lambda id: (image_miou[id], id))[:SHOWN]),
        predicted_hash.hexdigest(), target_hash.hexdigest(), __version__, date,
    )  # fmt: skip
