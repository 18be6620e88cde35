"""Differentiable augmentation does what its paper says, and gradients pass through it."""

import numpy as np
import torch
from torch.autograd import gradcheck

from bdgan_lib.recipes.diff_augment import cut_out, diff_augment, recoloured, translated

IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def columns(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def test_colours_brighten_fade_and_flatten():
    zeros, ones = columns(*[0] * 6), columns(*[1] * 6)
    torch.testing.assert_close(recoloured(IMAGES, zeros, ones, ones), IMAGES)
    torch.testing.assert_close(recoloured(IMAGES, ones / 4, ones, ones), IMAGES + 0.25)
    grey = recoloured(IMAGES, zeros, zeros, ones)
    torch.testing.assert_close(grey, IMAGES.mean(1, keepdim=True).expand_as(IMAGES))
    flat = recoloured(IMAGES, zeros, ones, ones / 2)
    torch.testing.assert_close(flat.std((1, 2, 3)), IMAGES.std((1, 2, 3)) / 2)
    torch.testing.assert_close(flat.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)))


def test_every_image_moves_by_its_own_shift_and_nothing_comes_in():
    shifts = torch.tensor([[0, 3, -3, 0, 15, -2], [0, 0, 2, -5, 1, -15]])
    found = translated(IMAGES, shifts).numpy()
    for image, moved, down, right in zip(IMAGES.numpy(), found, *shifts.tolist(), strict=True):
        expected = np.roll(image, (down, right), (1, 2))
        rows, places = np.arange(16), np.arange(16)
        outside = (
            ((rows - down < 0) | (rows - down > 15))[:, None] | (places - right < 0) | (places - right > 15)
        )
        np.testing.assert_array_equal(moved, np.where(outside, 0, expected))


def test_a_square_of_every_image_is_gone_and_the_rest_stays():
    corners = torch.tensor([[0, 4, -4, 12, 8, 16], [0, 5, -4, 12, -8, 3]])
    found = cut_out(IMAGES, corners, 8).numpy()
    for image, cut, top, left in zip(IMAGES.numpy(), found, *corners.tolist(), strict=True):
        expected = image.copy()
        expected[:, max(top, 0) : max(top + 8, 0), max(left, 0) : max(left + 8, 0)] = 0
        np.testing.assert_array_equal(cut, expected)


def test_gradients_are_those_of_the_function():
    shifts = torch.tensor([[1, -1], [0, 2]])

    def changed(images: torch.Tensor) -> torch.Tensor:
        images = recoloured(images, columns(0.1, -0.4), columns(0.3, 1.9), columns(0.6, 1.4))
        return cut_out(translated(images, shifts), shifts, 3)

    small = IMAGES[:2, :, :6, :6].clone().requires_grad_(True)
    assert gradcheck(changed, small)


def test_draws_stay_in_the_paper_s_ranges_and_reach_them():
    torch.manual_seed(0)
    inside = torch.ones(2_000, 3, 16, 16)
    missing = (diff_augment(inside) == 0).all(1)  # of white images: what came in, and what was cut out
    assert int(missing.sum((1, 2)).min()) >= 16 and int(missing.sum((1, 2)).max()) <= 64 + 2 * 32
    assert 0.15 < float(missing.float().mean()) < 0.35
    bright = diff_augment(inside).amax((1, 2, 3))
    assert 0.5 < float(bright.min()) < 0.55 and 1.45 < float(bright.max()) < 1.5
    one = IMAGES[:1].float().expand(500, -1, -1, -1)
    assert len({image.numpy().tobytes() for image in diff_augment(one)}) == 500
