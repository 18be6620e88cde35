"""Results: what goes in comes out, and nothing else comes in."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.result import Result, load_result

RESULT = Result(
    "pocket", "Bird", "<script>alert('größe')</script>", ("background", "robin", "wren", "owl"),
    (60, 20, 0, 0), (70, 25, 5, 0), (65, 35, 0, 0), (0.3, 0.6), 7, ("b_1", "a_1"), ("c_1",),
    "0" * 64, "f" * 64, "0.1.0", "2024-02-29",
)  # fmt: skip


def test_the_figures_follow_from_the_counts():
    assert RESULT.iou == (60 / 75, 20 / 40, 0.0, None)
    assert RESULT.miou == pytest.approx((0.8 + 0.5 + 0) / 3)
    with pytest.raises(FrozenInstanceError):
        RESULT.name = "other"


def test_json_there_and_back(tmp_path):
    RESULT.save(tmp_path / "deep/r.json")
    assert load_result(tmp_path / "deep/r.json") == RESULT
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["r.json"]
    assert json.loads((tmp_path / "deep/r.json").read_text("utf-8"))["miou"] == RESULT.miou


@given(st.data())
def test_any_counts_go_there_and_back(data):
    row = st.lists(st.integers(0, 10**9), min_size=3, max_size=3)
    table = np.array(data.draw(st.lists(row, min_size=3, max_size=3)))
    if not table.sum():
        return
    result = replace(
        RESULT, labels=RESULT.labels[:3], both=tuple(table.diagonal().tolist()),
        predicted=tuple(table.sum(0).tolist()), target=tuple(table.sum(1).tolist()),
    )  # fmt: skip
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


NOT = [
    None, True, -1, 2**60, 10**400, 1.5, float("nan"), "", "x", "a\nb", "\u202etxt", "x" * 300,
    "F" * 64, "0" * 63, "20240229", "2023-02-29", [], [1], {}, [[]], ["<b>"], [None] * 4, ["a", "a"],
    ["../a"], [0.2, 0.1], [0.1, 2.0], [1, 1], [float("nan")] * 2, [60, 20, 0, 10**400], [0, 0, 0, 0],
]  # fmt: skip


@pytest.mark.parametrize("key", RESULT.to_json())
def test_no_field_takes_what_it_is_not(key):
    """Every value that is not of the field's kind is a BdganError, never another error, never a result."""
    fine = {"world": str, "task": str, "name": str, "version": str}
    for value in NOT:
        if isinstance(value, fine.get(key, ())) and value.isprintable() and 0 < len(value) <= 200:
            continue
        with pytest.raises(BdganError):
            print(Result.from_json({**RESULT.to_json(), key: value}), value)


@pytest.mark.parametrize("key", RESULT.to_json())
def test_a_field_less_or_more_is_named(key):
    record = RESULT.to_json()
    del record[key]
    with pytest.raises(BdganError, match=key):
        Result.from_json(record)
    with pytest.raises(BdganError, match="'extra'"):
        Result.from_json({**RESULT.to_json(), "extra": 1})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"miou": 0.99}, "do not follow from its counts"),
        ({"iou": [0.8, 0.5, 0.0, 0.0]}, "do not follow from its counts"),
        ({"both": [70, 20, 0, 0]}, "contradict"),
        ({"wanted": [65, 36, 0, 0]}, "contradict"),
        ({"labels": ["background", "a", "b", "a"]}, "each once"),
        ({"best": ["a", "b", "c", "d", "e", "f"]}, "got 6"),
        ({"best": ["a", "a"]}, "each image once"),
        ({"worst": ["<b>"]}, "not a safe file name"),
        ({"images": 1}, "expected 1 entries, got 2"),
    ],
)
def test_what_cannot_be_is_told(change, told):
    with pytest.raises(BdganError, match=told):
        Result.from_json({**RESULT.to_json(), **change})


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"format": 1e999}', " " * 2**23])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BdganError, match=r"r\.json"):
        load_result(tmp_path / "r.json")
    with pytest.raises(BdganError, match="missing"):
        load_result(tmp_path / "nowhere.json")
