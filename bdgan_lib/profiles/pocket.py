"""The pocket world: twelve drawn classes at 64 x 64 with exact masks; everything ships with the project."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import POCKET, REAL_ANNOTATED
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.downstream.benchmark.truth import TruthInMemory
from bdgan_lib.downstream.tasks import Task, pocket_tasks
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.vqgan import VQGAN, load_vqgan
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.profiles.shipped import ShippedFiles
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle
from bdgan_lib.worlds.pocket import CLASSES, PARTS, SceneSet, render_set

if TYPE_CHECKING:
    from bdgan_lib.generators.biggan_deep import BigGANDeep

IMAGE_SIZE = 64  # pixels
Network = TypeVar("Network", bound=torch.nn.Module)


def pocket_profile() -> Profile:
    """The default profile, with the pocket BigGAN-deep."""
    assets = PocketAssets(assets_folder() / "pocket")
    return Profile(
        name="pocket",
        image_size=IMAGE_SIZE,
        classes=CLASSES,
        sampling=Sampling(),  # truncation 1; paper: 0.9
        folder=assets.folder,
        tasks=pocket_tasks(CLASSES),
        generator=assets.biggan,
        annotations=assets.annotations,
        load_scorer=assets.scorer,
        parts=PARTS,
        shipped=assets,
        renderer=PocketRenderer(),
        make_second=pocket_vqgan_profile,
        load_classifier=lambda: assets.classifier,
        load_oracle=assets.oracle,
        quality_features=assets.quality_features,
    )


def pocket_vqgan_profile(source: Profile | None = None) -> Profile:
    """The pocket world with the pocket VQGAN; its annotations are those of `source`, seen again."""
    source = source or pocket_profile()
    vqgan: Callable[..., VQGAN] = source.require("shipped").vqgan
    return replace(
        source, name="pocket-vqgan", sampling=Sampling(top_p=0.9), generator=vqgan, encoder=vqgan,
        source=source, make_second=None,
    )  # fmt: skip


def recorded_session(profile: Profile) -> list[dict[str, Any]]:
    """A labelling session recorded in a browser (recipe: tests/browser/record.py), to be replayed."""
    return profile.require("shipped").read_json("session.json")  # type: ignore[no-any-return]


@dataclass(frozen=True)
class PocketAssets(ShippedFiles):
    """The pocket's networks and annotations, verified when they are loaded."""

    def biggan(self, device: str = "cpu", bf16: bool = False) -> "BigGANDeep":
        """The pocket BigGAN-deep (recipe: bdgan_lib.recipes.pocket_biggan)."""
        from bdgan_lib.generators.biggan_deep import (
            load_biggan_deep,  # its package imports scipy.stats, boto3
        )

        folder = self.path("biggan/config.json", "biggan/model.safetensors").parent
        return load_biggan_deep(folder, CLASSES, device, bf16)

    def vqgan(self, device: str = "cpu", bf16: bool = False) -> VQGAN:
        """The pocket VQGAN (recipe: bdgan_lib.recipes.pocket_vqgan)."""
        folder = self.path("vqgan/config.json", "vqgan/model.safetensors").parent
        return load_vqgan(folder, CLASSES, device, bf16)

    def annotations(self) -> AnnotationStore:
        """Five annotated samples of each class, made by the oracle."""
        for name in self.hashes:
            if name.startswith("annotations/"):
                self.path(name)
        return AnnotationStore(self.folder / "annotations")

    @cached_property
    def classifier(self) -> Classifier:
        """The network that scores samples (recipe: bdgan_lib.recipes.pocket_classifier)."""
        return self._load("classifier", Classifier())

    def scorer(self) -> NetworkScorer:
        """The classifier as a class scorer."""
        return NetworkScorer(self.classifier, from_uint8, takes_tensors=True)

    def oracle(self) -> Oracle:
        """The annotator that stands in for a human (recipe: bdgan_lib.recipes.pocket_classifier)."""
        oracle = Oracle()
        self._load("oracle", oracle.network)
        return oracle

    def quality_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The classifier's pooled features, [N, 128]."""
        return self.classifier.features_of(images)

    def _load(self, name: str, network: Network) -> Network:
        path = self.path(f"{name}/model.safetensors")
        load_strict(network, load_file(path), str(path))
        return network.eval().requires_grad_(False)


class PocketRenderer:
    """Renders scenes with exact masks; no shipped network was trained on seeds from 3,000,000."""

    def real(self, count: int, first_seed: int = POCKET["real"].first) -> SceneSet:
        """`count` scenes from consecutive seeds, rendered on all cores."""
        return render_set(count, first_seed, workers=os.cpu_count() or 1)

    def truth(self, task: Task, split: str = "test") -> TruthInMemory:
        """Scenes of the task's classes, 100 of each in the test split; ids name class and seed."""
        if split not in REAL_ANNOTATED:
            raise BdganError(f"no split {split!r}; there is {', '.join(REAL_ANNOTATED)}")
        scenes, first = _split(split), REAL_ANNOTATED[split].first
        chosen = np.flatnonzero(task.holds(scenes.class_ids))
        ids = [sample_id(CLASSES[scenes.class_ids[i]], first + int(i)) for i in chosen]
        labels = task.masks(scenes.class_masks[chosen])
        return TruthInMemory(dict(zip(ids, labels)), dict(zip(ids, scenes.images[chosen])))


@cache
def _split(split: str) -> SceneSet:
    """Rendered once for all tasks."""
    return render_set(REAL_ANNOTATED[split].count, REAL_ANNOTATED[split].first)
