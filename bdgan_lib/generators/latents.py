"""Latents from seeds: every seed has its own random numbers, so no batch, order or worker changes a row."""

import numpy as np
import torch
from numpy.random import Philox
from scipy.special import ndtr, ndtri
from torch import Tensor

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError

_CLIP = 2.0  # |z| at most, before scaling
_BELOW = ndtr(-_CLIP)  # share of a standard normal below -2


def latents_from_seeds(seeds: Tensor, dim: int, sampling: Sampling) -> Tensor:
    """One latent per seed, [B] int64 -> [B, dim] float32 (same device); row i depends on seeds[i] alone.

    With u uniform in (0, 1) and Phi the standard normal distribution function:

        truncation:  z = truncation * Phi^-1(Phi(-2) + u * (Phi(2) - Phi(-2))), so |z| <= 2 * truncation
        z_std:       z = z_std * Phi^-1(u)

    u comes from `uniforms`; a smaller dim gives the first entries of a larger one.

    Raises:
        BdganError: the settings are those of codes, `dim` is below 1, or as for `uniforms`.
    """
    if sampling.of_codes:
        raise BdganError(
            "expected truncation or z_std for a generator of latents, got top_k, top_p or temperature; "
            "only VQGAN takes them"
        )
    if dim < 1:
        raise BdganError(f"expected latents of 1 or more dimensions, got dim {dim}")
    u = uniforms(seeds, dim).numpy()
    if sampling.z_std is not None:
        z = ndtri(u) * sampling.z_std
    else:
        z = ndtri(_BELOW + u * (1.0 - 2.0 * _BELOW)) * sampling.truncation
    return torch.from_numpy(z.astype(np.float32)).to(seeds.device)


def uniforms(seeds: Tensor, count: int) -> Tensor:
    """Uniform numbers in (0, 1), [B] int64 -> [B, count] float64 on the CPU; row i depends on seeds[i] alone.

    They come from Philox, a counter-based generator keyed by the seed (Salmon et al., "Parallel random
    numbers: as easy as 1, 2, 3", 2011). Its raw words are used because NumPy guarantees them across versions,
    but not its distributions.

    Raises:
        BdganError: the seeds are not int64 [B], one is negative, or `count` is below 1.
    """
    if seeds.ndim != 1 or seeds.dtype != torch.int64:
        raise BdganError(f"expected seeds as int64 [B], got {seeds.dtype} {list(seeds.shape)}")
    if count < 1:
        raise BdganError(f"expected 1 or more numbers per seed, got {count}")
    if (seeds < 0).any():
        raise BdganError(f"seed {int(seeds.min())} is negative; give 0 or more")

    words = np.empty((len(seeds), count), np.uint64)
    for row, seed in zip(words, seeds.tolist()):
        row[:] = Philox(key=seed).random_raw(count)
    u = ((words >> np.uint64(12)) + 0.5) * 2.0**-52  # 52 bits: every value is exact, 0 and 1 never occur
    return torch.from_numpy(u)
