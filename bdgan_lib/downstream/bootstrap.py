"""How far a figure would move on other images: the percentile bootstrap."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float], count: int, draws: int = 1_000, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of a statistic over `count` images.

    statistic: takes the images' indices [count], drawn with replacement. The ends are the 2.5% and 97.5%
    quantiles over the draws; the same seed gives the same interval.
    """
    noise = np.random.default_rng(seed)
    found = [statistic(noise.integers(count, size=count)) for _ in range(draws)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
