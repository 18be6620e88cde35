"""IoU against counting by hand, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.segmentation import confusion, iou, mean_iou

LABELS = 4
PIXELS = st.lists(st.tuples(st.integers(0, LABELS - 1), st.sampled_from([0, 1, 2, 3, 255])), max_size=40)


@given(PIXELS)
def test_counts_and_iou_equal_a_loop_over_pixels(pixels):
    predicted, target = (np.array([p[k] for p in pixels], np.uint8) for k in (0, 1))
    counts = confusion(predicted, target, LABELS)
    used = [(p, w) for p, w in pixels if w != 255]
    for w in range(LABELS):
        for p in range(LABELS):
            assert counts[w, p] == used.count((p, w))
    for label, score in enumerate(iou(counts)):
        either = sum(label in pair for pair in used)
        if either:
            assert score == sum(pair == (label, label) for pair in used) / either
        else:
            assert np.isnan(score)


def test_a_case_by_hand():
    target = np.array([[0, 0, 1], [1, 255, 0]])
    predicted = np.array([[0, 1, 1], [1, 0, 0]])
    assert iou(confusion(predicted, target, 3))[:2] == pytest.approx([2 / 3, 2 / 3])
    assert np.isnan(iou(confusion(predicted, target, 3))[2])
    assert mean_iou(predicted, target, 3) == pytest.approx(2 / 3), "absent labels do not count"
    assert mean_iou(target % 255, target, 3) == 1


def test_counting_in_parts_and_adding_up_is_counting_once():
    noise = np.random.default_rng(0)
    p, w = noise.integers(0, 3, (2, 10, 8, 8))
    assert np.array_equal(confusion(p, w, 3), confusion(p[:4], w[:4], 3) + confusion(p[4:], w[4:], 3))


def test_no_labelled_pixel_gives_no_score():
    assert np.isnan(mean_iou(np.zeros((2, 2), np.uint8), np.full((2, 2), 255), 2))


@pytest.mark.parametrize(("predicted", "target"), [(3, 0), (0, 3), (-1, 0), (0, -1)])
def test_strange_labels_are_refused(predicted, target):
    with pytest.raises(BdganError, match="0 to 2"):
        confusion(np.array([predicted]), np.array([target]), 3)


def test_another_shape_is_refused():
    with pytest.raises(BdganError, match="shape"):
        confusion(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
