"""The experiment on clicks, small: every tool is there, and a second call measures nothing."""

import numpy as np

from bdgan_lib.experiments import annotation_clicks
from bdgan_lib.profiles import load_profile


def test_every_tool_is_counted_and_a_second_call_resumes(tmp_path):
    profile = load_profile("pocket")
    result = annotation_clicks.run(profile, tmp_path, 1, images=12, labels=12, cap=3)
    assert list(result["cells"]) == ["polygon", "grabcut", "proposal / 0", "clicks_own", "clicks_grabcut"]
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
