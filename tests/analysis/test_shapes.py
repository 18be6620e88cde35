"""Shape diversity against a loop over pairs."""

from itertools import combinations

import numpy as np
import pytest

from bdgan_lib.analysis.shapes import shape_diversity
from bdgan_lib.types import BdganError


def by_pairs(masks):
    scores = []
    for a, b in combinations([m > 0 for m in masks], 2):
        either = (a | b).sum()
        scores.append(1 - (a & b).sum() / either if either else 0.0)
    return np.mean(scores)


def test_it_is_the_mean_over_all_pairs_of_a_class():
    noise = np.random.default_rng(0)
    masks, class_ids = noise.integers(0, 3, (14, 6, 5)).astype(np.uint8), np.array([4, 1] * 7)
    wanted = [by_pairs(masks[class_ids == k]) for k in (1, 4)]
    assert shape_diversity(masks, class_ids) == pytest.approx(wanted, abs=1e-6)


def test_its_ends():
    same, apart = np.ones((3, 4, 4), np.uint8), np.eye(4, dtype=np.uint8)[:, None]
    assert shape_diversity(same, np.zeros(3, int)) == [0]
    assert shape_diversity(apart, np.zeros(4, int)) == [1]
    assert shape_diversity(np.zeros((2, 4, 4), np.uint8), np.zeros(2, int)) == [0], (
        "two empty masks are equal"
    )


def test_a_single_mask_has_no_diversity():
    with pytest.raises(BdganError, match="class 7"):
        shape_diversity(np.ones((3, 2, 2), np.uint8), np.array([0, 0, 7]))
