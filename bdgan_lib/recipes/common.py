"""What the recipes share: scenes and a feature network kept in the run's folder, a log, float16 weights."""

import argparse
import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.io import atomic_file, check_output, write_atomic
from bdgan_lib.core.model_files import write_tensors
from bdgan_lib.training.supervised import FitConfig, fit, seeded
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.pocket import SceneSet, render_set

LOG_EVERY = 100  # steps


def options_of(doc: str | None, network: str, **numbers: int) -> argparse.Namespace:
    """The options of a recipe: folders of its run, which is made, and of its results, and numbers."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path(f"runs/pocket_{network}"))
    parser.add_argument("--out", type=Path, default=Path(f"assets/pocket/{network}"))
    for name, number in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=number)
    options = parser.parse_args()
    for folder in (options.run, options.out):
        check_output(folder)
    options.run.mkdir(parents=True, exist_ok=True)
    return options


def cached_scenes(path: Path, count: int, first_seed: int) -> SceneSet:
    """Rendered scenes from these seeds, drawn once and kept in `path`."""
    if path.exists():
        return SceneSet(**np.load(path))
    scenes = render_set(count, first_seed, workers=os.cpu_count() or 1, progress=True)
    with atomic_file(path) as file:
        np.savez(file, **vars(scenes))
    return scenes


def feature_network(path: Path, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> Classifier:
    """A classifier for the feature loss alone, trained once; another one measures the quality of samples."""
    classifier = seeded(Classifier, 1)
    if path.exists():
        load_strict(classifier, torch.load(path, weights_only=True), str(path))
    else:
        config = FitConfig(steps=700, batch_size=48, seed=1)
        fit(classifier, images, class_ids, config, progress="feature loss")
        with atomic_file(path) as file:
            torch.save(classifier.state_dict(), file)
    return classifier.to(memory_format=torch.channels_last).eval().requires_grad_(False)


class StepLog:
    """Means of a few figures over LOG_EVERY steps: a row of a CSV file and a line on the screen each time."""

    def __init__(self, path: Path, stage: Sequence[str] = (), header: Sequence[str] = ()) -> None:
        """Open a log.

        Args:
            path: of the CSV file; a run that goes on appends to it.
            stage: cells before the step, in every row.
            header: the first row of a new file.
        """
        self.path, self.stage = path, [*stage]
        self._sums, self._start = np.zeros(0), time.time()
        if header and not path.exists():
            self._append(header)

    def drop_after(self, step: int) -> None:
        """Drop the rows of later steps, which a run that was cut off takes again."""
        rows = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        place = len(self.stage)

        def stands(row: str) -> bool:
            cells = row.split(",")
            if len(cells) <= place:  # torn
                return False
            return cells[:place] != self.stage or not cells[place].isdigit() or int(cells[place]) <= step

        write_atomic(self.path, "".join(f"{row}\n" for row in rows if stands(row)).encode())

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Count the figures of a step, 1 for the first."""
        values = np.array([*figures.values()])
        self._sums = self._sums + values if self._sums.size else values
        if step % LOG_EVERY:
            return
        seconds, means = (time.time() - self._start) / LOG_EVERY, self._sums / LOG_EVERY
        self._append([*self.stage, str(step), f"{seconds:.3f}", *(f"{mean:.4f}" for mean in means)])
        text = "  ".join(f"{name} {mean:.4f}" for name, mean in zip(figures, means, strict=True))
        print(*self.stage, f"step {step}  {seconds:.3f} s/step  {text}", flush=True)
        self._sums, self._start = np.zeros(0), time.time()

    def _append(self, row: Sequence[str]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(row)


def write_half(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with every float in float16, as the shipped weights are."""
    write_tensors(path, {k: x.half() if x.is_floating_point() else x for k, x in tensors.items()})
