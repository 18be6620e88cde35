"""Simulated annotators: their strokes, drawn one after the other, reach the overlap they were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bdgan_lib.annotation.assist import overlap
from bdgan_lib.annotation.simulate import (
    best_radius,
    clicks,
    deepest,
    draw_grabcut,
    draw_polygon,
    draw_proposal,
)
from bdgan_lib.annotation.strokes import brush
from bdgan_lib.core import rle
from bdgan_lib.core.polygons import fill

MASKS = arrays(bool, st.tuples(st.integers(2, 12), st.integers(2, 12)))


def drawn(moves, shape):
    """The mask after all strokes."""
    mask = np.zeros(shape, bool)
    for stroke, _ in moves:
        if stroke["op"] == "mask":
            assert stroke["whole"]
            mask = rle.decode(stroke["regions"][0]["rle"], *shape)
        elif stroke["op"] == "brush":
            mask[brush(stroke["points"], stroke["radius"], *shape)] = stroke["label"]
        else:
            mask |= fill([np.array(ring) for ring in stroke["rings"]], *shape)
    return mask


@settings(max_examples=40)
@given(MASKS, st.floats(0.5, 1))
def test_a_polygon_reaches_the_overlap(truth, target):
    moves = draw_polygon(truth, target)
    assert overlap(drawn(moves, truth.shape), truth) >= target
    assert clicks(moves) == sum(len(ring) + 1 for stroke, _ in moves for ring in stroke["rings"])


def test_a_polygon_costs_its_vertices_and_a_click_for_each_ring():
    truth = np.zeros((20, 20), bool)
    truth[2:18, 2:18] = True
    assert clicks(draw_polygon(truth)) == 5
    truth[6:14, 6:14] = False
    assert clicks(draw_polygon(truth)) == 10, "a hole is a ring of its own"
    assert draw_polygon(np.zeros((4, 4), bool)) == []


@settings(max_examples=40)
@given(st.data(), st.sampled_from([0.7, 0.9, 1.0]), st.integers(0, 4))
def test_a_corrected_proposal_reaches_the_overlap(data, target, cap):
    truth = data.draw(MASKS)
    proposal = data.draw(arrays(bool, truth.shape))
    moves = draw_proposal(proposal, truth, target, cap)
    assert overlap(drawn(moves, truth.shape), truth) >= target
    dabs = [stroke for stroke, _ in moves if stroke["op"] == "brush"]
    assert len(dabs) <= cap and moves[0].clicks == 1
    assert clicks(moves) == 1 + len(dabs) + sum(m.clicks for m in moves if m.stroke["op"] == "polygon")
    if overlap(proposal, truth) >= target:
        assert len(moves) == 1


def test_every_dab_helps():
    noise = np.random.default_rng(0)
    truth = np.zeros((32, 32), bool)
    truth[6:26, 8:28] = True
    proposal = truth ^ (noise.random(truth.shape) < 0.3)
    moves = draw_proposal(proposal, truth, 1.0, 400)
    right = [(drawn(moves[:k], truth.shape) == truth).sum() for k in range(1, len(moves) + 1)]
    assert all(np.diff(right) > 0) and right[-1] == truth.size


@pytest.mark.parametrize("cap", [0, 3, 20])
def test_grabcut_reaches_the_overlap_and_counts_box_dabs_and_polygon(cap):
    noise = np.random.default_rng(1)
    truth = np.zeros((32, 32), bool)
    truth[8:24, 6:26] = True
    easy = np.where(truth[..., None], (200, 60, 40), (40, 90, 200)).astype(np.uint8)
    assert clicks(draw_grabcut(easy, truth, cap=cap)) == 2
    hard = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    moves = draw_grabcut(hard, truth, cap=cap)
    assert overlap(drawn(moves, truth.shape), truth) >= 0.9
    dabs = sum(move.stroke.get("tool") == "grabcut" for move in moves) - 1
    given_up = moves[-1].stroke["op"] == "polygon"
    assert dabs <= cap and clicks(moves) == 2 + dabs + (5 if given_up else 0)
    assert draw_grabcut(easy, np.zeros((32, 32), bool)) == []


def test_the_deepest_point_lies_in_the_middle_of_the_largest_region():
    wrong = np.zeros((20, 20), bool)
    wrong[1:3, 1:3] = True
    wrong[5:14, 8:17] = True
    assert deepest(wrong) == (12, 9)


def test_the_best_disc_fills_a_disc():
    rows, columns = np.indices((21, 21))
    truth = np.hypot(rows - 10, columns - 10) <= 6
    radius = best_radius(np.zeros_like(truth), truth, 10, 10)
    assert np.array_equal(brush([(10.5, 10.5)], radius, 21, 21), truth)
