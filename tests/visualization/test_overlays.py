"""Outlines run round what they outline, heat is where values are, marks are where they were asked for."""

import numpy as np

from bdgan_lib.visualization.overlays import YELLOW, heated, marked, outlined


def test_an_outline_lies_on_the_border_and_the_inside_keeps_its_colours():
    image = np.full((10, 10, 3), 200, np.uint8)
    region = np.zeros((10, 10), bool)
    region[2:7, 3:8] = True
    result = outlined(image, region, scale=4)
    line = (result == YELLOW).all(-1)
    assert result.shape == (40, 40, 3) and line[8, 20] and line[27, 20] and not line[:7].any()
    assert (result[14:22, 18:26] == 200).all(), "inside"
    assert (result[32:, 36:] == 120).all(), "dimmed"
    assert (image == 200).all()
    assert not (outlined(image, np.zeros_like(region)) == YELLOW).all(-1).any()


def test_heat_is_brightest_where_the_value_is_largest():
    values = np.zeros((4, 4))
    values[1, 2] = 1
    result = heated(np.full((16, 16, 3), 90, np.uint8), values, scale=2)
    assert result.shape == (32, 32, 3)
    y, x = np.unravel_index(result.sum(2).argmax(), (32, 32))
    assert 8 <= y < 16 and 16 <= x < 24
    rung = heated(np.full((16, 16, 3), 90, np.uint8), values, point=(0, 3), scale=2)
    assert (rung != result).any((0, 2))[:10].any() and not (rung != result).any((0, 2))[16:].any()


def test_a_mark_is_a_ring_round_its_point_on_a_copy():
    image = np.full((64, 64, 3), 120, np.uint8)
    result = marked(image, (0.25, 0.75))
    y, x = np.nonzero((result != image).any(2))
    assert abs(x.mean() - 16) < 1 and abs(y.mean() - 48) < 1 and (image == 120).all()
    assert (result[48, 16] == 120).all(), "the point itself stays to be seen"
