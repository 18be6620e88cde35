"""Latents whose samples look like given pictures, by gradient descent: how a BigGAN learns from pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.latents import latents_from_seeds

_LIMIT = 2.0  # of |z|, as samples have it


@dataclass(frozen=True, eq=False)
class Inversion:
    """What was found for N pictures."""

    latents: NDArray[np.float32]  # [N, z_dim]
    images: NDArray[np.uint8]  # [N, S, S, 3], the samples of these latents
    psnr: NDArray[np.float64]  # [N] of the samples against the pictures, dB


@dataclass(frozen=True)
class InversionConfig:
    """Settings of an inversion."""

    candidates: int = 64  # random latents per picture, of which ...
    starts: int = 2  # ... so many of the nearest are improved, and the best end is kept
    steps: int = 200
    learning_rate: float = 0.05
    feature_weight: float = 0.2  # of the feature loss beside the mean squared error


def invert(
    generator: FeatureGenerator,
    images: NDArray[np.uint8],
    class_ids: NDArray[np.integer],
    maps: Callable[[Tensor], Sequence[Tensor]] | None = None,
    config: InversionConfig = InversionConfig(),
    progress: str | None = None,
) -> Inversion:
    """Search the latents of pictures whose classes are known.

    Args:
        generator: in float32.
        images: [N, S, S, 3] of the generator's image size S.
        class_ids: [N].
        maps: feature maps of images [B, 3, S, S], such as `Classifier.maps`, on the generator's device; None:
            pixels alone are compared.
        config: the settings.
        progress: label of a progress bar, a step for each picture.
    """
    latents = torch.stack([
        _inverted(generator, from_uint8(image[None]).to(generator.device), int(k), maps, config)
        for image, k in zip(tqdm(images, progress, disable=progress is None), class_ids, strict=True)
    ])  # fmt: skip
    ids = torch.as_tensor(np.asarray(class_ids, np.int64))
    with torch.inference_mode():
        firsts = range(0, len(ids), 50)
        batches = (_images(generator, latents[i : i + 50], ids[i : i + 50]).float() for i in firsts)
        remade = np.concatenate([to_uint8(batch) for batch in batches])
    error = np.square(remade.astype(np.float64) - images).mean((1, 2, 3))
    return Inversion(latents.cpu().numpy(), remade, 10 * np.log10(255**2 / error.clip(1e-9)))


def _images(generator: FeatureGenerator, z: Tensor, class_ids: Tensor) -> Tensor:
    return generator._images(z, class_ids.to(z.device), Sampling())


def _inverted(
    generator: FeatureGenerator,
    image: Tensor,
    class_id: int,
    maps: Callable[[Tensor], Sequence[Tensor]] | None,
    config: InversionConfig,
) -> Tensor:
    """The best latent [z_dim] of one picture [1, 3, S, S]."""
    with torch.no_grad():
        target_maps = [m.detach() for m in maps(image)] if maps else []

    def losses(z: Tensor) -> Tensor:
        """Of latents [B, z_dim], [B]."""
        made = _images(generator, z, torch.full((len(z),), class_id)).float()
        loss = F.mse_loss(made, image.expand_as(made), reduction="none").mean((1, 2, 3))
        if maps:
            for mine, theirs in zip(maps(made), target_maps, strict=True):
                apart = (mine - theirs).square().flatten(1).mean(1) / (theirs.square().mean() + 1e-8)
                loss = loss + config.feature_weight / len(target_maps) * apart
        return loss

    seeds = torch.arange(config.candidates)
    with torch.no_grad():
        z = latents_from_seeds(seeds, generator.z_dim, Sampling()).to(generator.device)
        first = torch.cat([losses(z[i : i + 32]) for i in range(0, len(z), 32)])
        z = z[first.argsort()[: config.starts]]
    z.requires_grad_(True)
    optimizer = torch.optim.Adam([z], config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses(z).sum())
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            z.clamp_(-_LIMIT, _LIMIT)
    with torch.no_grad():
        return z[losses(z).argmin()].detach()
