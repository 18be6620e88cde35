"""Plots show their data: means, spreads and every line; uncertainty is brighter where it is larger."""

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from bdgan_lib.visualization.plots import bars, dots, lines, matrix, mean_layout
from bdgan_lib.visualization.sheets import most_uncertain


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_line_is_the_mean_of_its_runs_in_a_band_that_holds_all_of_them():
    runs = {f"head {i}": [[0.0 + i, 2.0], [2.0 + i, 6.0]] for i in range(6)}
    (axes,) = lines(runs, [0, 50], "dropped", "kept").axes
    assert [line.get_label() for line in axes.lines] == list(runs), "none is left out"
    for i, (line, band) in enumerate(zip(axes.lines, axes.collections, strict=True)):
        assert line.get_ydata().tolist() == [1.0 + i, 4.0]
        low, high = band.get_datalim(axes.transData).intervaly
        assert (low, high) == (min(i, 2.0), max(i + 2.0, 6.0))
    assert len({line.get_color() for line in axes.lines}) == 6


def test_a_bar_ends_at_its_mean_and_every_seed_is_a_dot():
    (axes,) = bars({"a": [0.8, 0.9], "b": [0.95]}, "mIoU", "heads", start=0.5).axes
    assert np.allclose([bar.get_width() for bar in axes.patches], [0.85, 0.95])
    seeds = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert seeds == [[0.8, 0.9], [0.95]]
    assert axes.get_xlim()[0] == 0.5


def test_a_level_is_drawn_at_its_height_and_named():
    (axes,) = lines({"a": [[1.0, 2.0]]}, [10, 100], "images", "mIoU", {"bar": 1.5}, log=True).axes
    _, level = axes.lines
    assert set(level.get_ydata()) == {1.5} and level.get_label() == "bar" and axes.get_xscale() == "log"


def test_a_row_of_dots_has_every_seed_and_its_mean():
    runs = {"random": {"few": [0.5, 0.7], "many": [0.9]}, "simclr": {"few": [0.6]}}
    (axes,) = dots(runs, "mIoU", "starts").axes
    seeds = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "."]
    means = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert seeds == [[0.5, 0.7], [0.9], [0.6]] and means == pytest.approx([0.6, 0.9, 0.6])
    assert [text.get_text() for text in axes.get_legend().texts] == ["few", "many"], "each group named once"


def test_doubt_is_brighter_where_it_is_larger_and_images_stay_as_they_are():
    images = np.full((2, 8, 8, 3), 90, np.uint8)
    divergence = np.zeros((2, 8, 8), np.float32)
    divergence[1] = np.linspace(0, np.log(2), 64).reshape(8, 8)
    figure = most_uncertain(images, np.zeros((2, 8, 8), np.uint8), divergence)
    shown = np.concatenate([image.get_array() for image in figure.axes[0].images])
    assert shown.shape[0] > 24 and shown.dtype == np.uint8
    image, _, calm = (_cell(shown, row, 0) for row in range(3))
    assert (image == 90).all() and calm.sum(-1).max() < 10, "no uncertainty is black"
    light = _cell(shown, 2, 1).astype(int).sum(-1).ravel()
    assert (np.diff(light) >= 0).all() and light[-1] > 500


def _cell(shown, row, column, side=8, gap=2):
    top, left = gap + row * (side + gap), gap + column * (side + gap)
    return shown[top : top + side, left : left + side]


def test_a_matrix_says_every_value_at_its_row_and_column():
    values = np.array([[0.25, 1.0, 0.0], [0.5, 0.125, 0.75]])
    (axes,) = matrix(values, ("block1", "block2"), ("wheel", "wing", "beak"), "IoU").axes
    said = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert [said[1, 0], said[0, 1], said[0, 2], said[1, 2]] == [".50", "1.00", ".00", ".75"]
    assert len(said) == 6
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["wheel", "wing", "beak"]
    assert np.array_equal(axes.images[0].get_array(), values)


def test_a_layout_names_every_class_above_and_every_set_beside():
    masks, ids = np.tile(np.eye(8, dtype=np.uint8), (6, 1, 1)), np.array([1, 5] * 3)
    figure = mean_layout({"ours": (masks, ids), "real": (masks, ids)}, {1: "blue_jay", 5: "mug"})
    assert [axes.get_title() for axes in figure.axes] == ["blue jay", "mug", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["ours", "", "real", ""]
