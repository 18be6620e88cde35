"""Unit-label IoU: by hand, against a plain loop, and what may not change it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.core.types import BdganError
from bdgan_lib.probing.units import firing, join_batches, nearest_pixels, thresholds, unit_label_iou


@pytest.fixture
def masks():
    """[6, 16, 16]: three labels on ground, some pixels unlabelled."""
    rng = np.random.default_rng(0)
    found = rng.choice(4, (6, 16, 16), p=(0.6, 0.25, 0.1, 0.05)).astype(np.uint8)
    found[rng.random(found.shape) < 0.1] = 255
    return found


def features(channels=5, side=16, seed=0):
    return torch.randn(6, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [None, 0.005])
def test_a_unit_that_equals_a_label_has_iou_1_with_it(masks, share):
    units = torch.cat([features(2), torch.from_numpy(masks[:, None] == np.array([3, 1])[:, None, None])], 1)
    found = unit_label_iou(units, masks, (1, 2, 3), share)
    assert found.shape == (4, 3) and found[2, 2] == 1 and found[3, 0] == 1
    assert found[2, 0] == found[3, 2] == 0 and (found[:2] < 0.5).all()


def test_by_hand():
    unit = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])[None, None]
    masks = np.array([[[1, 0, 0, 0], [0, 0, 1, 1]]], np.uint8)
    # as many as the label has, 3 pixels: 6, 7, 8, of which two are the label's
    assert unit_label_iou(unit, masks, [1]).item() == pytest.approx(2 / 4)
    # a quarter of the pixels: 7, 8, both the label's
    assert unit_label_iou(unit, masks, [1], share=0.25).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(("side", "share"), [(16, None), (4, None), (4, 0.1), (32, 0.1)])
def test_it_is_what_a_plain_loop_counts(masks, side, share):
    x, labels = features(side=side), (2, 1, 3)
    maps = F.interpolate(x, (16, 16), mode="bilinear", antialias=True).numpy()
    share_of_pixel = F.interpolate(torch.from_numpy(masks != 255)[:, None].float(), (side, side), mode="area")
    values = x.numpy().transpose(1, 0, 2, 3)[:, share_of_pixel[:, 0].numpy() > 0.5]
    found = unit_label_iou(x, masks, labels, share)
    for unit in range(5):
        ranked = np.sort(values[unit])[::-1]
        for k, label in enumerate(labels):
            wanted = masks == label
            fraction = share or wanted.sum() / (masks != 255).sum()
            fires = (maps[:, unit] >= ranked[round(fraction * len(ranked)) - 1]) & (masks != 255)
            assert found[unit, k] == pytest.approx((fires & wanted).sum() / (fires | wanted).sum())


def test_scale_and_offset_of_a_unit_do_not_matter_and_order_is_kept(masks):
    x = (64 * features(side=8)).round() / 64  # so that nothing is rounded below
    plain = unit_label_iou(x, masks, (1, 2, 3))
    moved = x * torch.tensor([2, 0.5, 8, 1, 4])[:, None, None] + torch.arange(5)[:, None, None]
    assert torch.equal(unit_label_iou(moved, masks, (1, 2, 3)), plain)
    units, images = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([5, 0, 3, 1, 2, 4])
    assert torch.equal(unit_label_iou(x[:, units], masks, (1, 2, 3)), plain[units])
    assert torch.equal(unit_label_iou(x[images], masks[images.numpy()], (1, 2, 3)), plain)
    assert torch.equal(unit_label_iou(x, masks, (3, 1)), plain[:, [2, 0]])


def test_unlabelled_pixels_do_not_count(masks):
    x = features()
    changed = torch.where(torch.from_numpy(masks == 255)[:, None], 100.0, x)
    assert torch.equal(unit_label_iou(changed, masks, (1, 2)), unit_label_iou(x, masks, (1, 2)))


def test_a_unit_that_does_not_vary_fires_nowhere(masks):
    assert not unit_label_iou(torch.full((6, 1, 4, 4), 3.0), masks, (1, 2)).any()


def test_it_fires_on_the_share_asked_for():
    x, masks = features(), np.zeros((6, 16, 16), np.uint8)
    fires = firing(x, thresholds(x, masks, [0.25])[:, 0], (16, 16))
    assert fires.shape == (6, 5, 16, 16)
    assert (fires.sum((0, 2, 3)) == 6 * 16 * 16 / 4).all()


def test_labels_of_one_name_become_one_label():
    masks = np.array([[[0, 1, 2]], [[0, 1, 255]]], np.uint8)
    found, names = join_batches(masks, [("background", "body", "beak"), ("background", "beak")])
    assert names == ("background", "body", "beak")
    assert found.tolist() == [[[0, 1, 2]], [[0, 2, 255]]]


def test_what_has_no_name_or_no_pixel_is_refused(masks):
    with pytest.raises(BdganError, match="label 3, its names"):
        join_batches(masks, [("background", "body", "beak")] * 6)
    with pytest.raises(BdganError, match="no pixel has label 7"):
        unit_label_iou(features(), masks, (1, 7))
    with pytest.raises(BdganError, match="5 images and 6 masks"):
        unit_label_iou(features()[:5], masks, (1, 2))
    with pytest.raises(BdganError, match=r"expected shares .* got \[1.5\]"):
        unit_label_iou(features(), masks, (1,), share=1.5)
    with pytest.raises(BdganError, match="no labelled pixel"):
        thresholds(features(), np.full_like(masks, 255), [0.1])


def test_masks_are_read_at_the_middle_of_a_pixel():
    mask = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert nearest_pixels(mask, 2).tolist() == [[[5, 7], [13, 15]]]
    assert np.array_equal(nearest_pixels(mask, 4), mask)
    assert nearest_pixels(mask, 8)[0, 3, 5] == mask[0, 1, 2]
