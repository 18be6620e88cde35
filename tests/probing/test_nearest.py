"""Nearest features: a pixel finds itself, cosines are cosines, and answers are counted right."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.core.types import BdganError
from bdgan_lib.probing.nearest import correspondence, deepest, peaks, similarity, unit_vectors


def features(count=4, channels=6, side=8, seed=0):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_pixel_of_the_same_image_is_itself():
    vectors = unit_vectors([features(), features(channels=3, side=4)], 8)
    for image, point in ((0, (0, 0)), (2, (7, 3)), (3, (5, 6))):
        maps = similarity(vectors, image, point)
        assert maps.shape == (4, 8, 8) and peaks(maps)[image] == point
        assert maps[image, point[1], point[0]] == pytest.approx(1, abs=1e-5)
        assert maps.abs().max() < 1 + 1e-5


def test_blocks_count_alike_and_scale_and_offset_of_a_channel_do_not_matter():
    a, b = features(), 100 * features(channels=30, seed=1) + 7
    fused = similarity(unit_vectors([a, b], 8), 1, (2, 3))
    alone = [similarity(unit_vectors([x], 8), 1, (2, 3)) for x in (a, b)]
    torch.testing.assert_close(fused, sum(alone) / 2)
    standardised = (a - a.mean((0, 2, 3), keepdim=True)) / a.std((0, 2, 3), keepdim=True)
    cosine = F.cosine_similarity(standardised, standardised[1, :, 3, 2][:, None, None], dim=1)
    torch.testing.assert_close(alone[0], cosine, atol=1e-5, rtol=0)


def test_the_deepest_pixel_is_the_middle_and_a_border_is_a_border():
    strip = np.zeros((9, 9), bool)
    strip[0:3] = True
    assert deepest(strip)[1] == 1
    square = np.zeros((9, 9), bool)
    square[2:7, 3:8] = True
    assert deepest(square) == (5, 4)


def test_features_that_name_their_label_are_always_right_and_those_of_noise_by_chance():
    masks = np.random.default_rng(0).choice(3, (12, 8, 8), p=(0.5, 0.3, 0.2)).astype(np.uint8)
    named = torch.from_numpy(masks[:, None] == np.arange(3)[:, None, None]).float()
    found, chance = correspondence(unit_vectors([named], 8), masks, (1, 2))
    assert found.tolist() == [1, 1]
    assert chance.tolist() == pytest.approx([(masks == 1).mean(), (masks == 2).mean()])
    guessed = correspondence(unit_vectors([features(12)], 8), masks, (1, 2))[0]
    assert np.abs(guessed - chance).max() < 0.2


def test_only_other_images_with_the_label_answer_and_no_unlabelled_pixel_does():
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 0, 0] = masks[1, 3, 3] = 1
    x = torch.zeros(3, 2, 4, 4)
    x[:, 0], x[:, 1] = 1, 0
    for image, y, column in ((0, 0, 0), (1, 3, 3), (2, 2, 2)):
        x[image, :, y, column] = torch.tensor([0.0, 1.0])
    assert correspondence(F.normalize(x, dim=1), masks, [1])[0] == [1]
    x[1, :, 1, 1] = torch.tensor([0.0, 2.0])  # a better answer, which is ground
    x[1, :, 3, 3] = torch.tensor([0.1, 1.0])
    vectors = F.normalize(x, dim=1)
    assert correspondence(vectors, masks, [1])[0] == [0.5], "one way it errs, the other way it does not"
    masks[1, 1, 1] = 255
    found, chance = correspondence(vectors, masks, [1])
    assert found == [1] and chance == pytest.approx((1 / 16 + 1 / 15) / 2)
    with pytest.raises(BdganError, match="3 images and 2 masks"):
        correspondence(vectors, masks[:2], [1])
    with pytest.raises(BdganError, match="two or more images with label 2, got 0"):
        correspondence(vectors, masks, [2])
