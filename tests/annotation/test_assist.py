"""GrabCut, superpixels and editable outlines: the same call gives the same mask, and misuse is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bdgan_lib.annotation.assist import (
    editable_rings,
    grabcut,
    overlap,
    snap_to_image,
    superpixels,
)
from bdgan_lib.core.polygons import fill, outline
from bdgan_lib.core.types import BdganError


def picture(side=48, seed=0):
    """A reddish disc on noisy green, and where it is."""
    rows, columns = np.indices((side, side))
    disc = np.hypot(rows - side * 0.45, columns - side * 0.55) < side * 0.3
    image = np.where(disc[..., None], (200, 60, 40), (60, 150, 70))
    return np.clip(image + np.random.default_rng(seed).normal(0, 12, image.shape), 0, 255).astype(
        np.uint8
    ), disc


IMAGE, DISC = picture()
ROWS, COLUMNS = np.nonzero(DISC)
BOX = (int(COLUMNS.min()), int(ROWS.min()), int(COLUMNS.max()) + 1, int(ROWS.max()) + 1)


@pytest.mark.parametrize(
    "how",
    [
        {"box": BOX},
        {"box": (0, 0, 48, 48), "outside": [(2, 2), (46, 46), (2, 46)]},
        {"inside": [(26, 21)], "outside": [(4, 4)]},
        {"inside": [(26, 21), (20, 21)]},
    ],
)
def test_grabcut_finds_the_disc_twice_the_same(how):
    found = grabcut(IMAGE, **how)
    assert found.dtype == bool and found.shape == (48, 48) and overlap(found, DISC) > 0.9
    grabcut(picture(seed=1)[0], BOX)  # another call between moves nothing
    assert np.array_equal(found, grabcut(IMAGE, **how))


def test_what_is_outside_the_box_or_dabbed_is_settled():
    x0, y0, x1, y1 = 10, 8, 30, 30
    found = grabcut(IMAGE, (x0, y0, x1, y1), inside=[(12.5, 9.5)], outside=[(26.5, 21.5)])
    assert found[9, 12] and not found[21, 26]
    found[y0:y1, x0:x1] = False
    assert not found.any()


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({}, "neither a box nor a dab"),
        ({"box": (5, 5, 5, 9)}, "no pixel of the 48 x 48 image"),
        ({"box": (9, 5, 5, 9)}, "no pixel"),
        ({"box": (48, 5, 60, 9)}, "no pixel"),
        ({"inside": [(50, 3)]}, "dab at 50, 3 is outside"),
        ({"box": BOX, "outside": [(3, -1)]}, "dab at 3, -1 is outside"),
    ],
)
def test_misuse_of_grabcut_is_named(how, line):
    with pytest.raises(BdganError, match=line):
        grabcut(IMAGE, **how)


def test_a_box_over_the_edge_is_cut_off_there():
    assert np.array_equal(grabcut(IMAGE, (-5, 2, 60, 99)), grabcut(IMAGE, (0, 2, 48, 48)))


sides = st.integers(1, 7)


@settings(max_examples=60)
@given(st.data())
def test_grabcut_takes_any_picture_and_any_box(data):
    height, width = data.draw(sides), data.draw(sides)
    image = data.draw(arrays(np.uint8, (height, width, 3)))
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    points = st.lists(st.tuples(st.floats(0, width), st.floats(0, height)), max_size=2)
    found = grabcut(image, box, data.draw(points), data.draw(points))
    assert found.shape == (height, width)


def test_superpixels_cover_the_image_each_in_one_colour():
    found = superpixels(IMAGE, 60)
    assert found.min() == 0 and 30 <= len(np.unique(found)) <= 90
    mixed = sum(min(DISC[found == k].mean(), 1 - DISC[found == k].mean()) > 0.25 for k in np.unique(found))
    assert mixed <= 3


def test_misuse_of_superpixels_is_named():
    with pytest.raises(BdganError, match="1 or more superpixels, got 0"):
        superpixels(IMAGE, 0)


@settings(max_examples=40)
@given(arrays(bool, st.tuples(st.integers(1, 16), st.integers(1, 16))), st.floats(0.5, 1))
def test_an_editable_mask_keeps_its_overlap_and_its_rings(mask, bound):
    found = editable_rings(mask, bound=bound)
    assert overlap(fill(found, *mask.shape), mask) >= bound
    assert len(found) == len(outline(mask)) == len(editable_rings(mask, 3.0))


def test_an_editable_mask_has_few_vertices():
    assert sum(map(len, editable_rings(DISC))) < 0.5 * sum(map(len, outline(DISC)))
    assert editable_rings(np.zeros((4, 4), bool)) == []


def test_overlap_of_nothing_is_whole():
    nothing = np.zeros((3, 3), bool)
    assert overlap(nothing, nothing) == 1 and overlap(nothing, ~nothing) == 0


def test_a_head_that_is_unsure_at_the_rim_is_snapped_to_the_edge():
    rows, columns = np.indices(DISC.shape)
    distance = np.hypot(rows - 48 * 0.45, columns - 48 * 0.55) - 48 * 0.3  # below 0 inside
    unsure = 1 / (1 + np.exp((distance - 2) / 1.5))  # a rim of two pixels too many
    found = snap_to_image(IMAGE, unsure)
    assert overlap(found, DISC) > 0.95 > overlap(unsure > 0.5, DISC)
    assert found[unsure >= 0.9].all() and not found[unsure <= 0.1].any(), "where it is sure it stays"
    for value in (0.0, 0.3, 0.7, 1.0):
        assert (snap_to_image(IMAGE, np.full(DISC.shape, value)) == (value > 0.5)).all(), (
            "one side alone: no cut"
        )
