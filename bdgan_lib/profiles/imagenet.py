"""The thousand classes of ImageNet: published weights, fetched at first use, and people's labels."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_pretrained_biggan import BigGAN as PackageBigGAN
from safetensors.torch import load_file
from torch import Tensor

from bdgan_lib.checkpoints import download
from bdgan_lib.core.assets import assets_folder, user_folder
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore, resize_annotations
from bdgan_lib.downstream.tasks import Task, imagenet_tasks
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork, load_biggan
from bdgan_lib.generators.biggan_deep import BigGANDeep, deep_config, read_biggan_deep
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.generators.taming_checkpoint import IMAGENET, read_vqgan
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.profiles.profile import Profile

SCORER = "resnet50"  # of the catalogue: the classifier that judges samples
INCEPTION = "inception"  # of the catalogue: the network in which published FIDs are taken
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images in [0, 1]


@dataclass(frozen=True)
class ImageNetProfile(Profile):
    """A published BigGAN. Nothing ships: weights come on first use, labels from people."""

    name: str
    image_size: int
    entry: str  # of the generator in assets/weights.toml

    @property
    def deep(self) -> bool:
        """Whether the generator is a BigGAN-deep."""
        return self.entry.startswith("biggan-deep")

    @property
    def official_annotations(self) -> bool:  # type: ignore[override]
        """Whether the paper's annotations and latents are of this generator, BigGAN-512."""
        return self.entry == "biggan-512"

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        """Truncation 0.9 (paper); BigGAN-512 as the release draws: plain scale 0.9, nothing clipped."""
        return Sampling(0.9) if self.deep else Sampling(z_std=0.9)

    @cached_property
    def _listed(self) -> dict[str, list[str]]:
        return json.loads((assets_folder() / "imagenet" / "classes.json").read_text("utf-8"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of ImageNet's indices."""
        return tuple(self._listed["names"])

    @property
    def synsets(self) -> tuple[str, ...]:
        """WordNet ids, in the order of `classes`."""
        return tuple(self._listed["synsets"])

    @cached_property
    def tasks(self) -> dict[str, Task]:  # type: ignore[override]
        """The paper's seven."""
        return imagenet_tasks(assets_folder() / "imagenet" / "tasks.json", self.classes)

    @property
    def second(self) -> "ImageNetVQGANProfile":
        """The published VQGAN's, with the labels of this profile."""
        return ImageNetVQGANProfile(source=self)

    @property
    def needs(self) -> list[download.Weights]:
        """The files this profile reads: the generator's first."""
        listed = _catalogue()
        return [listed[self.entry], listed[SCORER]]

    def generator(self, device: str = "cpu", bf16: bool = False) -> FeatureGenerator | VQGAN:
        """The published generator, fetched at first use; device "meta" gives its shapes without weights."""
        if device == "meta":
            return self._shapes()
        path = download.fetch_safetensors(self.needs[0], download.cache_folder())
        if self.deep:
            config = deep_config(self.image_size)
            return read_biggan_deep(path, config, self.entry, self.classes, device, bf16)
        return load_biggan(path, self.classes, self.image_size, device, bf16=bf16)

    def annotations(self) -> AnnotationStore:
        """What people have labelled: `annotations/<profile>` in the user's folder."""
        return AnnotationStore(user_folder("annotations") / self.name)

    @cached_property
    def scorer(self) -> NetworkScorer:
        """Torchvision's ResNet-50 at 224 pixels."""
        from torchvision.models import resnet50

        network = resnet50()
        network.load_state_dict(load_file(download.fetch_safetensors(self.needs[1], download.cache_folder())))
        return NetworkScorer(network.requires_grad_(False), _normalised, 50)

    @torch.inference_mode()
    def quality_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Inception's pooled features, [N, 2048], as published FIDs and KIDs take them (torch-fidelity)."""
        batches = (
            torch.from_numpy(images[i : i + 50]).permute(0, 3, 1, 2) for i in range(0, len(images), 50)
        )
        return torch.cat([self._inception(x)[0] for x in batches]).numpy()

    @cached_property
    def _inception(self) -> torch.nn.Module:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise BdganError(
                "FID at this scale needs torch-fidelity; pip install 'bdgan-lib[fidelity]'"
            ) from error
        state = load_file(download.fetch_safetensors(_catalogue()[INCEPTION], download.cache_folder()))
        with NamedTemporaryFile() as file:  # it reads no safetensors
            torch.save(state, file.name)
            network: torch.nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], file.name)
        return network

    def verify(self) -> int:
        """Check the files that have been fetched; BdganError names one that is damaged."""
        paths = [download.cached_file(entry, download.cache_folder()) for entry in self.needs]
        return sum(path is not None for path in paths)

    @property
    def folder(self) -> Path:
        """Where its weights lie."""
        return download.cache_folder()

    def _shapes(self) -> FeatureGenerator:
        with torch.device("meta"):
            if self.deep:
                model = PackageBigGAN(deep_config(self.image_size))
                return BigGANDeep(model, self.entry, self.classes, "", "meta")
            network = BigGANNetwork(BigGANConfig(self.image_size))
            return BigGAN(network, self.entry, self.classes, "", "meta")


@dataclass(frozen=True)
class ImageNetVQGANProfile(ImageNetProfile):
    """The published class-conditional VQGAN; its labels are another generator's, seen again."""

    name: str = "imagenet-vqgan"
    image_size: int = 256
    entry: str = "vqgan-cin"
    source: ImageNetProfile = ImageNetProfile("release-512", 512, "biggan-512")  # whose labels it takes
    encodes_images: ClassVar[bool] = True

    @property
    def sampling(self) -> Sampling:  # type: ignore[override]
        """The paper names top-k and nucleus sampling, not their values; these are ours."""
        return Sampling(top_k=600, top_p=0.92)

    def generator(self, device: str = "cpu", bf16: bool = False) -> VQGAN:  # type: ignore[override]
        """As `ImageNetProfile.generator`."""
        if device == "meta":
            with torch.device("meta"):
                return VQGAN(VQGANNetwork(IMAGENET), self.entry, self.classes, "", "meta")
        path = download.fetch_safetensors(self.needs[0], download.cache_folder())
        return read_vqgan(path, IMAGENET, self.entry, self.classes, device, bf16)

    def annotations(self) -> AnnotationStore:
        """Those of `source`."""
        return self.source.annotations()

    def annotated(self, device: str = "cpu", hold_out: bool = False) -> tuple[Generator, list[Annotation]]:
        """The source's annotated samples with the features that VQGAN has of them."""
        embedded = ReencodedGenerator(self.source.generator(device), self.generator(device))
        sides = embedded.source.image_size, embedded.image_size
        return embedded, resize_annotations(self._chosen(hold_out), *sides)


def _normalised(images: NDArray[np.uint8]) -> Tensor:
    """[N, H, W, 3] -> [N, 3, 224, 224] as torchvision's classifiers were trained."""
    x = F.interpolate(from_uint8(images), size=224, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return ((x + 1) / 2 - mean) / std


def _catalogue() -> dict[str, download.Weights]:
    return download.catalogue(assets_folder() / "weights.toml")
