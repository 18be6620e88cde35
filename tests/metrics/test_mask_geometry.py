"""Table 1's columns: shapes worked out by hand, and scikit-image as a second opinion."""

import numpy as np
import pytest
from skimage import measure

from bdgan_lib.core.polygons import outline, smooth
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.metrics.mask_geometry import SPECK, TOLERANCE, boxes, centres, mask_statistics


def blobs(count, side=48, seed=0):
    """Masks of several soft pieces, some of them specks."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(count, side, side))
    return (gaussian_filter(noise, (0, 3, 3)) > 0.06).astype(np.uint8)


def test_a_square_by_hand():
    mask = np.zeros((1, 100, 100), np.uint8)
    mask[0, 20:60, 10:50] = 3
    statistics = {name: values[0] for name, values in mask_statistics(mask).items()}
    assert (statistics["IN"], statistics["MI"], statistics["BI"], statistics["MB"]) == (1, 0.16, 0.16, 1)
    assert statistics["PL"] == pytest.approx(1.6, rel=0.02), "its corners are cut by half a pixel"
    assert 4 <= statistics["SC"] <= 8
    assert boxes(mask).tolist() == [[10, 20, 50, 60]]
    assert centres(mask).tolist() == [[30, 40]]


def test_a_ring_has_two_outlines_and_one_instance():
    y, x = np.mgrid[:128, :128] - 63.5
    radius = np.hypot(x, y)
    ring = ((radius < 50) & (radius > 25)).astype(np.uint8)[None]
    statistics = {name: values[0] for name, values in mask_statistics(ring).items()}
    assert statistics["IN"] == 1
    assert statistics["MI"] == pytest.approx(np.pi * (50**2 - 25**2) / 128**2, rel=0.01)
    assert statistics["MB"] == pytest.approx(np.pi * (50**2 - 25**2) / 100**2, rel=0.01)
    assert statistics["PL"] == pytest.approx(2 * np.pi * 75 / 128, rel=0.03)


def test_it_agrees_with_scikit_image():
    masks = blobs(24)
    statistics = mask_statistics(masks, batch_size=7)
    for i, mask in enumerate(masks > 0):
        pieces = measure.regionprops(measure.label(mask, connectivity=2))
        assert statistics["IN"][i] == sum(p.area >= SPECK * mask.size for p in pieces)
        (whole,) = measure.regionprops(mask.astype(int))
        assert statistics["MI"][i] == pytest.approx(whole.area / mask.size)
        assert statistics["BI"][i] == pytest.approx(whole.area_bbox / mask.size)
        assert statistics["MB"][i] == pytest.approx(whole.extent)
        assert centres(masks[i : i + 1])[0] == pytest.approx(np.array(whole.centroid)[::-1] + 0.5)
        # Douglas-Peucker of a ring depends on where one begins, a little
        closed = [np.vstack([r, r[:1]]) for r in map(smooth, outline(mask))]
        rings = [measure.approximate_polygon(r, 48 * TOLERANCE) for r in closed]
        rings = [r for r in rings if len(r) > 3]
        length = sum(np.linalg.norm(np.diff(r, axis=0), axis=1).sum() for r in rings) / 48
        assert statistics["PL"][i] == pytest.approx(length, rel=0.03)
        assert statistics["SC"][i] == pytest.approx(sum(len(r) - 1 for r in rings), rel=0.15)


def test_moving_or_turning_a_mask_changes_nothing_and_scale_is_free():
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 8:40, 8:40] = blobs(1, 32, 3)[0]
    expected = mask_statistics(mask)
    moved = np.roll(mask, (15, 9), (1, 2))
    double = mask.repeat(2, 1).repeat(2, 2)
    for other in (moved, mask[:, ::-1], mask.transpose(0, 2, 1), double):
        statistics = mask_statistics(other)
        for name in ("IN", "MI", "BI", "MB"):
            assert statistics[name] == expected[name], name
        assert statistics["PL"] == pytest.approx(expected["PL"], rel=0.08)


def test_nothing_and_what_is_not_labelled():
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[1, :8] = UNLABELLED
    statistics = mask_statistics(masks)
    for name in ("IN", "MI", "BI"):
        assert statistics[name].tolist() == [0, 0]
    assert np.isnan([statistics[name] for name in ("MB", "PL", "SC")]).all()
    assert np.isnan(centres(masks)).all() and not boxes(masks).any()
    assert all(len(values) == 0 for values in mask_statistics(masks[:0]).values())
    with pytest.raises(BdganError, match=r"expected masks of labels \[N, H, W\], got float64 \[2, 2\]"):
        mask_statistics(np.zeros((2, 2)))
