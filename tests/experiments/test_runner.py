"""Cells are measured once, kept when a run is cut off, and measured anew when what they depend on changes."""

import json
from functools import partial

import pytest

from bdgan_lib.experiments.runner import run_cells

CELLS = {f"trial / {seed}": {"seed": seed} for seed in range(4)}


def run(folder, measure, about=None, cells=CELLS):
    return run_cells("test", cells, measure, folder, about or {"generator_sha256": "a"})


def test_an_interrupted_experiment_goes_on_and_gathers_everything(tmp_path):
    seen = []

    def measure(settings):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(settings["seed"])
        return {"score": settings["seed"] / 10}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, measure)
    assert not (tmp_path / "test.json").exists()
    later = []
    result = run(tmp_path, lambda s: later.append(s["seed"]) or {"score": s["seed"] / 10})
    assert seen == [0, 1] and later == [2, 3]
    assert [result["cells"][key]["score"] for key in CELLS] == [0.0, 0.1, 0.2, 0.3]
    assert json.loads((tmp_path / "test.json").read_text()) == result
    assert {"experiment", "generator_sha256", "bdgan_lib", "commit", "seconds"} <= result.keys()
    assert all({"seconds", "commit", "seed"} <= cell.keys() for cell in result["cells"].values())


def test_other_weights_or_settings_are_measured_anew(tmp_path):
    run(tmp_path, lambda s: {"score": 1})
    assert run(tmp_path, lambda s: {"score": 2})["cells"]["trial / 0"]["score"] == 1
    assert (
        run(tmp_path, lambda s: {"score": 2}, {"generator_sha256": "b"})["cells"]["trial / 0"]["score"] == 2
    )
    changed = {key: {**settings, "steps": 5} for key, settings in CELLS.items()}
    assert run(tmp_path, lambda s: {"score": 3}, cells=changed)["cells"]["trial / 0"]["score"] == 3


def test_processes_measure_the_same_cells(tmp_path):
    measure = partial(dict, score=0.5)  # the settings and a score; it can be pickled
    found = run_cells("test", CELLS, measure, tmp_path, {}, workers=2)
    assert [(row["seed"], row["score"]) for row in found["cells"].values()] == [(n, 0.5) for n in range(4)]
