"""Sliders draw what they say, where a page listens; elsewhere there are none."""

import sys

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.notebook.sliders import show_sliders

ipywidgets = pytest.importorskip("ipywidgets")


def draw(name, level):
    return np.full((4, 6, 3), level + (100 if name == "mug" else 0), np.uint8)


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "notebook.ipynb")


def test_a_move_draws_the_picture_of_all_values(live):
    box = show_sliders(draw, name=("robin", "mug"), level=(0, 10, 20))
    name, level, picture = box.children
    assert (decode_png(picture.value) == draw("robin", 0)).all()
    level.value = 20
    assert (decode_png(picture.value) == draw("robin", 20)).all()
    name.value = "mug"
    assert (decode_png(picture.value) == draw("mug", 20)).all()


def test_there_is_none_where_no_page_listens_or_ipywidgets_is_missing(monkeypatch, live):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert show_sliders(draw, name=("mug",), level=(0,)) is None
    monkeypatch.undo()
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert show_sliders(draw, name=("mug",), level=(0,)) is None
