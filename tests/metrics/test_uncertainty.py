"""Dropping uncertain images: by hand, by an oracle of uncertainty, and by chance."""

import numpy as np

from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.metrics.uncertainty import drop_gain, error_rates, image_counts, kept_miou, rank_correlation


def predictions(count=60):
    """Images whose share of wrong pixels grows with their index."""
    noise = np.random.default_rng(0)
    target = noise.integers(0, 2, (count, 16, 16))
    wrong = noise.random(target.shape) < np.linspace(0, 0.4, count)[:, None, None]
    return np.where(wrong, 1 - target, target), target


def test_nothing_dropped_is_the_mean_iou_of_all():
    predicted, target = predictions()
    counts = image_counts(predicted, target, 2)
    assert kept_miou(counts, np.zeros(60), [0.0]) == [mean_iou(predicted, target, 2)]
    assert np.allclose(error_rates(counts), (predicted != target).mean((1, 2)))


def test_what_is_kept_are_the_images_with_the_least_doubt():
    predicted, target = predictions()
    uncertainty = np.random.default_rng(1).permutation(60).astype(float)
    kept = np.argsort(uncertainty)[:45]
    miou = kept_miou(image_counts(predicted, target, 2), uncertainty, [0.25])
    assert miou == [mean_iou(predicted[kept], target[kept], 2)]


def test_perfect_doubt_orders_like_the_errors_and_dropping_by_it_always_helps():
    counts = image_counts(*predictions(), 2)
    errors = error_rates(counts)
    assert rank_correlation(errors, errors) == 1 and rank_correlation(-errors, errors) == -1
    curve = kept_miou(counts, errors, np.linspace(0, 0.9, 10))
    assert (np.diff(curve) > 0).all()
    gain, low, high = drop_gain(counts, errors)
    assert 0 < low <= gain <= high


def test_doubt_that_means_nothing_gains_nothing_beyond_its_interval():
    counts = image_counts(*predictions(), 2)
    gains = [drop_gain(counts, np.random.default_rng(s).random(60), draws=200, seed=s) for s in range(20)]
    assert sum(low <= 0 <= high for _, low, high in gains) >= 16


def test_a_drop_that_would_leave_nothing_keeps_one_image():
    counts = image_counts(*predictions(5), 2)
    assert kept_miou(counts, np.arange(5.0), [1.0]) == kept_miou(counts, np.arange(5.0), [0.8])
