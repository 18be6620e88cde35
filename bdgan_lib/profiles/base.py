"""What every profile offers; what only a drawn world has (an oracle, exact masks) others refuse by name."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.annotation.choose import candidates
from bdgan_lib.data.annotations import Annotation, AnnotationStore
from bdgan_lib.downstream.leaderboard.truth import InMemory
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.generators.recorded import RecordedGenerator
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.weights import Weights
from bdgan_lib.heads.examples import Sampler
from bdgan_lib.profiles.judge import NetworkJudge
from bdgan_lib.types import BdganError, Sampling


def assets_folder() -> Path:
    """Where the shipped files are: $BDGAN_ASSETS, else `assets/` beside the package."""
    return Path(os.environ.get("BDGAN_ASSETS") or Path(__file__).parents[2] / "assets")


class Profile(ABC):
    """A world of classes. Notebooks and commands take one and never ask which it is."""

    name: str
    image_size: int  # pixels
    sampling: Sampling  # what annotations and data sets are sampled with

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where its files lie."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names; a class id is an index into it."""

    @abstractmethod
    def generator(self, device: str = "cpu", bf16: bool = False) -> RecordedGenerator | VQGAN:
        """The frozen generator. bf16: convolutions in bfloat16; faster, and other images by under 1/255."""

    @abstractmethod
    def annotations(self) -> AnnotationStore:
        """The labelled samples."""

    def annotated(self, device: str = "cpu") -> tuple[Sampler, list[Annotation]]:
        """What label heads are trained on: who samples the labelled images with features, and the labels."""
        return self.generator(device), list(self.annotations())

    def test_annotations(self, generator: Sampler, count: int, first_seed: int = 100_000) -> list[Annotation]:
        """Up to `count` labelled samples for scores, from which no head may learn: every fifth annotation."""
        found = sorted(self.annotations(), key=lambda a: a.id)[::5][:count]
        if len(found) < 2:
            raise BdganError(f"profile {self.name} has too few annotations to score with; label six or more")
        return found

    @property
    @abstractmethod
    def judge(self) -> NetworkJudge:
        """The classifier that says how recognisable a sample is."""

    def confidence(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """The judge's probability of each image's own class, [N]; images [N, H, W, 3]."""
        return self.judge(images, class_ids)

    @abstractmethod
    def verify(self) -> int:
        """Check every file of the profile that is here against its sha256; returns how many there are."""

    @property
    def second(self) -> "Profile":
        """The same classes through the second generator, a VQGAN, with this profile's labels (paper)."""
        raise self._lacks("second generator", "it is one; its labels are those of `source`")

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
        """BdganError, with the names there are, for an unknown class."""
        if name not in self.classes:
            names = ", ".join(self.classes[:20]) + (" ..." if len(self.classes) > 20 else "")
            raise BdganError(f"no class {name!r} in profile {self.name}; it has {names}")
        return self.classes.index(name)

    @property
    def oracle(self) -> Any:
        """The annotator that stands in for a human."""
        raise self._lacks("oracle annotator", "label by hand (notebook 02), or `bdgan import-release`")

    @property
    def classifier(self) -> Any:
        """The network that judges samples, with its feature maps."""
        raise self._lacks("classifier with feature maps", "`confidence` judges images")

    def candidates(self, generator: Sampler, keep: int = 5, classes: Iterable[str] = ()) -> list[Annotation]:
        """Samples to label by hand: of ten of each class the `keep` clearest, one of every class in turn.

        classes: their names; all of them if none is named.
        """
        ids = tqdm([self.class_id(name) for name in classes] or range(len(self.classes)), "samples to label")
        found = [kept for kept, _ in candidates(generator, ids, self.confidence, self.sampling, keep=keep)]
        return [annotation for turn in zip(*found, strict=True) for annotation in turn]

    def recorded_session(self) -> list[dict[str, Any]]:
        """A recorded labelling session, for those who have no mouse at hand."""
        raise self._lacks("recorded session", "draw in the widget")

    def annotate(self, generator: Any, keep: int = 5) -> list[Annotation]:
        """Sample ten of each class, keep the most recognisable ones, have the oracle label their parts."""
        return list(self.oracle)

    def real(self, count: int, first_seed: int = 0) -> Any:
        """Images nobody generated, with exact masks."""
        raise self._lacks("real images with exact masks", "the labels of the paper's were never published")

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

    def truth(self, task: Task, split: str = "test") -> InMemory:
        """Images and labels of one of its tasks; split: train, validation or test of Real-annotated."""
        raise self._lacks("real labels", "the paper's were never published: give your own with --labels DIR")

    def _lacks(self, what: str, instead: str) -> BdganError:
        return BdganError(f"profile {self.name} has no {what}: {instead}")
