"""The data behind the figures: one run's data sets, a trained network's predictions, stored results."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.io import atomic_file
from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.downstream.segmentation import segmenter
from bdgan_lib.experiments.context import test_set
from bdgan_lib.experiments.pools import annotated
from bdgan_lib.experiments.runner import shipped_result, with_factors
from bdgan_lib.profiles import Profile, load_profile
from bdgan_lib.profiles.annotated import all_classes_task
from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded
from bdgan_lib.workspace import Workspace

_KEY = "found"  # of the predictions in their file
STEPS = 480  # batches of 16, as the experiments train on the task of all classes


class Pictures(NamedTuple):
    """Images with foreground masks."""

    images: NDArray[np.uint8]  # [N, H, W, 3]
    masks: NDArray[np.uint8]  # [N, H, W]; foreground where > 0
    class_ids: NDArray[np.int64]  # [N]

    def of(self, class_id: int, count: int | None = None) -> "Pictures":
        """The first `count` of a class."""
        mine = np.flatnonzero(self.class_ids == class_id)[:count]
        return Pictures(self.images[mine], self.masks[mine], self.class_ids[mine])


@dataclass(frozen=True)
class FigureData:
    """Data sets and predictions, computed on first use and kept in the workspace."""

    workspace: Workspace
    images_per_class: int = 100
    results: Path | None = None  # folder of `bdgan experiment --out`; takes precedence over shipped results

    @property
    def profile(self) -> Profile:
        """The workspace's profile."""
        return self.workspace.profile

    @cached_property
    def second(self) -> Workspace:
        """Workspace of the second generator; its head is that of notebook 04, if it has run."""
        folder = self.workspace.folder / "vqgan"
        return Workspace(self.profile.require("second"), folder, self.workspace.device)

    @property
    def has_second(self) -> bool:
        """Whether VQGAN-sim is available; on ImageNet only if notebook 04 has trained its head."""
        return self.profile.renderer is not None or (self.workspace.folder / "vqgan/head/head.json").exists()

    @property
    def tested_on(self) -> str:
        """Description of the images in `test`."""
        return "rendered, exact masks" if self.profile.renderer else "held-out annotated samples"

    def result(self, name: str) -> dict[str, Any]:
        """An experiment's result: from `results` if it is there, else the shipped one of the pocket world."""
        path = self.results / f"{name}.json" if self.results else None
        if path and path.exists():
            return with_factors(json.loads(path.read_text("utf-8")))
        return shipped_result(self.profile if self.profile.shipped else load_profile("pocket"), name)

    @cached_property
    def annotated(self) -> Pictures:
        """Synthetic-annotated."""
        labelled_set, class_ids = annotated(self.profile, device=self.workspace.device)
        return Pictures(labelled_set.images, (labelled_set.masks > 0).astype(np.uint8), class_ids)

    @cached_property
    def biggan_sim(self) -> Pictures:
        """Generated images with the label head's masks."""
        return Pictures(*self._biggan_set.arrays())

    @cached_property
    def vqgan_sim(self) -> Pictures:
        """The same for the second generator, whose head was trained on labels of the first."""
        if not self.has_second:
            raise BdganError(f"no head of the second generator in {self.workspace.folder}: run notebook 04")
        return Pictures(*self.second.synthetic(self.images_per_class).arrays())

    @cached_property
    def real(self) -> Pictures:
        """Real-annotated, of the same size."""
        scenes = self.profile.require("renderer").real(self.images_per_class * len(self.profile.classes))
        return Pictures(scenes.images, scenes.masks, scenes.class_ids)

    @cached_property
    def test(self) -> LabelledSet:
        """Test images with labels, of the task with all labelled classes."""
        return test_set(self.profile.name, all_classes_task(self.profile), self.workspace.device)

    @cached_property
    def predictions(self) -> NDArray[np.unsignedinteger]:
        """Labels that a network trained on BigGAN-sim predicts for the test images, [N, H, W]."""
        path = self.workspace.folder / f"predictions_{self._biggan_set.folder.name}.npz"
        if not path.exists():
            images, masks, class_ids = self.biggan_sim
            task, device = all_classes_task(self.profile), self.workspace.device
            network = seeded(lambda: segmenter("pocket-10", len(task.labels)), 0)
            config = FitConfig(STEPS, min(16, len(images)), 6e-3)
            labels = task.masks(class_masks(masks, class_ids))
            fit(network, images, labels, config, device, "network for predictions")
            with atomic_file(path) as file:
                test_labels = predict(network, self.test.images, device=device).argmax(1).numpy()
                arrays: dict[str, Any] = {_KEY: test_labels.astype(labels.dtype)}
                np.savez_compressed(file, **arrays)
        predicted: NDArray[np.unsignedinteger] = np.load(path)[_KEY]
        return predicted

    @cached_property
    def _biggan_set(self) -> ShardedSet:
        return self.workspace.synthetic(self.images_per_class)
