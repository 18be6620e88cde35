"""Compare training sets by the test mIoU of networks trained on them (paper section 4)."""

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from bdgan_lib.core.labelled_arrays import LabelledSet
from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import UNLABELLED
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.metrics.statistics import spread
from bdgan_lib.training.file_logs import LogFolder
from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded


@dataclass(frozen=True)
class TrainingSetScore:
    """Scores of one training set over several seeds."""

    name: str
    images: int
    all_class: tuple[float, ...]  # mean IoU over background and all classes, one per seed
    fgbg: tuple[float, ...]  # mean IoU of foreground and background, one per seed
    network: nn.Module  # trained with the first seed

    def row(self) -> dict[str, str | int]:
        """A table row with mean ± standard deviation over the seeds."""
        all_class, fgbg = spread(np.array(self.all_class)), spread(np.array(self.fgbg))
        scores = {"all-class mIoU": all_class, "FG/BG mIoU": fgbg}
        return {"training set": self.name, "images": self.images, **scores}


def compare_training_sets(
    sets: Mapping[str, LabelledSet],
    test: LabelledSet,
    network: Callable[[], nn.Module],
    num_labels: int,
    config: FitConfig = FitConfig(),  # noqa: B008 (frozen)
    seeds: tuple[int, ...] = (0, 1, 2),
    workers: int | None = None,
    progress: bool = True,
    device: str = "cpu",
    logs: LogFolder | None = None,
) -> list[TrainingSetScore]:
    """Train a new network on each set with each seed, for equally many steps, and score it on `test`.

    Args:
        sets: training sets by name.
        test: the images that all networks are scored on.
        network: builds an untrained network; picklable (a class or functools.partial, not a lambda).
        num_labels: labels of the masks, the background included.
        config: settings of each training; its seed is replaced.
        seeds: one training per set and seed.
        workers: processes of one thread each; the scores do not depend on it. None: one per core on the CPU,
            one on any other device.
        progress: whether to show a progress bar.
        device: where to train.
        logs: where each training is logged, to SET/SEED; None for no log.

    Returns:
        The scores of each set, in their order.
    """
    configs = [replace(config, seed=seed) for seed in seeds]
    jobs = [
        (training_set, test, network, num_labels, c, device, logs, name)
        for (name, training_set), c in product(sets.items(), configs)
    ]
    workers = workers or (os.cpu_count() or 1 if device == "cpu" else 1)
    scores: list[Any] = [None] * len(jobs)
    with tqdm(total=len(jobs), desc="trainings", disable=not progress) as bar:
        for i, score in run_in_processes(_train_and_score, jobs, workers):
            scores[i] = score
            bar.update()
    results = []
    for i, (name, training_set) in enumerate(sets.items()):
        all_class, fgbg, states = zip(*scores[i * len(seeds) : (i + 1) * len(seeds)], strict=True)
        trained = network()
        trained.load_state_dict({key: torch.from_numpy(value) for key, value in states[0].items()})
        results.append(TrainingSetScore(name, len(training_set.images), all_class, fgbg, trained.eval()))
    return results


def _train_and_score(
    job: tuple[LabelledSet, LabelledSet, Callable[[], nn.Module], int, FitConfig, str, LogFolder | None, str],
) -> tuple[float, float, dict[str, NDArray[np.generic]]]:
    training_set, test, network, num_labels, config, device, logs, name = job
    model = seeded(network, config.seed)
    config = replace(config, batch_size=min(config.batch_size, len(training_set.images)))
    with logs.log_to(name, config.seed) if logs else nullcontext():
        fit(model, training_set.images, training_set.masks, config, device)
    predictions = predict(model, test.images, device=device).argmax(1).numpy()
    foreground = np.where(test.masks == UNLABELLED, UNLABELLED, test.masks > 0)
    all_class = mean_iou(predictions, test.masks, num_labels)
    fgbg = mean_iou((predictions > 0).astype(np.uint8), foreground, 2)
    state = {key: value.cpu().numpy() for key, value in model.state_dict().items()}  # arrays travel by value
    return all_class, fgbg, state
