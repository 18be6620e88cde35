"""What results of experiments say of the paper's claims: differences with intervals, crossings, verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds with its 95% interval (Student's t; infinite for a single seed)."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether more is better: "yes" or "no" only if the interval leaves zero out."""
        return "yes" if self.low > 0 else "no" if self.high < 0 else "not shown"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def difference(more: NDArray[np.float64], less: NDArray[np.float64]) -> Difference:
    """`more` - `less`, paired by seed: [S] each."""
    apart = np.asarray(more) - np.asarray(less)
    mean, count = float(apart.mean()), len(apart)
    half = float(t.ppf(0.975, count - 1) * apart.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
    return Difference(mean, mean - half, mean + half)


def spread(runs: NDArray[np.float64]) -> str:
    """Mean and standard deviation over seeds, for a table."""
    return f"{runs.mean():.3f} ± {runs.std(ddof=1) if len(runs) > 1 else 0:.3f}"


def crossing(sizes: Sequence[float], curve: Sequence[float], level: float) -> float | None:
    """The size from which on a curve stays at or above a level, between sizes on a logarithmic scale.

    The first size if it never was below; None if it ends below.
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
    """The 95% interval of a statistic over `count` images.

    statistic: takes the images' indices [count], drawn with replacement. The ends are the 2.5% and 97.5%
    quantiles over the draws; the same seed gives the same interval.
    """
    noise = np.random.default_rng(seed)
    draws_of_statistic = [statistic(noise.integers(count, size=count)) for _ in range(draws)]
    low, high = np.quantile(draws_of_statistic, (0.025, 0.975))
    return float(low), float(high)
