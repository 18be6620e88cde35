"""Probes of single blocks: what a linear one finds, and that maps are the same for all images."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.probing.linear import linear_probe
from bdgan_lib.probing.maps import clusters, main_directions, pca_colours


def features(count=6, channels=5, side=8, seed=0):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def masks_of(x, side):
    """Foreground where a linear function of the features is positive."""
    return np.repeat(np.repeat((x[:, 0] - 2 * x[:, 1] > 0.2).numpy(), side, 1), side, 2).astype(np.uint8)


def agreement(found, wanted):
    return (found == wanted).mean()


def test_a_linear_mask_is_found_on_fresh_images():
    old, new = features(), features(seed=1)
    found = linear_probe(old, masks_of(old, 1), new)
    assert found.shape == (6, 8, 8) and found.dtype == np.uint8
    assert agreement(found, masks_of(new, 1)) > 0.9


def test_the_answer_has_the_masks_resolution():
    old, new = features(), features(seed=1)
    assert linear_probe(old, masks_of(old, 4), new).shape == (6, 32, 32)


def test_scale_and_offset_of_a_channel_do_not_matter():
    old, new = features(), features(seed=1)
    change = lambda x: x * torch.tensor([9, 0.2, 1, 1, 3])[:, None, None] + torch.arange(5)[:, None, None]
    one, other = (linear_probe(f(old), masks_of(old, 1), f(new)) for f in (lambda x: x, change))
    assert agreement(one, other) > 0.995


def test_unlabelled_pixels_are_neither_foreground_nor_ground():
    old, new = features(12), features(seed=1)
    masks = masks_of(old, 2)
    masks[:, 6:] = 255
    found = linear_probe(old, masks, new)
    assert agreement(found[:, 1::2, 1::2], masks_of(new, 1)) > 0.85
    standardised = (old - old.mean((0, 2, 3), keepdim=True)) / (old.std((0, 2, 3), keepdim=True) + 1e-6)
    rows = standardised[:, :, :3].permute(0, 2, 3, 1).reshape(-1, 5).double()  # by hand: labelled pixels only
    design = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
    wanted = torch.from_numpy(masks[:, ::2, ::2][:, :3].reshape(-1, 1)).double() - 0.5
    ridge = 1e-2 * 12 * 64 * torch.eye(6, dtype=torch.float64)
    weights = torch.linalg.solve(design.T @ design + ridge, design.T @ wanted)
    z = (new - old.mean((0, 2, 3), keepdim=True)) / (old.std((0, 2, 3), keepdim=True) + 1e-6)
    scores = (z.permute(0, 2, 3, 1).double() @ weights[:-1] + weights[-1]).permute(0, 3, 1, 2)
    by_hand = F.interpolate(scores, size=(16, 16), mode="bilinear", align_corners=False)[:, 0] > 0
    assert agreement(found, by_hand.numpy()) > 0.99


def test_the_main_direction_is_the_red_channel():
    x = 0.01 * features(2, 6, 10)
    ramp = torch.linspace(-1, 1, 10)
    x[:, 3] += ramp
    colours = pca_colours(x)
    assert colours.shape == (2, 10, 10, 3) and colours.dtype == np.uint8
    red = colours[..., 0].astype(float).mean((0, 1))
    assert abs(np.corrcoef(red, ramp.numpy())[0, 1]) > 0.95
    assert np.array_equal(colours, pca_colours(x))


def test_opposite_channels_still_have_a_direction():
    x = 0.01 * features(1, 4, 6)
    x[:, 0] += torch.linspace(-1, 1, 6)
    x[:, 1] -= torch.linspace(-1, 1, 6)
    assert pca_colours(x)[..., 0].std() > 20


def test_scores_are_those_of_a_singular_value_decomposition():
    x = features(4, 6) * torch.tensor([5, 1, 3, 0.1, 0.2, 2])[:, None, None]
    scores, shares = main_directions(x)
    rows = x.permute(0, 2, 3, 1).reshape(-1, 6).double()
    u, s, _ = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    assert shares == pytest.approx((s**2 / (s**2).sum())[:3].tolist(), abs=1e-5)
    wanted = (u * s)[:, :3].reshape(4, 8, 8, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(scores.abs().double(), wanted.abs(), atol=1e-3, rtol=1e-4)


def test_colours_go_with_their_image_whatever_its_place():
    x, order = features(5), [3, 1, 4, 0, 2]
    moved = pca_colours(x[order]).astype(int)
    assert abs(moved - pca_colours(x)[order]).max() <= 1  # sums in another order may round a colour


@pytest.mark.parametrize("seed", [0, 1])
def test_clusters_are_shared_by_the_images_and_ordered_by_size(seed):
    x = 0.05 * features(2, 3, 8)
    x[:, ::2, :, 5:] += 5  # 3 of 8 columns
    x[1, 1, :1] += 9  # a row of the second image
    labels = clusters(x, 3, seed)
    assert labels.shape == (2, 8, 8) and labels.dtype == np.uint8
    counts = np.bincount(labels.ravel())[1:]
    assert len(counts) == 3 and (np.diff(counts) <= 0).all()
    assert np.array_equal(labels[0, 2], labels[1, 2])
    assert (labels[0, :, :5] == 1).all() and len(np.unique(labels[0, :, 5:])) == 1
    assert np.array_equal(labels, clusters(x, 3, seed))
