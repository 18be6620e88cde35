"""Latents for pictures, with which a BigGAN's training can begin by regression.

A picture from a camera has no latent. It gets one whose entries are nearly standard normal, as samples' are:
the first from how its view was cropped, the others from what it shows.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LIMIT = 2.0  # of |z|, as samples have it
THUMBNAIL = 16  # pixels; what a picture shows is read from so small a copy


def picture_latents(
    images: NDArray[np.uint8], class_ids: NDArray[np.integer], place: NDArray[np.integer],
    crops: NDArray[np.floating], z_dim: int,
) -> Tensor:  # fmt: skip
    """A latent for every view of some pictures.

    Args:
        images: the pictures [N, S, S, 3].
        class_ids: their classes [N].
        place: which picture each view is of [M].
        crops: uniform numbers in [0, 1] that say how each view was cropped [M, V].
        z_dim: entries of a latent, more than V.

    Returns:
        Latents [M, z_dim] in float32, with entries in [-2, 2]. The first V are the normal quantiles of
        `crops`; the next are the principal components of the pictures of a class, each spread as a normal
        distribution by rank. Components that a class does not have are normal noise.
    """
    count = z_dim - crops.shape[1]
    shown = np.random.default_rng(0).standard_normal((len(images), count))
    small = F.adaptive_avg_pool2d(torch.from_numpy(images).permute(0, 3, 1, 2).float(), THUMBNAIL).flatten(1)
    for k in np.unique(class_ids):
        mine = np.flatnonzero(class_ids == k)
        centred = small[mine] - small[mine].mean(0)
        left, scales, _ = torch.linalg.svd(centred, full_matrices=False)
        kept = min(count, int((scales > 1e-3 * scales[:1]).sum()))
        ranks = left[:, :kept].argsort(0).argsort(0)
        shown[mine, :kept] = _quantiles((ranks + 0.5) / len(mine))
    latents = torch.cat([_quantiles(torch.from_numpy(crops)), torch.from_numpy(shown[place])], 1)
    return latents.clamp(-LIMIT, LIMIT).float()


def _quantiles(uniform: Tensor) -> Tensor:
    """Of the normal distribution."""
    return torch.special.ndtri(uniform.double())
