"""Fidelity of generated images: distances to real images in the features of a given network."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.mask_geometry import Labels, foreground


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Frechet distance of two Gaussians fitted to features [N, D] and [M, D], in squared feature units.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))   (Heusel et al. 2017, equation 6)

    Raises:
        BdganError: the columns differ, there are no more rows than columns, or a value is not finite.
    """
    (mu_a, s_a), (mu_b, s_b) = _moments(a), _moments(b)
    if s_a.shape != s_b.shape:
        raise BdganError(f"expected features with equal columns, got {a.shape} and {b.shape}")
    # S_a S_b has the eigenvalues of R S_b R with R = S_a^(1/2), which is symmetric: channels that never
    # vary make both singular, and a general matrix root may then fail.
    values, vectors = np.linalg.eigh(s_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ s_b @ root).clip(0)).sum()
    return float(max(0.0, np.square(mu_a - mu_b).sum() + np.trace(s_a) + np.trace(s_b) - 2 * trace_of_root))


def relative_frechet(generated: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Frechet distance over the trace of the real covariance: 0 is perfect, independent of feature scale.

    Raises:
        BdganError: the real features do not vary, or as of `frechet_distance`.
    """
    scale = float(np.trace(_moments(real)[1]))
    if not scale > 0:
        raise BdganError("the real features do not vary; give features of different images")
    return frechet_distance(generated, real) / scale


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """KID: squared maximum mean discrepancy of features [N, D] and [M, D] under (x·y / D + 1)^3, unbiased.

    Binkowski et al. 2018, on all samples (common implementations average over subsets). It may be negative.
    """
    a, b = _pair(a, b)
    apart = 2 * _kernel(a, b).sum() / (len(a) * len(b))
    for x in (a, b):
        same = ((np.square(x).sum(1) / x.shape[1] + 1) ** 3).sum()  # a sample with itself does not count
        apart -= (_kernel(x, x).sum() - same) / (len(x) * (len(x) - 1))
    return float(-apart)


def coverage(generated: NDArray[np.floating], real: NDArray[np.floating], neighbours: int = 5) -> float:
    """Share of real samples with a generated sample within the distance of the `neighbours`-th real one.

    Features [N, D] and [M, D], M > neighbours; in [0, 1] (Naeem et al. 2020, equation 4). For two sets of
    the same distribution it is about 1 - 2^-neighbours.
    """
    generated, real = _pair(generated, real)
    if len(real) <= neighbours:
        raise BdganError(f"{len(real)} real samples have no {neighbours}-th neighbour; give more of them")
    near = 0
    for rows in _batches(real):
        radius = np.partition(cdist(rows, real), neighbours, 1)[:, neighbours]  # the 0th is itself
        near += (cdist(rows, generated).min(1) <= radius).sum()
    return float(near / len(real))


def thumbnails(masks: Labels, side: int = 8) -> NDArray[np.float32]:
    """Shares of foreground in side x side tiles of each mask, [N, side * side]: the features of mask FID."""
    shown = foreground(masks).astype(np.float32)
    tiles = [cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).ravel() for mask in shown]
    return np.array(tiles, np.float32).reshape(-1, side * side)


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the kernel between each row of x and all rows of y, [N]."""
    return np.concatenate([((rows @ y.T / x.shape[1] + 1) ** 3).sum(1) for rows in _batches(x)])


def _batches(x: NDArray[np.float64], size: int = 500) -> Iterator[NDArray[np.float64]]:
    return (x[first : first + size] for first in range(0, len(x), size))


def _pair(
    a: NDArray[np.floating], b: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.ndim != 2 or a.shape[1:] != b.shape[1:] or min(len(a), len(b)) < 2:
        raise BdganError(
            f"expected features with two or more rows and equal columns, got {a.shape} and {b.shape}"
        )
    return a.astype(np.float64), b.astype(np.float64)


def _moments(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [D] and covariance [D, D] of features [N, D], N > D."""
    if features.ndim != 2 or len(features) <= features.shape[1]:
        raise BdganError(f"expected features [N, D] with N > D, got {features.shape}")
    if not np.isfinite(features).all():
        raise BdganError("features hold NaN or infinity; check the network that made them")
    wide = features.astype(np.float64)
    return wide.mean(0), np.atleast_2d(np.cov(wide, rowvar=False))
