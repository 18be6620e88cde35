"""Statistics of results: mean differences with intervals, where curves cross a level, the bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # Student's t quantiles; scipy.stats takes seconds to import


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds with its 95% interval (Student's t; infinite for a single seed)."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether more is better: "yes" or "no" only if the interval excludes zero."""
        return "yes" if self.low > 0 else "no" if self.high < 0 else "not shown"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def difference(more: NDArray[np.float64], less: NDArray[np.float64]) -> Difference:
    """Mean of `more` - `less` with its 95% interval, paired by seed: [S] each."""
    apart = np.asarray(more) - np.asarray(less)
    mean, count = float(apart.mean()), len(apart)
    half = (
        float(stdtrit(count - 1, 0.975) * apart.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
    )
    return Difference(mean, mean - half, mean + half)


def spread(runs: NDArray[np.float64]) -> str:
    """Mean ± standard deviation over seeds, as text."""
    return f"{runs.mean():.3f} ± {runs.std(ddof=1) if len(runs) > 1 else 0:.3f}"


def crossing(sizes: Sequence[float], curve: Sequence[float], level: float) -> float | None:
    """The size from which a curve stays at or above a level, interpolated on a logarithmic scale.

    The first size if the curve is never below the level; None if it ends below.
    """
    below = np.flatnonzero(np.asarray(curve) < level)
    if len(below) == 0:
        return float(sizes[0])
    k = int(below[-1])
    if k == len(curve) - 1:
        return None
    share = (level - curve[k]) / (curve[k + 1] - curve[k])
    return float(np.exp(np.log(sizes[k]) + share * (np.log(sizes[k + 1]) - np.log(sizes[k]))))


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float], count: int, draws: int = 1_000, seed: int = 0
) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of a statistic over images.

    Args:
        statistic: takes the indices of a resample, [count], drawn with replacement.
        count: number of images.
        draws: number of resamples.
        seed: the same seed gives the same interval.

    Returns:
        The 2.5% and the 97.5% quantile over the resamples.
    """
    if count == 1:  # scipy refuses a single observation
        return (float(statistic(np.zeros(1, np.int64))),) * 2
    from scipy.stats import bootstrap

    resamples = bootstrap(
        (np.arange(count),), statistic, n_resamples=draws, vectorized=False, method="percentile",
        batch=max(1, 10**6 // count), rng=np.random.default_rng(seed),
    ).bootstrap_distribution  # fmt: skip
    # scipy's own quantiles round such that a constant statistic may get low > high.
    low, high = np.quantile(resamples, (0.025, 0.975))
    return float(low), float(high)
