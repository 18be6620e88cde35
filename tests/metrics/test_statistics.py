"""The bootstrap's interval against what theory says of a mean."""

import numpy as np

from bdgan_lib.metrics.statistics import bootstrap_interval


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(lambda chosen: values[chosen].mean(), 400, 2_000)
    reach = 1.96 * values.std() / 20
    assert np.allclose((low, high), (values.mean() - reach, values.mean() + reach), atol=0.1 * reach)


def test_it_covers_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        values = np.random.default_rng(seed).exponential(1, 60)
        low, high = bootstrap_interval(lambda chosen, values=values: values[chosen].mean(), 60, 200, seed)
        hits += low <= 1 <= high
    assert 0.88 <= hits / 200 <= 0.98


def test_the_same_seed_gives_the_same_interval_and_one_image_no_width():
    mean = lambda chosen: chosen.mean()
    assert bootstrap_interval(mean, 9) == bootstrap_interval(mean, 9) != bootstrap_interval(mean, 9, seed=1)
    assert bootstrap_interval(lambda chosen: 0.25, 1) == (0.25, 0.25)
    for constant in np.random.default_rng(0).random(50):
        assert bootstrap_interval(lambda chosen, x=constant: x, 5, 99) == (constant, constant)
