"""What a profile offers: a world of classes, its generator, labels and tasks; None for what a world lacks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.annotation.candidates import choose_candidates
from bdgan_lib.checkpoints.download import Weights
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.downstream.benchmark.truth import TruthInMemory
from bdgan_lib.downstream.tasks import Task, task_of_classes
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.worlds.oracle import Oracle
from bdgan_lib.worlds.pocket import SceneSet

T = TypeVar("T")


_INSTEAD = {  # part that a world may lack -> what it is, and what to do without it
    "renderer": (
        "real images with exact masks",
        "the labels of the paper's were never published: give your own with --labels DIR",
    ),
    "oracle": ("oracle annotator", "label by hand (notebook 02), or `bdgan import-release`"),
    "second": ("second generator", "it is one; its labels are those of `source`"),
}


def evenly_spaced(items: Sequence[T]) -> Sequence[T]:
    """All of a few items, a dozen of many, evenly spaced: as many as a figure can show."""
    return items[:: max(1, len(items) // 12)][:12]


class Renderer(Protocol):
    """Draws images of a world's classes that nobody generated, with exact masks."""

    def real(self, count: int, first_seed: int = ...) -> SceneSet:
        """Scenes from seeds first_seed, first_seed + 1, ...; scene i shows class i % K."""

    def truth(self, task: Task, split: str = "test") -> TruthInMemory:
        """Images and labels of a task; split: train, validation or test of Real-annotated."""


class Profile(ABC):
    """A world of classes. Notebooks and commands take one and never ask which it is."""

    name: str
    image_size: int  # pixels
    sampling: Sampling  # what annotations and data sets are sampled with
    renderer: ClassVar[Renderer | None] = None  # of a drawn world
    encodes_images: ClassVar[bool] = False  # whether its generator is an `ImageEncoder`
    official_annotations: ClassVar[bool] = False  # whether the paper's labels are of its generator

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where its files lie."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names; a class id is an index into it."""

    @property
    def synsets(self) -> tuple[str, ...]:
        """WordNet ids, in the order of `classes`; none where the classes are not of WordNet."""
        return ()

    @abstractmethod
    def generator(self, device: str = "cpu", bf16: bool = False) -> FeatureGenerator | VQGAN:
        """The frozen generator. bf16: convolutions in bfloat16; faster, and other images by under 1/255."""

    @abstractmethod
    def annotations(self) -> AnnotationStore:
        """The labelled samples."""

    def label_store(self, folder: str | Path) -> AnnotationStore:
        """Where labels that are drawn here go: to the profile's own, from which its heads learn.

        folder: of the run, for a profile whose annotations ship and stay as they are.
        """
        return self.annotations()

    @property
    def labelled(self) -> tuple[int, ...]:
        """Ids of the classes that somebody labelled: what a head can be asked for. BdganError without any."""
        class_ids = {a.class_id for a in self.annotations()}
        if not class_ids:
            raise BdganError(f"profile {self.name} has no annotations; label samples first (notebook 02)")
        return tuple(sorted(class_ids))

    @property
    def shown(self) -> dict[int, str]:
        """Of the labelled classes as many as a figure can show: names by id."""
        return {k: self.classes[k] for k in evenly_spaced(self.labelled)}

    def annotated(self, device: str = "cpu", hold_out: bool = False) -> tuple[Generator, list[Annotation]]:
        """What label heads are trained on: who samples the labelled images with features, and the labels.

        hold_out: without those of `test_annotations`, because something is to be scored on them.
        """
        return self.generator(device), self._chosen(hold_out)

    @property
    def held_out(self) -> frozenset[str]:
        """Ids of the annotations to score with: every fifth of six or more."""
        ids = sorted(a.id for a in self.annotations())
        return frozenset(ids[::5] if len(ids) > 5 else ())

    def _chosen(self, hold_out: bool) -> list[Annotation]:
        held_out = self.held_out if hold_out else frozenset()
        return [a for a in self.annotations() if a.id not in held_out]

    def test_annotations(
        self, generator: Generator, count: int, first_seed: int = 100_000
    ) -> list[Annotation]:
        """Up to `count` labelled samples for scores, from which no head may learn: every fifth annotation."""
        held_out = sorted(self.held_out)[:count]
        if len(held_out) < 2:
            raise BdganError(f"profile {self.name} has too few annotations to score with; label six or more")
        return [self.annotations().load(id) for id in held_out]

    @property
    @abstractmethod
    def scorer(self) -> NetworkScorer:
        """The classifier that says how recognisable a sample is."""

    def confidence(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """The judge's probability of each image's own class, [N]; images [N, H, W, 3]."""
        return self.scorer(images, class_ids)

    @abstractmethod
    def verify(self) -> int:
        """Check every file of the profile that is here against its sha256; returns how many there are."""

    @property
    def second(self) -> "Profile | None":
        """The same classes through the second generator, a VQGAN, with this profile's labels (paper)."""
        return None

    def require(self, part: str) -> Any:
        """A part of the profile: renderer, oracle or second.

        Raises:
            BdganError: its world has no such part; the line says what to do instead.
        """
        if (value := getattr(self, part)) is None:
            raise self._lacks(*_INSTEAD[part])
        return value

    @property
    def needs(self) -> list[Weights]:
        """What it reads of the weights catalogue; nothing where all files ship."""
        return []

    @property
    def licence(self) -> str:
        """Of the images it makes and their labels, as far as the project knows."""
        if not self.needs:
            return "Apache-2.0"
        return f"generator: {self.needs[0].licence}; labels: their annotators', the release's CC BY-NC 4.0"

    def class_id(self, name: str) -> int:
        """The class of that name, or the only one whose last word it is: "mug" for ImageNet's "coffee mug".

        BdganError, with the names there are, for an unknown class.
        """
        alike = [k for k, known in enumerate(self.classes) if known.split()[-1] == name]
        if name not in self.classes and len(alike) == 1:
            return alike[0]
        if name not in self.classes:
            names = ", ".join(self.classes[:20]) + (" ..." if len(self.classes) > 20 else "")
            raise BdganError(f"no class {name!r} in profile {self.name}; it has {names}")
        return self.classes.index(name)

    @property
    def oracle(self) -> Oracle | None:
        """The annotator that stands in for a person."""
        return None

    @property
    def classifier(self) -> Any:
        """The network that judges samples, with its feature maps."""
        raise self._lacks("classifier with feature maps", "`confidence` judges images")

    def candidates(
        self, generator: Generator, keep: int = 5, classes: Iterable[str] = ()
    ) -> list[Annotation]:
        """Samples to label by hand: of ten of each class the `keep` clearest, one of every class in turn.

        classes: their names; all of them if none is named.
        """
        ids = tqdm([self.class_id(name) for name in classes] or range(len(self.classes)), "samples to label")
        per_class = [
            kept for kept, _ in choose_candidates(generator, ids, self.confidence, self.sampling, keep=keep)
        ]
        return [annotation for turn in zip(*per_class, strict=True) for annotation in turn]

    def recorded_session(self) -> list[dict[str, Any]]:
        """A recorded labelling session, for those who have no mouse at hand."""
        raise self._lacks("recorded session", "draw in the widget")

    def annotate(self, generator: Any, keep: int = 5) -> list[Annotation]:
        """Labelled samples of every class that has some: people's, or the oracle's `keep` clearest of ten."""
        return list(self.annotations())

    def quality_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features in which Frechet distances are taken, [N, D]."""
        raise self._lacks("features for Frechet distances", "this measurement is made on the pocket profile")

    def experiment(self, name: str) -> dict[str, Any]:
        """The shipped result of `bdgan experiment NAME`."""
        raise self._lacks(f"shipped result of experiment {name}", f"run `bdgan experiment {name}`")

    @property
    @abstractmethod
    def tasks(self) -> dict[str, Task]:
        """The segmentation tasks on its classes, by name."""

    def task(self, name: str) -> Task:
        """BdganError, with the names there are, for an unknown task."""
        if name not in self.tasks:
            raise BdganError(f"no task {name!r} in profile {self.name}; it has {', '.join(self.tasks)}")
        return self.tasks[name]

    @property
    def every_class(self) -> Task:
        """The task that tells all labelled classes apart."""
        world = next(iter(self.tasks.values())).world
        return task_of_classes(world, "labelled classes", self.labelled, self.classes)

    def _lacks(self, what: str, instead: str) -> BdganError:
        return BdganError(f"profile {self.name} has no {what}: {instead}")
