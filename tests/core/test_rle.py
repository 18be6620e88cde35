"""Run lengths agree with COCO's own code, and refuse what would write outside a mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(MASKS)
def test_packed_runs_are_those_of_coco_and_come_back(mask):
    packed = rle.encode(mask)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert packed == theirs["counts"].decode()
    assert np.array_equal(rle.decode(packed, *mask.shape), mask)
    assert np.array_equal(rle.from_runs(rle.runs(mask), *mask.shape), mask)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 3)))
def test_every_value_is_packed_as_a_mask_of_its_own(values):
    alone = {n: rle.encode(values == n) for n in range(1, 4) if (values == n).any()}
    assert rle.encode_values(values) == alone


def test_a_large_mask_agrees_too():
    y, x = np.mgrid[:700, :900]
    mask = (y - 350) ** 2 + (x - 400) ** 2 < 300**2
    assert rle.encode(mask) == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(st.text(max_size=30))
def test_any_text_is_a_mask_or_refused(text):
    try:
        assert rle.decode(text, 5, 7).shape == (5, 7)
    except BdganError as error:
        assert "mask is damaged" in str(error)


@pytest.mark.parametrize("counts", [[36], [34], [-1, 36], [10**12], [1.5, 33.5], [True, 34], []])
def test_runs_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(BdganError, match="do not fill 5 x 7"):
        rle.from_runs(counts, 5, 7)
