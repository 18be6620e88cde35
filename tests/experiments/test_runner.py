"""Cells are measured once, kept when a run is cut off, and measured anew when what they depend on changes."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from bdgan_lib.core.types import BdganError
from bdgan_lib.experiments import annotation_clicks, context, frozen_features, label_head, label_queue
from bdgan_lib.experiments.catalogue import EXPERIMENTS
from bdgan_lib.experiments.runner import earlier_result, rows, run_cells, scores, shipped_result, with_factors
from bdgan_lib.profiles import load_profile
from bdgan_lib.training.file_logs import LogFolder
from bdgan_lib.training.loop import train

FOLDER = Path(__file__).parents[2] / "benchmarks/results/unfinished"
UNFINISHED = {path.stem: path for path in sorted(FOLDER.glob("*.json"))}  # of nights that are not over
FACTORS = ("name", "seed")
CELLS = {("trial", seed): {"seed": seed} for seed in range(4)}


def run(folder, measure, about=None, cells=CELLS):
    return run_cells("test", FACTORS, cells, measure, folder, about or {"generator_sha256": "a"})


def test_an_interrupted_experiment_goes_on_and_gathers_everything(tmp_path):
    seen = []

    def measure(settings):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(settings["seed"])
        return {"score": settings["seed"] / 10}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, measure)
    gathered = json.loads((tmp_path / "test.json").read_text())
    assert gathered["missing"] == 2 and [row["seed"] for row in rows(gathered)] == [0, 1]
    later = []
    result = run(tmp_path, lambda s: later.append(s["seed"]) or {"score": s["seed"] / 10})
    assert seen == [0, 1] and later == [2, 3]
    assert [row["score"] for row in rows(result, name="trial")] == [0.0, 0.1, 0.2, 0.3]
    assert json.loads((tmp_path / "test.json").read_text()) == result
    assert {"experiment", "generator_sha256", "bdgan_lib", "commit", "seconds"} <= result.keys()
    assert "missing" not in result
    assert all({"seconds", "commit", *FACTORS} <= cell.keys() for cell in result["cells"].values())


def test_a_result_from_elsewhere_counts_for_the_cells_it_holds(tmp_path):
    """As when a run of another machine goes on here: only the gathered file travelled."""
    there, here = tmp_path / "there", tmp_path / "here"
    some = {key: settings for key, settings in CELLS.items() if key[-1] != 2}
    before = run(there, lambda s: {"score": s["seed"] / 10, "iou": [0.1, None]}, cells=some)
    here.mkdir()
    (here / "test.json").write_text((there / "test.json").read_text())
    later = []
    after = run(here, lambda s: later.append(s["seed"]) or {"score": 0.2, "iou": []})
    assert later == [2] and [row["score"] for row in rows(after)] == [0.0, 0.1, 0.2, 0.3]
    assert before["cells"].items() <= after["cells"].items()
    run(here, lambda s: later.append(s["seed"]) or {"score": 1}, {"generator_sha256": "b"})
    assert later == [2, 0, 1, 2, 3], "of other weights, nothing counts"


def test_a_file_of_another_experiment_is_not_written_over(tmp_path):
    (tmp_path / "test.json").write_text('{"experiment": "other"}')
    with pytest.raises(BdganError, match="is no result of this experiment; it is not written over"):
        run(tmp_path, lambda s: {"score": 1})
    assert (tmp_path / "test.json").read_text() == '{"experiment": "other"}'


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
    found = run_cells("test", FACTORS, CELLS, measure, tmp_path, {}, 2, LogFolder("csv", tmp_path))
    assert [(row["seed"], row["score"]) for row in found["cells"].values()] == [(n, 0.5) for n in range(4)]


def trained(settings) -> dict:
    """Of a cell: as many steps as its seed says, and two more."""
    network = torch.nn.Linear(2, 2)
    loss_of = lambda step: network(torch.ones(1, 2)).square().mean()
    for steps in (settings["seed"], 2):
        train(loss_of, torch.optim.SGD(network.parameters(), 0.1), steps)
    return {"score": 1.0}


def test_the_trainings_of_each_cell_have_a_log_of_its_name(tmp_path):
    run_cells("test", FACTORS, CELLS, trained, tmp_path, {}, logs=LogFolder("csv", tmp_path / "logs"))
    for n in range(4):
        text = (tmp_path / f"logs/test/trial/{n}/metrics.csv").read_text("utf-8")
        assert [line.split(",")[0] for line in text.splitlines()[1:]] == [str(step) for step in range(n + 2)]


def test_rows_are_selected_by_their_fields_and_a_factor_enters_no_file_name(tmp_path):
    cells = {(name, seed): {"seed": seed} for name in "ab" for seed in (0, 1)}
    result = run_cells("test", FACTORS, cells, lambda settings: {"miou": settings["seed"]}, tmp_path, {})
    assert [row["seed"] for row in rows(result, name="b")] == [0, 1] == scores(result)["b",].tolist()
    assert len(rows(result, seed=1)) == 2 and not rows(result, name="a", seed=2) and len(rows(result)) == 4
    assert len(list((tmp_path / "test").iterdir())) == 2, "a cell is its settings"


@pytest.fixture
def asked(monkeypatch) -> dict:
    """Name -> (factors, cells) of each experiment that runs: its shipped result is what it finds."""
    written, profile = {}, load_profile("pocket")

    def take(name, factors, cells, *_, **others):
        written[name] = list(factors), cells
        return shipped_result(profile, name)  # of which some experiments choose their settings

    for module in (annotation_clicks, context, frozen_features, label_head, label_queue):
        monkeypatch.setattr(module, "run_cells", take)
    monkeypatch.setattr(context, "make_pool", lambda pool, folder: None)
    monkeypatch.setattr("bdgan_lib.experiments.analysis.make_pool", lambda pool, folder: None)
    return written


def check_cell(key, factors, settings, result) -> None:
    """A result has the cell with these settings."""
    (row,) = rows(result, **dict(zip(factors, key, strict=False)))[: 1 if len(key) < len(factors) else None]
    measured = {"images"}  # of a set, which may hold fewer
    wanted = {k: v for k, v in json.loads(json.dumps(settings)).items() if k not in measured}
    assert wanted.items() <= row.items(), key


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in {"gap", *UNFINISHED}])
def test_a_result_written_before_rows_held_all_factors_reads_like_one_written_now(name, tmp_path, asked):
    """The shipped results are such files: each has the cells, factors and settings its experiment has now."""
    profile = load_profile("pocket")
    EXPERIMENTS[name](profile, tmp_path)
    (factors, cells), result = asked[name], shipped_result(profile, name)
    given = [row for row in rows(result) if "photographs" not in str(row.get("tool"))]  # of a file, if given
    assert result["factors"] == factors and len(given) == len(cells)
    for key, settings in cells.items():
        check_cell(key, factors, settings, result)
    assert with_factors(result) == result


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_result_is_one_that_its_experiment_goes_on_from(name, tmp_path, asked):
    profile = load_profile("pocket")
    EXPERIMENTS[name](profile, tmp_path)
    (factors, cells), result = asked[name], earlier_result(UNFINISHED[name])
    assert result["generator_sha256"] == profile.generator().sha256
    assert len(result["cells"]) + result["missing"] == len(cells) and result["missing"] > 0
    for row in rows(result):
        key = tuple(row[factor] for factor in factors)
        check_cell(key, factors, cells[key], result)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seconds": null}'])
def test_a_damaged_cell_is_named(tmp_path, text):
    run(tmp_path, lambda s: {"score": 1})
    path = next((tmp_path / "test").iterdir())
    path.write_text(text)
    with pytest.raises(BdganError, match=f"{path}.*measures it anew"):
        run(tmp_path, lambda s: {"score": 1})
