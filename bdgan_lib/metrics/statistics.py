"""Statistics of results: mean differences and their tests, where curves cross a level, the bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # of Student's t; scipy.stats takes seconds to import

LEVEL = 0.05  # chance of error that a verdict may have
POWER = 0.8  # chance with which an effect of the detectable size is shown


@dataclass(frozen=True)
class Difference:
    """A mean difference over seeds with its 95% interval (Student's t; infinite for a single seed).

    Attributes:
        mean: over the seeds.
        low: the interval's lower end.
        high: its upper end.
        error: standard error of the mean; infinite for a single seed.
        freedom: degrees of freedom, seeds - 1.
    """

    mean: float
    low: float
    high: float
    error: float = float("inf")
    freedom: int = 0

    @property
    def verdict(self) -> str:
        """Whether more is better: "yes" or "no" only if the interval excludes zero."""
        return "yes" if self.low > 0 else "no" if self.high < 0 else "not shown"

    @property
    def p_value(self) -> float:
        """Of the two-sided paired t-test: the chance of a mean as far from zero where nothing differs."""
        if not self.freedom or not self.mean:
            return 1.0
        return 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error)) if self.error else 0.0

    @property
    def detectable(self) -> float:
        """The smallest true difference that as many seeds show in 80 of 100 repetitions.

        Under the t-test at the 5% level: (t(0.975) + t(0.8)) standard errors.
        """
        if not self.freedom:
            return float("inf")
        return float(stdtrit(self.freedom, 1 - LEVEL / 2) + stdtrit(self.freedom, POWER)) * self.error

    def within(self, margin: float) -> bool:
        """Whether the difference is shown to be smaller than a margin, either way (two one-sided t-tests)."""
        if not self.freedom:
            return False
        return abs(self.mean) + float(stdtrit(self.freedom, 1 - LEVEL)) * self.error < margin

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def difference(more: NDArray[np.float64], less: NDArray[np.float64]) -> Difference:
    """Mean of `more` - `less` with its 95% interval, paired by seed: [S] each."""
    apart = np.asarray(more) - np.asarray(less)
    mean, count = float(apart.mean()), len(apart)
    if count == 1:
        return Difference(mean, -float("inf"), float("inf"))
    error = float(apart.std(ddof=1) / np.sqrt(count))
    half = float(stdtrit(count - 1, 1 - LEVEL / 2)) * error
    return Difference(mean, mean - half, mean + half, error, count - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order.

    Whoever trusts those below 0.05 errs with one or more of them in at most 5 of 100 tables.
    """
    order, corrected, least = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order.tolist()):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


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
