"""The experiment on clicks, small: every tool is there, and a second call measures nothing."""

import zipfile
from functools import partial

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import encode_jpeg, encode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.experiments import annotation_clicks
from bdgan_lib.profiles import load_profile


def test_every_tool_is_counted_and_a_second_call_resumes(tmp_path, monkeypatch):
    few = partial(annotation_clicks.FeatureSegmenter, count=4)  # samples of each class
    monkeypatch.setattr(annotation_clicks, "FeatureSegmenter", few)
    profile = load_profile("pocket")
    result = annotation_clicks.run(profile, tmp_path, 1, images=12, labels=12, cap=3)
    clicked = ["clicks_own", "clicks_own_unlabelled", "clicks_grabcut"]
    assert list(result["cells"]) == ["polygon", "grabcut", "proposal / 0", *clicked]
    for name, cell in result["cells"].items():
        assert len(cell["clicks"]) == 12 and np.isclose(cell["mean_clicks"], np.mean(cell["clicks"])), name
        assert list(cell["mean_clicks_of"]) == list(profile.classes)
        assert 0 <= cell["reached"] <= 1 and min(cell["clicks"]) >= {"polygon": 4, "grabcut": 2}.get(name, 1)
    cells = result["cells"]
    assert cells["polygon"]["reached"] == 1 == cells["polygon"]["at_once"]
    assert cells["proposal / 0"]["mean_clicks"] < cells["polygon"]["mean_clicks"]
    assert annotation_clicks.run(profile, tmp_path, 1, images=12, labels=12, cap=3)["cells"] == cells


def test_no_sample_is_used_twice():
    bench = annotation_clicks.ClickExperiment(load_profile("pocket"), 12)
    assert {a.seed for a in bench.truth} == set(range(10_000_000, 10_000_012))
    assert bench.pictures.shape == (12, 64, 64, 3)
    assert annotation_clicks.FIRST_LABELLED >= annotation_clicks.FIRST_SEED + 1_000


def test_photographs_of_a_zip_are_measured(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[12:36, 20:44] = 1
    image = np.where(mask[..., None] > 0, (220, 60, 40), (40, 120, 60)).astype(np.uint8)
    with zipfile.ZipFile(tmp_path / "photographs.zip", "w") as archive:
        for name in ("horse_2", "cup_1"):
            archive.writestr(f"images/{name}.jpg", encode_jpeg(image))
            archive.writestr(f"masks/{name}.png", encode_png(mask))
    pictures = annotation_clicks.Photographs(tmp_path / "photographs.zip")
    assert [name for name, *_ in pictures.pairs] == ["cup_1", "horse_2"]
    for tool, most in {"polygon": 5, "clicks": 2, "clicks_box": 3, "promptable": 30}.items():
        row = pictures.measure({"tool": f"{tool}_photographs", "wanted": 0.9, "cap": 4})
        assert set(row["mean_clicks_of"]) == {"cup", "horse"} and max(row["clicks"]) <= most, tool
    (tmp_path / "no.zip").write_bytes(b"no")
    with pytest.raises(BdganError, match="expected a zip of images"):
        annotation_clicks.Photographs(tmp_path / "no.zip").pairs  # noqa: B018
