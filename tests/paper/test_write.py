"""Figures on disk: whole, described, the same each time, and drawn from what their captions name."""

import json
import re
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

matplotlib.use("agg")
from bdgan_lib.core.types import BdganError
from bdgan_lib.paper import write
from bdgan_lib.paper.catalogue import CATALOGUE
from bdgan_lib.paper.figure_data import FigureData
from bdgan_lib.paper.write import chosen, write_figures
from bdgan_lib.profiles import load_profile
from bdgan_lib.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    return FigureData(Workspace(load_profile("pocket"), tmp_path / "workspace"))


STORED = [entry for entry in CATALOGUE if entry.experiments]


def test_every_figure_has_a_number_a_name_and_words_of_its_own():
    assert len(CATALOGUE) >= 14
    for field in ("number", "name"):
        assert len({getattr(entry, field) for entry in CATALOGUE}) == len(CATALOGUE)
    assert all(entry.title and len(entry.caption) > 20 for entry in CATALOGUE)


def test_figures_are_chosen_by_number_or_name():
    assert chosen() == list(CATALOGUE)
    assert [e.name for e in chosen(["table1", "mean-shapes"])] == ["mean-shapes", "statistics"]
    with pytest.raises(BdganError, match="unknown figure 'fig99'; choose from fig1 teaser, fig2"):
        chosen(["fig1", "fig99"])


@pytest.mark.parametrize("entry", STORED, ids=lambda entry: entry.number)
def test_every_stored_result_is_drawn(data, tmp_path, entry):
    (record,) = write_figures(data, tmp_path, [entry.number])
    with Image.open(tmp_path / record["png"]) as png:
        assert png.width > 500 and png.getextrema() != ((255, 255),) * 4
    svg = (tmp_path / record["svg"]).read_text()
    assert svg.startswith("<?xml") and "http://www.w3.org/2000/svg" in svg
    for name in entry.experiments:
        assert f"`bdgan experiment {name}`" in record["caption"]
        assert data.result(name)["commit"] in record["caption"]
    assert "Profile pocket, generator" in record["caption"]


def test_one_figure_drawn_again_leaves_the_others_on_the_page(data, tmp_path):
    write_figures(data, tmp_path, ["fig8", "fig12"])
    before = (tmp_path / "fig8_set-size.svg").read_bytes()
    records = write_figures(data, tmp_path, ["set-size"])
    assert [r["number"] for r in records] == ["fig8", "fig12"]
    assert records == json.loads((tmp_path / "figures.json").read_text())
    assert (tmp_path / "fig8_set-size.svg").read_bytes() == before, "the same figure, the same bytes"
    page = (tmp_path / "index.html").read_text()
    assert all(f'src="{r["png"]}" alt="{r["title"]}' in page for r in records)
    assert "3 seeds" in records[0]["caption"]


def test_what_a_profile_cannot_draw_is_named_and_what_there_was_stays(data, tmp_path, capsys, monkeypatch):
    write_figures(data, tmp_path, ["fig8"])
    other = FigureData(Workspace(load_profile("imagenet-256"), tmp_path / "other"))
    with pytest.raises(BdganError, match="no annotations; label samples first"):
        write_figures(other, tmp_path, ["teaser"])
    monkeypatch.setattr(write, "CATALOGUE", [CATALOGUE[0], *STORED[:2]])
    records = write_figures(other, tmp_path)
    assert [r["number"] for r in records] == ["fig8", "fig9"]
    assert "fig1 teaser is left out: profile imagenet-256 has no annotations" in capsys.readouterr().out
    assert all("Profile pocket, generator" in r["caption"] for r in records), "whose results they are"


def test_own_results_come_before_the_shipped_ones(data, tmp_path):
    shipped = data.result("set-size")
    (tmp_path / "set-size.json").write_text(json.dumps(shipped | {"commit": "mine"}))
    with_results = FigureData(data.workspace, results=tmp_path)
    assert with_results.result("set-size")["commit"] == "mine"
    assert with_results.result("table2") == data.result("table2")


def test_each_figure_is_explained_once_in_notebook_07_or_in_the_gallery():
    notebook = json.loads((ROOT / "notebooks/07_paper_figures.ipynb").read_text("utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    readings = (ROOT / "docs/figure_readings.md").read_text("utf-8")
    explained = re.findall(r'^show\("(.+)"\)$', code, re.MULTILINE) + re.findall(r"(?m)^## (.+)$", readings)
    assert sorted(explained) == sorted(entry.name for entry in CATALOGUE)
