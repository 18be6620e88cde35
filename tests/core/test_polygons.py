"""Polygons fill as an independent reference does, and outlines come back as the very mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bdgan_lib.core.polygons import fill, outline, simplified, smooth

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24))
NUMBERS = st.floats(-20, 40)


@given(MASKS)
def test_an_outline_fills_to_its_mask(mask):
    assert np.array_equal(fill(outline(mask), *mask.shape), mask)
    assert np.array_equal(fill([smooth(ring) for ring in outline(mask)], *mask.shape), mask)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=3))
def test_a_triangle_holds_the_centres_on_one_side_of_all_edges(triangle):
    ring = np.array(triangle)
    y, x = np.mgrid[:24, :24] + 0.5
    sides = []
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
    inner = np.all(np.array(sides) > 1e-6, 0) | np.all(np.array(sides) < -1e-6, 0)
    sure = np.all(np.abs(sides) > 1e-6, 0)  # no centre on an edge
    assert np.array_equal(fill([ring], 24, 24)[sure], inner[sure])


def test_a_ring_inside_a_ring_is_a_hole():
    square = np.array([[1, 1], [9, 1], [9, 9], [1, 9]], float)
    found = fill([square, square * 0.5 + 2], 10, 10)
    assert found.sum() == 64 - 16 and not found[5, 5] and found[1, 1]


def test_neighbours_share_no_pixel_and_leave_none():
    left, right = (np.array([[a, 0], [a + 5, 0], [a + 5, 10], [a, 10]], float) for a in (0.5, 5.5))
    found = fill([left], 10, 12).astype(int) + fill([right], 10, 12)
    assert found.max() == 1 and found.sum() == 100


@pytest.mark.parametrize("tolerance", [1.0, 2.0, 4.0])
def test_simplification_keeps_close_to_the_outline(tolerance):
    y, x = np.mgrid[:128, :128]
    mask = (y - 64) ** 2 + (x - 60) ** 2 < 50**2
    rings = outline(mask)
    fewer = simplified(rings, tolerance)
    assert sum(map(len, fewer)) < sum(map(len, rings)) / 4
    again = fill(fewer, 128, 128)
    perimeter = 2 * np.pi * 50
    assert (again != mask).sum() < tolerance * perimeter


def test_hostile_numbers_stay_inside():
    far = np.array([[-1e300, -1e300], [1e300, -1e300], [1e300, 1e300], [-1e300, 1e300]])
    assert fill([far], 8, 8).shape == (8, 8)
    assert fill([], 8, 8).sum() == 0 and outline(np.zeros((4, 4), bool)) == []
