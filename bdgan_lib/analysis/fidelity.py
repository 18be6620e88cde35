"""How close generated images come to real ones, in the features of a given network."""

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.types import BdganError


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Frechet distance of two Gaussians fitted to features [N, D] and [M, D], in squared feature units.

    |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))   (Heusel et al. 2017, equation 6)
    """
    (mu_a, s_a), (mu_b, s_b) = _moments(a), _moments(b)
    if s_a.shape != s_b.shape:
        raise BdganError(f"features came as {a.shape} and {b.shape}; wanted as many columns in both")
    # S_a S_b has the eigenvalues of R S_b R with R = S_a^(1/2), which is symmetric: channels that never
    # vary make both singular, and a general matrix root may then fail.
    values, vectors = np.linalg.eigh(s_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ s_b @ root).clip(0)).sum()
    return float(max(0.0, np.square(mu_a - mu_b).sum() + np.trace(s_a) + np.trace(s_b) - 2 * trace_of_root))


def relative_frechet(generated: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Frechet distance over the trace of the real covariance: 0 is perfect, free of the features' scale.

    BdganError for real features that do not vary at all.
    """
    scale = float(np.trace(_moments(real)[1]))
    if not scale > 0:
        raise BdganError("the real features do not vary; give features of different images")
    return frechet_distance(generated, real) / scale


def _moments(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [D] and covariance [D, D] of features [N, D], N > D."""
    if features.ndim != 2 or len(features) <= features.shape[1]:
        raise BdganError(f"features came as {features.shape}; wanted [N, D] with N > D")
    if not np.isfinite(features).all():
        raise BdganError("features hold NaN or infinity; check the network that made them")
    wide = features.astype(np.float64)
    return wide.mean(0), np.atleast_2d(np.cov(wide, rowvar=False))
