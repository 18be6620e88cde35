"""What results of experiments say of the paper's claims: differences with intervals, crossings, verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from bdgan_lib.types import BdganError

Scores = dict[tuple[str, ...], NDArray[np.float64]]  # what was varied -> one score per seed


def scores(result: Mapping[str, Any], metric: str = "miou") -> Scores:
    """One metric of an experiment's cells, "init / set / task / seed" gathered as (init, set, task): seeds.

    Cells that lack the metric are left out; BdganError if all do.
    """
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for key, row in result["cells"].items():
        *varied, seed = key.split(" / ")
        if metric in row:
            found.setdefault(tuple(varied), {})[int(seed)] = row[metric]
    if not found:
        raise BdganError(f"no cell of {result['experiment']} has {metric}")
    return {varied: np.array([runs[s] for s in sorted(runs)]) for varied, runs in found.items()}


def averaged(found: Scores, over: int = -1) -> Scores:
    """The mean over one of the things varied (default: the last, the task), seed by seed."""
    groups: dict[tuple[str, ...], list[NDArray[np.float64]]] = {}
    for varied, runs in found.items():
        rest = [*varied]
        del rest[over]
        groups.setdefault(tuple(rest), []).append(runs)
    return {rest: np.mean(runs, 0) for rest, runs in groups.items()}


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
