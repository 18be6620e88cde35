"""The Frechet distance against closed forms."""

import numpy as np
import pytest

from bdgan_lib.analysis.fidelity import frechet_distance, relative_frechet
from bdgan_lib.types import BdganError


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
    wanted = np.square(mean_a - mean_b).sum() + np.square(deviation_a - deviation_b).sum()
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)
    assert relative_frechet(a, b) == pytest.approx(wanted / np.square(deviation_b).sum())


def test_turning_both_sets_changes_nothing():
    a, b = gaussian([0, 0, 0], [1, 2, 3], seed=0), gaussian([1, 0, 2], [2, 1, 1], seed=1)
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))


def test_channels_that_never_vary_do_no_harm():
    a, b = gaussian([0, 0], [1, 2], seed=0), gaussian([1, 0], [1, 1], seed=1)
    dead = np.zeros((len(a), 3))
    assert frechet_distance(np.hstack([a, dead]), np.hstack([b, dead])) == pytest.approx(
        frechet_distance(a, b)
    )


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
