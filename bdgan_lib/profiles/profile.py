"""What a world of classes has: its data as plain fields, its parts as objects, None where it lacks one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.checkpoints import download
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.downstream.benchmark.truth import TruthInMemory
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.profiles.shipped import ShippedFiles
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle
from bdgan_lib.worlds.pocket import SceneSet

_INSTEAD = {  # part that a world may lack -> what it is, and what to do without it
    "shipped": (
        "shipped results",
        "run `bdgan experiment NAME`; where a recorded session is asked for, draw",
    ),
    "renderer": (
        "real images with exact masks",
        "the paper's were never published: give your own with --labels DIR",
    ),
    "encoder": ("image encoder", "its generator cannot encode pictures; use pocket-vqgan or imagenet-vqgan"),
    "source": ("source of annotations", "it has its own"),
    "second": (
        "second generator",
        "of a BigGAN model folder it is a VQGAN in its folder `vqgan`, which `bdgan train-generator PICTURES "
        "--out MODEL/vqgan` makes; pocket-vqgan and imagenet-vqgan are second generators themselves",
    ),
    "classifier": ("classifier with feature maps", "`scorer` scores images"),
    "oracle": ("oracle annotator", "label by hand (notebook 02), or `bdgan import-release`"),
    "quality_features": ("features for Fréchet distances", "this measurement is made on the pocket profile"),
}


class LoadGenerator(Protocol):
    """Loads a frozen generator."""

    def __call__(self, device: str = "cpu", bf16: bool = False) -> FeatureGenerator | VQGAN:
        """The generator, fetched at first use where its weights do not ship.

        Args:
            device: a torch device; "meta" gives the shapes without reading weights, where they do not ship.
            bf16: compute in bfloat16, which is faster. A BigGAN's pixels change by a quarter of a level of
                255 on average, single ones by ten. A VQGAN may draw other codes, and so other images.
        """


class Renderer(Protocol):
    """Draws the real images of a world, with exact masks."""

    def real(self, count: int, first_seed: int = ...) -> SceneSet:
        """`count` scenes that no generator made, from consecutive seeds."""

    def truth(self, task: Task, split: str = "test") -> TruthInMemory:
        """Images and labels of a task; split: train, validation or test of Real-annotated."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A world of classes with its generator, scorer and annotations.

    Notebooks and commands ask whether a profile has a part (`if profile.renderer:`), never which profile it
    is. `require` returns a part or raises the error that says what to do without it. No weights are loaded
    before they are used.
    """

    name: str
    image_size: int  # pixels
    classes: tuple[str, ...]  # a class id is an index into it
    sampling: Sampling  # of annotations and data sets
    folder: Path  # of its files
    tasks: Mapping[str, Task]  # segmentation tasks by name
    generator: LoadGenerator
    annotations: Callable[[], AnnotationStore]  # labelled samples, from which its label heads learn
    load_scorer: Callable[[], NetworkScorer]
    licence: str = "Apache-2.0"  # of the images it makes and their labels, as far as the project knows
    synsets: tuple[str, ...] = ()  # WordNet ids, in the order of `classes`
    weights: tuple[download.Weights, ...] = ()  # files of the weights catalogue, the generator's first
    official_annotations: bool = False  # whether its generator is the one of the paper's published latents
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # class name -> names of its parts
    # what a world may lack
    shipped: ShippedFiles | None = None  # with results; its annotations ship too and stay as they are
    renderer: Renderer | None = None
    encoder: Callable[..., VQGAN] | None = None  # loads the generator where it can also read images
    source: "Profile | None" = None  # whose annotated samples a VQGAN sees again
    make_second: "Callable[[Profile], Profile] | None" = None
    load_classifier: Callable[[], Classifier] | None = None
    load_oracle: Callable[[], Oracle] | None = None
    quality_features: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None
    """Features [N, D] of images [N, H, W, 3], in which Fréchet distances are computed."""

    @cached_property
    def scorer(self) -> NetworkScorer:
        """The classifier that scores how recognisable samples are: (images, class ids) -> [N] in [0, 1]."""
        return self.load_scorer()

    @cached_property
    def classifier(self) -> Classifier | None:
        """The scorer's network with its feature maps."""
        return self.load_classifier() if self.load_classifier else None

    @cached_property
    def oracle(self) -> Oracle | None:
        """The annotator that stands in for a human."""
        return self.load_oracle() if self.load_oracle else None

    @cached_property
    def second(self) -> "Profile | None":
        """The same classes and annotations with the second generator, a VQGAN (paper)."""
        return self.make_second(self) if self.make_second else None

    def require(self, part: str) -> Any:
        """A part that other profiles lack, such as "renderer".

        Raises:
            BdganError: the profile has none; the message says what to do instead.
        """
        if (value := getattr(self, part)) is None:
            missing, instead = _INSTEAD[part]
            raise BdganError(f"profile {self.name} has no {missing}: {instead}")
        return value

    def verify(self) -> int:
        """Verify the sha256 of every file of the profile that is here, and return how many there are."""
        if self.shipped:
            return self.shipped.verify()
        return sum(download.cached_file(entry, self.folder) is not None for entry in self.weights)

    def class_id(self, name: str) -> int:
        """The id of a class, also by a last word that only one has: "mug" for ImageNet's "coffee mug".

        Raises:
            BdganError: no class has that name; the message lists those there are.
        """
        if name in self.classes:
            return self.classes.index(name)
        alike = [k for k, known in enumerate(self.classes) if known.split()[-1] == name]
        if len(alike) == 1:
            return alike[0]
        names = ", ".join(self.classes[:20]) + (" ..." if len(self.classes) > 20 else "")
        raise BdganError(f"no class {name!r} in profile {self.name}; it has {names}")

    def task(self, name: str) -> Task:
        """The task of that name.

        Raises:
            BdganError: there is no such task; the message lists those there are.
        """
        if name not in self.tasks:
            raise BdganError(f"no task {name!r} in profile {self.name}; it has {', '.join(self.tasks)}")
        return self.tasks[name]
