"""Laws of the undo history: what each stroke covers, and undo as the exact inverse."""

import os
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bdgan_lib.annotation.strokes import brush, regions
from bdgan_lib.annotation.undo_history import UndoHistory
from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError

SIDE, LABELS = 12, 3
COORDINATE = st.floats(-4, SIDE + 4, width=32) | st.integers(0, SIDE)
POINT = st.lists(COORDINATE, min_size=2, max_size=2)
TARGET = {"label": st.sampled_from([0, 1, 2, 255]), "instance": st.integers(0, 3)}
MODE = {"mode": st.sampled_from(["protect", "subtract"])}
INSIDE = st.lists(st.floats(0, SIDE - 0.01), min_size=2, max_size=2)
MASK = st.integers(0, 2**31).map(lambda s: rle.encode(np.random.default_rng(s).random((SIDE, SIDE)) < 0.3))
STROKES = st.one_of(
    st.fixed_dictionaries(
        {
            "op": st.just("polygon"),
            "rings": st.lists(st.lists(POINT, min_size=3, max_size=6), min_size=1, max_size=2),
            "replace": st.booleans(),
            **TARGET,
        },
        optional=MODE,
    ),
    st.fixed_dictionaries(
        {
            "op": st.just("brush"),
            "points": st.lists(POINT, min_size=1, max_size=4),
            "radius": st.floats(0.1, SIDE),
            **TARGET,
        },
        optional=MODE,
    ),
    st.fixed_dictionaries({"op": st.just("fill"), "point": INSIDE, **TARGET}, optional=MODE),
    st.fixed_dictionaries(
        {"op": st.just("relabel"), **TARGET} | {f"to_{key}": values for key, values in TARGET.items()}
    ),
    st.fixed_dictionaries(
        {
            "op": st.just("mask"),
            "whole": st.booleans(),
            "tool": st.just("proposal"),
            "regions": st.lists(st.fixed_dictionaries({"rle": MASK, **TARGET}), max_size=2),
        }
    ),
)


def empty(side: int = SIDE) -> UndoHistory:
    return UndoHistory(np.zeros((2, side, side), np.uint8), LABELS)


class Annotator(RuleBasedStateMachine):
    """Any strokes, undos and redos beside a model that keeps whole copies."""

    def __init__(self) -> None:
        super().__init__()
        self.history = empty()
        self.past = [self.history.maps.copy()]
        self.future: list[np.ndarray] = []
        self.seen: list[tuple[int, np.ndarray]] = []  # changes, and the maps then

    @rule(stroke=STROKES)
    def draw(self, stroke):
        self.history.draw(stroke)
        self.past.append(self.history.maps.copy())
        self.future.clear()

    @rule(
        stroke=STROKES,
        spoilt=st.sampled_from(["label", "op", "rings", "points", "radius", "point", "regions"]),
    )
    def refuse(self, stroke, spoilt):
        if spoilt in stroke:
            with pytest.raises(BdganError):
                self.history.draw({**stroke, spoilt: None})

    @rule()
    def undo(self):
        assert self.history.undo() == (len(self.past) > 1)
        if len(self.past) > 1:
            self.future.append(self.past.pop())

    @rule()
    def redo(self):
        assert self.history.redo() == bool(self.future)
        if self.future:
            self.past.append(self.future.pop())

    @rule()
    def there_and_back(self):
        if self.history.undo():
            assert self.history.redo()

    @invariant()
    def as_the_model(self):
        assert np.array_equal(self.history.maps, self.past[-1])
        labels, instances = self.history.maps
        assert np.isin(labels, [0, 1, 2, 255]).all() and instances.max() <= 3
        assert not instances[(labels == 0) | (labels == 255)].any()

    @invariant()
    def all_that_changed_is_in_the_box(self):
        for changes, maps in self.seen:
            differs = (maps != self.history.maps).any(0)
            if box := self.history.changed_since(changes):
                differs[box] = False
            assert not differs.any()
        self.seen.append((self.history.changes, self.history.maps.copy()))


# 100,000 sequences: BDGAN_EXAMPLES=100000 pytest tests/annotation/test_undo_history.py -k Annotator
Annotator.TestCase.settings = settings(
    max_examples=int(os.environ.get("BDGAN_EXAMPLES", "300")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAnnotator = Annotator.TestCase


@given(st.lists(POINT, min_size=1, max_size=5), st.floats(0.3, 8))
def test_a_brush_covers_the_centres_within_its_radius(points, radius):
    path = np.array(points, float)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    steps = np.linspace(0, 1, 400)[:, None]
    dense = [a + steps * (b - a) for a, b in pairwise(path)] or [path]
    nearest = np.min([np.hypot(x[..., None] - d[:, 0], y[..., None] - d[:, 1]).min(-1) for d in dense], 0)
    found, sure = brush(points, radius, SIDE, SIDE), np.abs(nearest - radius) > 0.1
    assert np.array_equal(found[sure], (nearest < radius)[sure])


def test_a_polygon_can_have_holes_and_stand_for_what_it_was():
    history = empty()
    ring, hole = [[1, 1], [9, 1], [9, 9], [1, 9]], [[3, 3], [6, 3], [6, 6], [3, 6]]
    history.draw({"op": "polygon", "rings": [ring, hole], "label": 1, "instance": 2})
    assert (history.labels == 1).sum() == 64 - 9 and history.labels[4, 4] == 0
    history.draw({"op": "polygon", "rings": [hole], "label": 1, "instance": 2, "replace": True})
    assert (history.labels == 1).sum() == 9 and history.labels[4, 4] == 1


def test_a_fill_takes_what_touches_side_by_side():
    history = empty(4)
    for x, y in ((0, 0), (1, 1)):
        history.draw({"op": "brush", "points": [[x + 0.5, y + 0.5]], "radius": 0.4, "label": 1})
    history.draw({"op": "fill", "point": [1.2, 1.2], "label": 2})
    assert history.labels[:2, :2].tolist() == [[1, 0], [0, 2]]


HOSTILE = [
    {}, {"op": "exec"}, {"op": ["fill"]}, {"op": "fill", "point": [99, 0], "label": 1},
    {"op": "fill", "point": "ab", "label": 1},
    {"op": "brush", "points": [[float("nan"), 1]], "radius": 1, "label": 1},
    {"op": "brush", "points": [[1e300, 1]], "radius": 1, "label": 1},
    {"op": "brush", "points": [[1, 1]] * 30_000, "radius": 1, "label": 1},
    {"op": "brush", "points": [[1, 1]], "radius": float("inf"), "label": 1},
    {"op": "brush", "points": [[1, 1]], "radius": 2, "label": 3},
    {"op": "brush", "points": [[1, 1]], "radius": 2, "label": True},
    {"op": "brush", "points": [[1, 1]], "radius": 2, "label": 1, "instance": 256},
    {"op": "brush", "points": [[1, 1]], "radius": 2, "label": 1, "__class__": 1},
    {"op": "polygon", "rings": [[[1, 1], [2, 2]]], "label": 1},
    {"op": "mask", "regions": [{"label": 1, "rle": "zzzz"}]},
    {"op": "mask", "regions": [{"label": 1, "rle": "o" * 4096}]},
]  # fmt: skip


@pytest.mark.parametrize("stroke", HOSTILE, ids=lambda s: str(s)[:50])
def test_a_malformed_stroke_changes_nothing(stroke):
    history = empty()
    history.draw({"op": "brush", "points": [[5, 5]], "radius": 2, "label": 1})
    before = history.maps.copy()
    with pytest.raises(BdganError):
        history.draw(stroke)
    with pytest.raises(BdganError):
        list(regions(stroke, history.labels, history.instances, LABELS))
    assert np.array_equal(history.maps, before) and history.undo() and not history.undo()


def drawn(stroke: dict, before: UndoHistory) -> tuple[np.ndarray, np.ndarray]:
    """The maps after a stroke, and the pixels that the same stroke covers without a mode."""
    after, plain = deepcopy(before), {key: value for key, value in stroke.items() if key != "mode"}
    after.draw(stroke)
    return after.maps, np.any(
        [p for p, *_ in regions(plain, before.labels, before.instances, LABELS)], axis=0
    )


@given(st.lists(STROKES, min_size=1, max_size=6), STROKES.filter(lambda s: "mode" in s))
def test_protect_and_subtract_change_what_they_may(strokes, last):
    before = empty()
    for stroke in strokes:
        before.draw(stroke)
    maps, covered = drawn(last, before)
    label, instance = last["label"], 0 if last["label"] in (0, 255) else last["instance"]
    same = (before.labels == label) & (before.instances == instance)
    changed = (maps != before.maps).any(0)
    assert not (changed & ~covered).any()
    if last["mode"] == "protect":
        assert not (changed & ~same & (before.labels > 0)).any()
    else:
        assert not (changed & ~same).any() and not maps[:, changed].any()
        assert not (covered & same & (maps[0] > 0)).any()


@given(
    st.lists(STROKES, min_size=1, max_size=6),
    *[st.sampled_from([0, 1, 2, 255])] * 2,
    *[st.integers(0, 3)] * 2,
)
def test_relabel_moves_one_object_and_nothing_else(strokes, label, to_label, instance, to_instance):
    history = empty()
    for stroke in strokes:
        history.draw(stroke)
    before, pair = history.maps.copy(), [(label, instance), (to_label, to_instance)]
    source, to = ((k, 0 if k in (0, 255) else i) for k, i in pair)
    moved = (before[0] == source[0]) & (before[1] == source[1])
    stroke = {"label": label, "instance": instance, "to_label": to_label, "to_instance": to_instance}
    history.draw({"op": "relabel", **stroke})
    assert np.array_equal(history.maps, np.where(moved, np.array(to)[:, None, None], before))


@pytest.mark.parametrize("wrong", [
    {"op": "brush", "points": [[1, 1]], "radius": 1, "label": 1, "mode": "keep"},
    {"op": "brush", "points": [[1, 1]], "radius": 1, "label": 1, "mode": None},
    {"op": "mask", "regions": [], "whole": True, "mode": "protect"},
    {"op": "relabel", "label": 1, "to_label": 2, "mode": "protect"},
    {"op": "relabel", "label": 1}, {"op": "relabel", "label": 1, "to_label": 9},
])  # fmt: skip
def test_malformed_modes_are_refused(wrong):
    with pytest.raises(BdganError):
        empty().draw(wrong)
