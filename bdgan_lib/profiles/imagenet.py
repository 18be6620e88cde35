"""The thousand classes of ImageNet: published weights, fetched at first use, and people's labels."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from bdgan_lib.checkpoints import download
from bdgan_lib.checkpoints.state_dict import batch_norm_counters, load_strict, meta_device, require_fit
from bdgan_lib.core.assets import assets_folder, require_asset, user_folder
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.downstream.tasks import imagenet_tasks
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork, load_biggan
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.taming_checkpoint import IMAGENET, read_vqgan
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.profiles.profile import Profile

SCORER = "resnet50"  # in the weights catalogue: the classifier that scores samples
INCEPTION = "inception"  # in the weights catalogue: the network in which published FIDs are computed
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images in [0, 1]


def imagenet_profile(name: str, image_size: int, entry: str) -> Profile:
    """A profile of a published BigGAN: nothing ships, its labels come from people.

    Args:
        name: of the profile; its annotations lie in the user's folder `annotations/<name>`.
        image_size: of the generator, in pixels.
        entry: of the generator in assets/weights.toml; "biggan-deep-..." or BigGAN-512 as the paper's authors
            used it, which samples with a plain scale of 0.9 and no clipping.
    """
    deep = entry.startswith("biggan-deep")
    listed = json.loads(require_asset(assets_folder() / "imagenet" / "classes.json").read_text("utf-8"))
    classes, weights = tuple(listed["names"]), _weights(entry)
    generator: Callable[..., Any] = partial(
        _load,
        BigGAN,
        lambda: BigGANNetwork(BigGANConfig(image_size)),
        lambda path, _, names, device, bf16: load_biggan(path, names, image_size, device, bf16=bf16),
    )
    if deep:
        generator = partial(_load_deep, image_size)
    return Profile(
        name=name,
        image_size=image_size,
        classes=classes,
        sampling=Sampling(0.9) if deep else Sampling(z_std=0.9),  # paper: truncation 0.9
        folder=download.cache_folder(),
        tasks=imagenet_tasks(assets_folder() / "imagenet" / "tasks.json", classes),
        generator=partial(generator, weights[0], classes),
        annotations=partial(AnnotationStore, user_folder("annotations") / name),
        load_scorer=partial(_resnet50, weights[1]),
        licence=_licence(weights[0]),
        synsets=tuple(listed["synsets"]),
        weights=weights,
        official_annotations=not deep,
        make_second=imagenet_vqgan_profile,
        quality_features=inception_features,
    )


def imagenet_vqgan_profile(source: Profile | None = None) -> Profile:
    """The published class-conditional VQGAN; its annotations are those of `source`, seen again.

    Sampling: the paper names top-k and nucleus sampling, not their values; these are ours.
    """
    source = source or imagenet_profile("release-512", 512, "biggan-512")
    weights = _weights("vqgan-cin")
    read = lambda path, *more: read_vqgan(path, IMAGENET, *more)
    vqgan = partial(_load, VQGAN, partial(VQGANNetwork, IMAGENET), read, weights[0], source.classes)
    return replace(
        source,
        name="imagenet-vqgan",
        image_size=IMAGENET.resolution,
        sampling=Sampling(top_k=600, top_p=0.92),
        generator=vqgan,
        licence=_licence(weights[0]),
        weights=weights,
        official_annotations=False,
        encoder=vqgan,
        source=source,
        make_second=None,
    )


@torch.inference_mode()
def inception_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Inception's pooled features, [N, 2048], as published FIDs and KIDs use them (torch-fidelity)."""
    path = download.fetch_safetensors(_catalogue()[INCEPTION], download.cache_folder())
    batches = (torch.from_numpy(images[i : i + 50]).permute(0, 3, 1, 2) for i in range(0, len(images), 50))
    return torch.cat([_inception(path)(x)[0] for x in batches]).numpy()


@cache
def _inception(path: Path) -> torch.nn.Module:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise BdganError(
            "FID at this scale needs torch-fidelity; pip install 'bdgan-lib[fidelity]'"
        ) from error

    class Inception(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:  # type: ignore[override]
            expected = {key: x.shape for key, x in self.state_dict().items()}
            state_dict = batch_norm_counters(expected) | state_dict
            super().load_state_dict(require_fit(expected, state_dict, f"{path} does not fit Inception"))

    with NamedTemporaryFile() as file:  # it reads no safetensors
        torch.save(load_file(path), file.name)
        network: torch.nn.Module = Inception("inception", ["2048"], file.name)
    return network


def _load(
    kind: Callable[..., Any],
    network: Callable[[], torch.nn.Module],
    read: Callable[..., Any],
    weights: download.Weights,
    classes: tuple[str, ...],
    device: str = "cpu",
    bf16: bool = False,
) -> Any:
    """The generator in these weights; on "meta" one of this kind around a network without weights."""
    if device == "meta":
        with meta_device():
            return kind(network(), weights.name, classes, "", "meta")
    path = download.fetch_safetensors(weights, download.cache_folder())
    return read(path, weights.name, classes, device, bf16)


def _load_deep(image_size: int, *settings: Any, **more: Any) -> Any:
    """`_load` of a published BigGAN-deep."""
    from pytorch_pretrained_biggan import BigGAN as PackageBigGAN  # it imports scipy.stats and boto3

    from bdgan_lib.generators.biggan_deep import BigGANDeep, deep_config, read_biggan_deep

    config = deep_config(image_size)
    read = lambda path, *rest: read_biggan_deep(path, config, *rest)
    return _load(BigGANDeep, partial(PackageBigGAN, config), read, *settings, **more)


def _resnet50(weights: download.Weights) -> NetworkScorer:
    """Torchvision's ResNet-50 at 224 pixels."""
    from torchvision.models import resnet50

    path = download.fetch_safetensors(weights, download.cache_folder())
    with meta_device():
        network = resnet50()
    load_strict(
        network, batch_norm_counters(network.state_dict()) | load_file(path), f"{path}, of ResNet-50,"
    )
    return NetworkScorer(network.requires_grad_(False), _normalised, 50, takes_tensors=True)


def _normalised(images: NDArray[np.uint8] | Tensor) -> Tensor:
    """[N, H, W, 3] -> [N, 3, 224, 224] as torchvision's classifiers were trained."""
    x = F.interpolate(from_uint8(images), size=224, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (_MEAN, _STD))
    return ((x + 1) / 2 - mean) / std


def _weights(entry: str) -> tuple[download.Weights, ...]:
    listed = _catalogue()
    return listed[entry], listed[SCORER]


def _licence(generator: download.Weights) -> str:
    return f"generator: {generator.licence}; labels: their annotators', the release's CC BY-NC 4.0"


def _catalogue() -> dict[str, download.Weights]:
    return download.catalogue(assets_folder() / "weights.toml")
