"""Laws of the settings and of the names of samples."""

import json
import re
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.core.ids import checked_id, class_sample_id, sample_id
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError


@given(st.one_of(
    st.builds(Sampling, truncation=st.floats(0, 1, exclude_min=True)),
    st.builds(Sampling, z_std=st.floats(1e-6, 1e6)),
))  # fmt: skip
def test_sampling_goes_through_json_unchanged(sampling):
    assert Sampling.from_json(json.loads(json.dumps(sampling.to_json()))) == sampling


@pytest.mark.parametrize(
    "settings",
    [
        {"truncation": 0.0},
        {"truncation": 1.5},
        {"truncation": float("nan")},
        {"z_std": 0.0},
        {"z_std": float("inf")},
        {"truncation": 0.9, "z_std": 0.9},
    ],
)
def test_settings_without_a_meaning_are_refused(settings):
    with pytest.raises(BdganError, match="give"):
        Sampling(**settings)


@pytest.mark.parametrize(
    "record",
    [None, {}, [1, None], {"truncation": "1", "z_std": None}, {"truncation": 1, "z_std": None, "x": 1}],
)
def test_a_record_of_something_else_is_refused(record):
    with pytest.raises(BdganError, match="expected sampling settings"):
        Sampling.from_json(record)


@given(st.text(), st.integers(0, 2**63))
def test_every_id_is_a_safe_file_name_that_holds_its_seed(class_name, seed):
    try:
        id = sample_id(class_name, seed)
    except BdganError:
        return  # a name without one plain letter or digit, or a very long one
    assert id == id.lower()
    assert int(re.fullmatch(r"[a-z0-9_]+_([0-9]{8,})", id).group(1)) == seed
    assert checked_id(id) == id


def test_ids_read_well():
    assert sample_id("Blue Jay", 3) == "blue_jay_00000003"


@given(
    st.lists(
        st.sampled_from(
            [
                "Cardigan",
                "cardigan",
                "cardigan 2",
                "cardigan-2",
                "a b",
                "a_b",
                "A b!",
                "a b 4",
                "木",
                "火",
                "🍎",
            ]
        )
    )
)
def test_ids_are_unique_over_all_classes_and_the_first_of_a_name_keeps_its_own(classes):
    ids = [class_sample_id(classes, class_id, 7) for class_id in range(len(classes))]
    assert len(set(ids)) == len(ids) and all(checked_id(id).endswith("_00000007") for id in ids)
    slugs = [sample_id(name, 7) for name in classes]
    assert all(ids[slugs.index(slug)] == slug for slug in slugs)


def test_a_class_without_a_plain_letter_has_ids_however_it_is_composed():
    assert class_sample_id(("木", "mug"), 1, 0) == "mug_00000000"
    assert sample_id("ひらがな", 3) == sample_id(normalize("NFD", "ひらがな"), 3) != sample_id("木", 3)
    assert re.fullmatch(r"class_[0-9a-f]{8}_00000003", sample_id("木", 3))


@pytest.mark.parametrize("id", ["", "a/b", "..", ".a", "a.b", "a b", "-a", "é", "a\n", "a" * 91])
def test_an_unsafe_id_is_refused(id):
    with pytest.raises(BdganError, match="safe file name"):
        checked_id(id)
