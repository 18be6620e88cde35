"""Diversity of shapes against loops over pairs; mean shapes of shapes that are known."""

from itertools import combinations

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.shape_diversity import CANVAS, aligned, chamfer_diversity, mask_diversity, mean_shapes


def by_pairs(masks):
    scores = []
    for a, b in combinations([m > 0 for m in masks], 2):
        either = (a | b).sum()
        scores.append(1 - (a & b).sum() / either if either else 0.0)
    return np.mean(scores)


def test_it_is_the_mean_over_all_pairs_of_a_class():
    noise = np.random.default_rng(0)
    masks, class_ids = noise.integers(0, 3, (14, 6, 5)).astype(np.uint8), np.array([4, 1] * 7)
    expected = [by_pairs(masks[class_ids == k]) for k in (1, 4)]
    assert mask_diversity(masks, class_ids) == pytest.approx(expected, abs=1e-6)


def test_its_ends():
    same, apart = np.ones((3, 4, 4), np.uint8), np.eye(4, dtype=np.uint8)[:, None]
    assert mask_diversity(same, np.zeros(3, int)) == [0]
    assert mask_diversity(apart, np.zeros(4, int)) == [1]
    assert mask_diversity(np.zeros((2, 4, 4), np.uint8), np.zeros(2, int)) == [0], "two empty masks are equal"


def test_a_single_mask_has_no_diversity():
    with pytest.raises(BdganError, match="class 7"):
        mask_diversity(np.ones((3, 2, 2), np.uint8), np.array([0, 0, 7]))


def by_trees(shapes):
    """Mean Chamfer distance over all pairs, by nearest neighbours of border pixels."""
    borders = []
    for shape in shapes:
        borders.append(np.argwhere(shape & ~binary_erosion(shape, np.ones((3, 3)))))
    one_way = lambda a, b: cKDTree(b).query(a)[0].mean()
    return np.mean([(one_way(a, b) + one_way(b, a)) / 2 for a, b in combinations(borders, 2)]) / CANVAS


def rectangles(count, seed):
    noise = np.random.default_rng(seed)
    masks = np.zeros((count, 40, 40), np.uint8)
    for mask in masks:
        top, left, height, width = noise.integers((0, 0, 3, 3), (15, 15, 25, 25))
        mask[top : top + height, left : left + width] = 1
    return masks


def test_chamfer_diversity_is_the_mean_over_all_pairs():
    masks, class_ids = rectangles(15, 0), np.array([2, 5, 5] * 5)
    expected = [by_trees(aligned(masks[class_ids == k])) for k in (2, 5)]
    assert chamfer_diversity(masks, class_ids) == pytest.approx(expected, rel=1e-5)


def test_neither_place_nor_size_is_shape():
    mask = np.zeros((64, 64), np.uint8)
    mask[4:20, 8:16] = 1
    mask[4:8, 8:24] = 1
    others = np.stack([mask, np.roll(mask, (30, 20), (0, 1)), cv2.resize(mask, (128, 128))[:64, :64]])
    assert chamfer_diversity(others, np.zeros(3, int)) == [0]
    with_empty = np.concatenate([others, np.zeros((1, 64, 64), np.uint8)])
    assert len(aligned(with_empty)) == 3, "empty ones are left out"
    with pytest.raises(BdganError, match="class 3 has 1 shapes"):
        chamfer_diversity(others[:1], np.array([3]))


def test_mean_shapes_tell_two_kinds_apart():
    tall, wide = np.zeros((2, 32, 32), np.uint8)
    tall[4:28, 12:18], wide[12:18, 4:28] = 1, 1
    means, sizes = mean_shapes(np.stack([tall] * 5 + [wide] * 3), clusters=2)
    assert sizes.tolist() == [5, 3]
    assert np.array_equal(means > 0.5, aligned(np.stack([tall, wide])))
    assert set(np.unique(means)) == {0, 1}
    with pytest.raises(BdganError, match="expected 2 shapes or more, one for each cluster, got 1"):
        mean_shapes(tall[None], 2)
