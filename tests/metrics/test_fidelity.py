"""Distances of sets of features against closed forms, hand-made cases and torchmetrics."""

import numpy as np
import pytest
import torch

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.fidelity import (
    coverage,
    frechet_distance,
    kernel_distance,
    relative_frechet,
    thumbnails,
)


def gaussian(mean, deviation, count=400, seed=0):
    """Samples whose mean and (diagonal) covariance are exactly these."""
    x = np.random.default_rng(seed).standard_normal((count, len(mean)))
    x -= x.mean(0)
    x @= np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False)))).T
    return x * deviation + mean


def test_equal_sets_have_distance_0():
    x = np.random.default_rng(1).standard_normal((50, 6))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_diagonal_gaussians_have_their_closed_form():
    mean_a, mean_b = np.array([0, 1, 5.0]), np.array([2, 1, 4.0])
    deviation_a, deviation_b = np.array([1, 2, 0.5]), np.array([3, 2, 1.5])
    a, b = gaussian(mean_a, deviation_a, seed=0), gaussian(mean_b, deviation_b, seed=1)
    expected = np.square(mean_a - mean_b).sum() + np.square(deviation_a - deviation_b).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)
    assert relative_frechet(a, b) == pytest.approx(expected / np.square(deviation_b).sum())


def test_turning_both_sets_changes_nothing():
    a, b = gaussian([0, 0, 0], [1, 2, 3], seed=0), gaussian([1, 0, 2], [2, 1, 1], seed=1)
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))


def test_channels_that_never_vary_do_no_harm():
    a, b = gaussian([0, 0], [1, 2], seed=0), gaussian([1, 0], [1, 1], seed=1)
    dead = np.zeros((len(a), 3))
    padded = frechet_distance(np.hstack([a, dead]), np.hstack([b, dead]))
    assert padded == pytest.approx(frechet_distance(a, b))


def test_one_channel_is_enough():
    assert frechet_distance(gaussian([0], [1]), gaussian([2], [4], seed=1)) == pytest.approx(4 + 9)


def test_half_precision_features_are_computed_in_full():
    x = (np.random.default_rng(0).random((3000, 4)) + 100).astype(np.float32)
    assert frechet_distance(x, x[::-1].copy()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 4), (4, 4), (8,), (2, 3, 4)])
def test_too_few_samples_and_other_shapes_are_refused(shape):
    with pytest.raises(BdganError, match="N > D"):
        frechet_distance(np.zeros(shape), np.zeros((9, 4)))


def test_other_nonsense_is_refused():
    with pytest.raises(BdganError, match="columns"):
        frechet_distance(np.zeros((9, 4)), np.zeros((9, 3)))
    with pytest.raises(BdganError, match="NaN"):
        frechet_distance(np.full((9, 4), np.nan), np.zeros((9, 4)))
    with pytest.raises(BdganError, match="do not vary"):
        relative_frechet(np.random.default_rng(0).random((9, 2)), np.ones((9, 2)))


def test_kernel_distance_is_that_of_torchmetrics():
    poly_mmd = pytest.importorskip("torchmetrics.image.kid").poly_mmd
    noise = np.random.default_rng(0)
    a, b = noise.normal(size=(900, 12)), noise.normal(0.3, 1.2, size=(900, 12))
    assert kernel_distance(a, b) == pytest.approx(poly_mmd(torch.from_numpy(a), torch.from_numpy(b)).item())
    assert kernel_distance(a, b[:100]) == pytest.approx(kernel_distance(b[:100], a))


def test_kernel_distance_of_one_distribution_is_0_on_average():
    noise = np.random.default_rng(1)
    distances = [kernel_distance(noise.normal(size=(40, 4)), noise.normal(size=(30, 4))) for _ in range(200)]
    assert abs(np.mean(distances)) < 3 * np.std(distances) / np.sqrt(200), "unbiased"
    assert min(distances) < 0


def test_coverage_by_hand():
    real = np.array([[0.0], [1], [2], [10]])  # nearest real neighbours at 1, 1, 1, 8
    assert coverage(np.array([[0.9], [0.9]]), real, neighbours=1) == 0.5
    assert coverage(np.array([[3.0], [1.0]]), real, neighbours=1) == 1
    assert coverage(real + 100, real, neighbours=1) == 0
    with pytest.raises(BdganError, match="4 real samples have no 5-th neighbour"):
        coverage(real, real)


def test_coverage_of_one_distribution():
    noise = np.random.default_rng(2)
    share = coverage(noise.normal(size=(1200, 3)), noise.normal(size=(1200, 3)))
    assert share == pytest.approx(1 - 2**-5, abs=0.02)
    one_place = np.zeros((1200, 3))
    assert coverage(one_place, noise.normal(size=(1200, 3))) < 0.1, "one good sample covers little"


def test_thumbnails_are_shares_of_foreground():
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[0, :4, :2] = 7
    masks[1] = 255
    assert thumbnails(masks)[0].tolist() == [0.5] + [0] * 63
    assert not thumbnails(masks)[1].any(), "what is not labelled is no foreground"


def test_features_that_do_not_fit_are_named():
    for measure in (kernel_distance, coverage):
        with pytest.raises(BdganError, match=r"rows and equal columns, got \(3, 2\) and \(3, 4\)"):
            measure(np.zeros((3, 2)), np.zeros((3, 4)))
