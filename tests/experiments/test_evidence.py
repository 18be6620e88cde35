"""What is said of a claim: against scipy's own interval, and on curves whose crossing is known."""

import numpy as np
import pytest
from scipy.stats import nct, t, ttest_rel

from bdgan_lib.core.types import BdganError
from bdgan_lib.experiments.runner import averaged, scores
from bdgan_lib.metrics.statistics import crossing, difference, holm, spread


def result(*cells: dict) -> dict:
    factors = [name for name in cells[0] if name not in ("miou", "ap")]
    return {"experiment": "trial", "factors": factors, "cells": dict(enumerate(cells))}


def test_cells_are_gathered_by_what_was_varied_with_seeds_in_order():
    cells = [
        {"set": "a", "task": task, "seed": seed, "miou": 10 * k + seed}
        for k, task in enumerate("xy")
        for seed in (10, 2, 0)
    ]
    found = scores(result(*cells))
    assert list(found) == [("a", "x"), ("a", "y")]
    assert found["a", "y"].tolist() == [10, 12, 20], "seed 2 before seed 10"
    assert averaged(found)["a",].tolist() == [5, 7, 15]
    assert averaged(found, 0)["x",].tolist() == found["a", "x"].tolist()


def test_cells_without_a_metric_are_left_out_and_none_at_all_is_an_error():
    found = result({"set": "a", "seed": 0, "ap": 1.0}, {"set": "b", "seed": 0, "miou": 0.5})
    assert list(scores(found)) == [("b",)]
    with pytest.raises(BdganError, match="no cell of trial has nothing"):
        scores(found, "nothing")


def test_the_interval_is_that_of_a_paired_t_test():
    noise = np.random.default_rng(0)
    for count in (2, 3, 5, 20):
        more, less = noise.normal(0.1, 1, (2, count))
        found, wanted = difference(more, less), ttest_rel(more, less)
        assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
        assert (found.verdict == "not shown") == (wanted.pvalue >= 0.05)
        assert found.p_value == pytest.approx(wanted.pvalue)


def test_what_is_within_a_margin_is_what_two_one_sided_tests_say():
    noise = np.random.default_rng(1)
    for count, margin in ((3, 0.02), (5, 0.01), (5, 0.03), (20, 0.004)):
        more, less = noise.normal(0.002, 0.01, (2, count))
        above = ttest_rel(more, less - margin, alternative="greater").pvalue
        below = ttest_rel(more, less + margin, alternative="less").pvalue
        assert difference(more, less).within(margin) == (max(above, below) < 0.05)
    assert not difference(more[:1], less[:1]).within(100)


def test_a_difference_of_the_detectable_size_is_shown_four_times_in_five():
    noise = np.random.default_rng(2)
    for count in (5, 9):
        size = (t.ppf(0.975, count - 1) + t.ppf(0.8, count - 1)) / np.sqrt(count)  # of noise of deviation 1
        runs = noise.normal(size, 1, (4_000, count))
        shown = np.mean([difference(run, np.zeros(count)).verdict == "yes" for run in runs])
        assert 0.74 < shown < 0.86
        exact = 1 - nct.cdf(t.ppf(0.975, count - 1), count - 1, size * np.sqrt(count))
        assert shown == pytest.approx(exact, abs=0.03)
        typical = np.median([difference(run, np.zeros(count)).detectable for run in runs])
        assert typical == pytest.approx(size, rel=0.12), "estimated from the runs' own spread"


def test_corrected_p_values_are_those_of_rejecting_step_by_step():
    noise = np.random.default_rng(3)
    for count in (1, 2, 7, 20):
        p = noise.random(count) ** 3
        corrected = holm(p)
        for level in (0.01, 0.05, 0.2):
            rejected, left = set(), [int(k) for k in np.argsort(p)]
            while left and p[left[0]] <= level / len(left):
                rejected.add(left.pop(0))
            assert {k for k in range(count) if corrected[k] <= level} == rejected
    assert holm([]) == [] and holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])


def test_a_verdict_turns_with_the_sides_and_one_seed_shows_nothing():
    more, less = np.array([0.5, 0.6, 0.55]), np.array([0.3, 0.41, 0.35])
    assert (difference(more, less).verdict, difference(less, more).verdict) == ("yes", "no")
    assert difference(more, more).verdict == "not shown"
    assert difference(more[:1], less[:1]).verdict == "not shown"
    assert spread(more) == "0.550 ± 0.050" and spread(more[:1]) == "0.500 ± 0.000"


def test_a_line_in_log_size_is_crossed_where_it_says():
    sizes = [10, 100, 1_000]
    assert crossing(sizes, [0.1, 0.2, 0.3], 0.25) == pytest.approx(10**2.5)
    assert crossing(sizes, [0.1, 0.2, 0.3], 0.1) == 10
    assert crossing(sizes, [0.1, 0.2, 0.3], 0.31) is None
    assert crossing(sizes, [0.3, 0.1, 0.3], 0.2) == pytest.approx(10**2.5), "from there on, not once"
