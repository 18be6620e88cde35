"""The pocket world: twelve drawn classes, a small generator, and judges that know the truth."""

import json
import os
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from bdgan_lib.annotation.candidates import annotate_candidates, choose_candidates
from bdgan_lib.core.assets import assets_folder, require_asset, restore_hint
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import sha256_of, write_atomic
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import REAL_ANNOTATED
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore, resize_annotations
from bdgan_lib.downstream.benchmark.truth import TruthInMemory
from bdgan_lib.downstream.tasks import Task, pocket_tasks
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.biggan_deep import BigGANDeep, load_biggan_deep
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.generators.vqgan import VQGAN, load_vqgan
from bdgan_lib.profiles.profile import Profile, Renderer
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle
from bdgan_lib.worlds.pocket import CLASSES, PARTS, SceneSet, render_set

Network = TypeVar("Network", bound=torch.nn.Module)


class PocketRenderer:
    """The drawn world itself, at 64 x 64."""

    def real(self, count: int, first_seed: int = 3_000_000) -> SceneSet:
        """Rendered scenes with exact masks; no shipped network was trained on seeds from 3,000,000."""
        return render_set(count, first_seed, workers=os.cpu_count() or 1)

    def truth(self, task: Task, split: str = "test") -> TruthInMemory:
        """Rendered scenes of the task's classes, 100 of each in the test split; ids name class and seed.

        Raises:
            BdganError: there is no split of that name.
        """
        if split not in REAL_ANNOTATED:
            raise BdganError(f"no split {split!r}; there is {', '.join(REAL_ANNOTATED)}")
        seeds, scenes = REAL_ANNOTATED[split], _split(split)
        chosen = np.flatnonzero(task.holds(scenes.class_ids))
        ids = [sample_id(CLASSES[scenes.class_ids[i]], seeds.first + int(i)) for i in chosen]
        labels = task.masks(scenes.class_masks[chosen])
        return TruthInMemory(dict(zip(ids, labels)), dict(zip(ids, scenes.images[chosen])))


@dataclass(frozen=True)
class PocketProfile(Profile):
    """Twelve drawn classes at 64 x 64 with exact masks; everything ships with the project."""

    name: str = "pocket"
    image_size: int = 64
    classes: tuple[str, ...] = CLASSES
    sampling: Sampling = Sampling()  # noqa: RUF009 (frozen); truncation 1; paper: 0.9
    renderer: ClassVar[Renderer | None] = PocketRenderer()
    held_out: ClassVar[frozenset[str]] = frozenset()  # fresh samples are labelled to score with

    @property
    def folder(self) -> Path:
        """Its shipped files."""
        return assets_folder() / "pocket"

    def generator(self, device: str = "cpu", bf16: bool = False) -> BigGANDeep:
        """The pocket BigGAN-deep (recipe: bdgan_lib.recipes.pocket_biggan)."""
        self._check("biggan/config.json", "biggan/model.safetensors")
        return load_biggan_deep(self.folder / "biggan", self.classes, device, bf16)

    @cached_property  # type: ignore[misc]
    def classifier(self) -> Classifier:
        """The network that judges samples (recipe: bdgan_lib.recipes.pocket_classifier)."""
        return self._load("classifier", Classifier())

    @cached_property  # type: ignore[misc]
    def oracle(self) -> Oracle:
        """The annotator that stands in for a human (recipe: bdgan_lib.recipes.pocket_classifier)."""
        oracle = Oracle()
        self._load("oracle", oracle.network)
        return oracle

    def annotations(self) -> AnnotationStore:
        """Five annotated samples of each class, made by the oracle."""
        self._check(*self._listed("annotations/"))
        return AnnotationStore(self.folder / "annotations")

    def label_store(self, folder: str | Path) -> AnnotationStore:
        """A folder of the run: what ships stays as it is."""
        return AnnotationStore(Path(folder) / "labels")

    def recorded_session(self) -> list[dict[str, Any]]:
        """A labelling session that was recorded in a browser (recipe: tests/browser/record.py)."""
        self._check("session.json")
        commands: list[dict[str, Any]] = json.loads((self.folder / "session.json").read_text("utf-8"))
        return commands

    def experiment(self, name: str) -> dict[str, Any]:
        """The shipped result of `bdgan experiment NAME`; BdganError if it is of another generator."""
        self._check(f"experiments/{name}.json", "biggan/model.safetensors")
        result = json.loads((self.folder / f"experiments/{name}.json").read_text("utf-8"))
        if result["generator_sha256"] != self._recorded["biggan/model.safetensors"]:
            raise BdganError(
                f"experiment {name} was measured on generator {result['generator_sha256'][:12]}, not on "
                f"the one that ships; run `bdgan experiment {name}`"
            )
        return result

    def annotate(self, generator: FeatureGenerator, keep: int = 5) -> list[Annotation]:
        """Sample ten of each class, keep the most recognisable ones, have the oracle label their parts."""
        every = range(len(self.classes))
        chosen = choose_candidates(generator, every, self.confidence, self.sampling, keep=keep)
        return list(annotate_candidates(chosen, self.oracle.annotate, self.oracle.name, PARTS))

    def test_annotations(
        self, generator: Generator, count: int, first_seed: int = 100_000
    ) -> list[Annotation]:
        """Fresh samples from these seeds, their parts labelled by the oracle."""
        annotations = []
        for numbers in torch.arange(count).split(50):
            ids, seeds = numbers % len(self.classes), first_seed + numbers
            images = to_uint8(generator.sample(ids, seeds, self.sampling, features=False).images)
            masks = self.oracle.annotate(images, ids.numpy())
            for class_id, seed, mask in zip(ids.tolist(), seeds.tolist(), masks, strict=True):
                name = self.classes[class_id]
                annotations.append(
                    Annotation(sample_id(name, seed), name, class_id, seed, self.sampling, generator.sha256,
                               mask, self.oracle.name, ("background", *PARTS[name]))
                )  # fmt: skip
        return annotations

    @property
    def second(self) -> "PocketVQGANProfile":
        """The pocket VQGAN's."""
        return PocketVQGANProfile()

    @cached_property
    def tasks(self) -> dict[str, Task]:  # type: ignore[override]
        """Counterparts of the paper's."""
        return pocket_tasks(self.classes)

    @property
    def every_class(self) -> Task:
        """MC-all."""
        return self.task("MC-all")

    @cached_property  # type: ignore[misc]
    def scorer(self) -> NetworkScorer:
        """The classifier."""
        return NetworkScorer(self.classifier, from_uint8)

    @torch.inference_mode()
    def quality_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The classifier's pooled features, [N, 128], in which Frechet distances are taken."""
        batches = (from_uint8(images[i : i + 200]) for i in range(0, len(images), 200))
        return torch.cat([self.classifier.features(x) for x in batches]).numpy()

    def verify(self) -> int:
        """Check every shipped file against its recorded sha256; returns how many there are."""
        self._check(*self._recorded)
        return len(self._recorded)

    @cached_property
    def _recorded(self) -> dict[str, str]:
        path = require_asset(self.folder / "manifest.json")
        try:
            recorded = json.loads(path.read_text("utf-8"))
            return {str(name): str(digest) for name, digest in recorded.items()}
        except (ValueError, AttributeError) as error:
            raise BdganError(f"asset {path} is damaged ({error}); {restore_hint()}") from error

    def _listed(self, prefix: str) -> list[str]:
        return [name for name in self._recorded if name.startswith(prefix)]

    def _check(self, *names: str) -> None:
        for name in names:
            expected = self._recorded.get(name, "none recorded")
            path = require_asset(self.folder / name, expected)
            actual = sha256_of(path)
            if actual != expected:
                raise BdganError(
                    f"asset {path} is damaged: expected sha256 {expected}, got {actual}; {restore_hint()}"
                )

    def _load(self, part: str, network: Network) -> Network:
        self._check(f"{part}/model.safetensors")
        state = load_file(self.folder / part / "model.safetensors")
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        return network.eval().requires_grad_(False)


@cache
def _split(split: str) -> SceneSet:
    """Rendered once for all tasks."""
    return render_set(REAL_ANNOTATED[split].count, REAL_ANNOTATED[split].first)


@dataclass(frozen=True)
class PocketVQGANProfile(PocketProfile):
    """The same world through the second generator: its labels are the first one's, seen again."""

    name: str = "pocket-vqgan"
    sampling: Sampling = Sampling(top_p=0.9)  # noqa: RUF009 (frozen)
    encodes_images: ClassVar[bool] = True

    @property
    def source(self) -> PocketProfile:
        """Whose annotated samples its labels are."""
        return PocketProfile()

    def generator(self, device: str = "cpu", bf16: bool = False) -> VQGAN:  # type: ignore[override]
        """The pocket VQGAN (recipe: bdgan_lib.recipes.pocket_vqgan)."""
        self._check("vqgan/config.json", "vqgan/model.safetensors")
        return load_vqgan(self.folder / "vqgan", self.classes, device, bf16)

    def annotated(self, device: str = "cpu", hold_out: bool = False) -> tuple[Generator, list[Annotation]]:
        """The pocket BigGAN's annotated samples with the features that VQGAN has of them."""
        embedded = ReencodedGenerator(self.source.generator(device), self.generator(device))
        sides = embedded.source.image_size, embedded.image_size
        return embedded, resize_annotations(self._chosen(hold_out), *sides)


def record_assets(profile: PocketProfile) -> None:
    """Write the manifest of a profile's assets: the last step after a recipe has made them anew."""
    files = sorted(
        p
        for p in profile.folder.rglob("*")
        if p.is_file() and p.name != "manifest.json" and not p.name.startswith(".")
    )
    hashes = {p.relative_to(profile.folder).as_posix(): sha256(p.read_bytes()).hexdigest() for p in files}
    write_atomic(profile.folder / "manifest.json", (json.dumps(hashes, indent=1) + "\n").encode())
