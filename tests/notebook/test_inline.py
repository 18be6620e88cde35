"""A figure in a notebook comes as a JPEG with words."""

import base64
import io

import matplotlib
import pytest
from PIL import Image

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from bdgan_lib.notebook.inline import _described, alt_text, describe_figures
from bdgan_lib.visualization.plots import dots, lines
from bdgan_lib.visualization.sheets import sheet


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_titles_axes_and_lines_are_said_once():
    said = alt_text(lines({"ours": [[1, 2]], "theirs": [[2, 3]]}, [0, 1], "images", "mIoU by images"))
    assert said == "Figure: mIoU by images; images; ours; theirs"
    assert "blue jay" in alt_text(dots({"blue jay": {"a": [1.0]}, "mug": {"a": [2.0]}}, "IoU", ""))
    picture = np.zeros((4, 4, 3), np.uint8)
    assert alt_text(sheet([picture] * 2, 1, "Two", ("image", "labels"))) == "Figure: Two; image; labels"
    assert alt_text(plt.figure()) == "Figure without a title"


def test_it_is_a_jpeg_with_that_text():
    picture, about = _described(lines({"a": [[1, 2]]}, [0, 1], "x", "y"))
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert image.format == "JPEG" and image.width > 100
    assert about == {"alt": "Figure: y; x; a"}


def test_outside_a_notebook_nothing_happens():
    before = plt.get_backend()
    describe_figures()
    assert plt.get_backend() == before
