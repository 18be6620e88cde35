"""A small task with true labels, and folders of predictions."""

from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.downstream.benchmark.truth import TruthInMemory
from bdgan_lib.downstream.tasks import Task, task_of_groups


@pytest.fixture
def task() -> Task:
    return task_of_groups("pocket", "Pets", {"cat": [0], "dog": [2]}, 3)


@pytest.fixture
def truth() -> TruthInMemory:
    """Eight images of two sizes, some pixels unlabelled; one wholly."""
    noise, labels, images = np.random.default_rng(0), {}, {}
    for n in range(8):
        id, shape = f"pet_{n:08d}", (12, 10 + n % 2)
        mask = (noise.integers(1, 3) * (noise.random(shape) < 0.4)).astype(np.uint8)
        mask[noise.random(shape) < (1 if n == 5 else 0.1)] = 255
        labels[id], images[id] = mask, noise.integers(0, 256, (*shape, 3), np.uint8)
    return TruthInMemory(labels, images)


@pytest.fixture
def predict(tmp_path, truth):
    """predict(name, share): a folder in which that share of the pixels is drawn at random."""

    def make(name: str = "predictions", share: float = 0.3) -> Path:
        noise, folder = np.random.default_rng(1), tmp_path / name
        folder.mkdir()
        for id in truth.ids:
            mask = np.where(truth.label(id) == 255, 0, truth.label(id))
            mask = np.where(noise.random(mask.shape) < share, noise.integers(0, 3, mask.shape), mask)
            (folder / f"{id}.png").write_bytes(encode_png(mask.astype(np.uint8)))
        return folder

    return make
