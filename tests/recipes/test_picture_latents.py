"""Latents of pictures: nearly standard normal, and the same for all views but for the crop's part."""

import numpy as np
from scipy.stats import kstest, spearmanr

from bdgan_lib.recipes.picture_latents import LIMIT, picture_latents


def moved_squares(count: int) -> np.ndarray:
    """A white square that goes from left to right over grey noise."""
    images = np.random.default_rng(0).integers(90, 110, (count, 64, 64, 3), np.uint8)
    for i, image in enumerate(images):
        left = round(48 * i / count)
        image[20:40, left : left + 16] = 255
    return images


def test_crops_and_pictures_have_entries_of_their_own():
    images = np.concatenate([moved_squares(60), 255 - moved_squares(60)])
    ids, place = np.repeat([0, 1], 60), np.arange(600) % 120
    crops = np.random.default_rng(1).random((600, 6))
    z = picture_latents(images, ids, place, crops, 32).numpy()
    assert z.shape == (600, 32) and z.dtype == np.float32 and np.abs(z).max() <= LIMIT
    for entry in range(6):
        assert spearmanr(z[:, entry], crops[:, entry]).statistic > 0.999
    np.testing.assert_array_equal(z[:120, 6:], z[120:240, 6:])
    for k in (0, 1):
        mine = z[:120][ids == k]
        assert min(kstest(mine[:, entry], "norm").pvalue for entry in range(6, 32)) > 1e-4
        linked = np.abs(np.corrcoef(mine[:, 6:].T) - np.eye(26))
        assert linked.max() < 0.5 and linked.mean() < 0.15
    # The first component follows what the pictures of a class differ in, here the place of the square.
    best = max(abs(spearmanr(z[:60, entry], np.arange(60)).statistic) for entry in (6, 7))
    assert best > 0.8


def test_a_few_pictures_or_equal_ones_have_latents_too():
    images = np.concatenate([moved_squares(8), np.full((8, 64, 64, 3), 7, np.uint8)])
    z = picture_latents(images, np.repeat([0, 1], 8), np.arange(16), np.full((16, 6), 0.5), 32).numpy()
    assert np.isfinite(z).all() and np.all(z[:, :6] == 0)
    assert len({row.tobytes() for row in z}) == 16
