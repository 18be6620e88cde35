"""Logs of trainings, read back with TensorBoard's and csv's readers: every step once, whatever happened."""

import csv
import os
import signal
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib import cli
from bdgan_lib.core.types import BdganError
from bdgan_lib.training.checkpoint import Checkpoint
from bdgan_lib.training.file_logs import CSVLog, LogFolder, TensorBoardLog, open_log
from bdgan_lib.training.logs import TrainingLog
from bdgan_lib.training.loop import train
from bdgan_lib.training.supervised import FitConfig, fit


def run(kind: str, folder: Path, dies_at: int | None = None) -> list[float]:
    """Twenty steps with a checkpoint every five; the process is killed at a step."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}

    def loss_of(step: int) -> torch.Tensor:
        if step == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return network(torch.full((4, 3), step / 20)).square().mean() + step

    checkpoint = Checkpoint(folder / "checkpoint.pt", "x", parts)
    with open_log(kind, folder / "logs") as log:
        return train(loss_of, optimizer, 20, schedule, logger=log, checkpoint=checkpoint, save_every=5)


def points(kind: str, folder) -> dict[str, list[tuple[int, float]]]:
    """Name -> steps and values, as the tool of the log reads them."""
    if kind == "csv":
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "step"]
        return {n: [(int(row["step"]), float(row[n])) for row in rows if row[n]] for n in names}
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


@pytest.mark.parametrize("kind", ["tensorboard", "csv"])
def test_a_training_that_was_killed_twice_logs_every_step_once(kind, tmp_path):
    if kind == "tensorboard":
        pytest.importorskip("torch.utils.tensorboard")  # once, before the processes part
    for dies_at in (7, 13):
        process = get_context("fork").Process(target=run, args=(kind, tmp_path, dies_at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    losses = run(kind, tmp_path)
    logged = points(kind, tmp_path / "logs")
    assert set(logged) == {"loss", "learning_rate"}
    assert [step for step, _ in logged["loss"]] == list(range(20)) == [s for s, _ in logged["learning_rate"]]
    assert np.allclose([value for _, value in logged["loss"]], losses, rtol=1e-6)
    assert np.allclose([value for _, value in logged["learning_rate"]], 0.1 * 0.9 ** np.arange(20), rtol=1e-5)


def trained(logger, steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    loss_of = lambda step: network(torch.ones(4, 3)).square().mean()
    return train(loss_of, torch.optim.SGD(network.parameters(), 0.1), steps, logger=logger)


@pytest.mark.parametrize("kind", ["tensorboard", "csv"])
def test_another_training_in_the_same_folder_replaces_the_log(kind, tmp_path):
    for steps in (5, 3):
        with open_log(kind, tmp_path) as log:
            losses = trained(log, steps)
    assert [step for step, _ in points(kind, tmp_path)["loss"]] == [0, 1, 2]
    assert np.allclose([value for _, value in points(kind, tmp_path)["loss"]], losses)


def test_loggers_of_fabric_fabric_itself_and_functions_receive_the_same(tmp_path):
    from lightning_fabric import Fabric
    from lightning_fabric.loggers import CSVLogger

    received = list[tuple[int, float]]()
    losses = trained(lambda figures, step: received.append((step, figures["loss"])))
    assert received == list(enumerate(losses))
    of_fabric = [CSVLogger(tmp_path / name, name="", version="") for name in ("logger", "fabric")]
    trained(of_fabric[0])
    fabric = Fabric(accelerator="cpu", loggers=of_fabric[1])
    trained(fabric)
    of_fabric[1].finalize("success")
    for name in ("logger", "fabric"):
        assert points("csv", tmp_path / name)["loss"] == received


def test_what_is_no_logger_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(BdganError, match="expected a logger with log_metrics or log_dict, or a function"):
        trained("tensorboard")
    with pytest.raises(BdganError, match="expected a logger of none, tensorboard, csv, got 'wandb'"):
        open_log("wandb", tmp_path)
    assert open_log("none", tmp_path) is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["tensorboard", "csv"])
def test_trainings_one_after_the_other_log_to_the_folder_around_them(kind, tmp_path):
    """As their steps go on; one that is given a logger logs there, and one outside logs nowhere."""
    logs, own = LogFolder(kind, tmp_path), list[int]()
    with logs.log_to("FG/BG", 7):
        losses = trained(None, 3)
        trained(lambda figures, step: own.append(step))
        losses += trained(None, 2)
    with logs.log_to("..", "other"):
        trained(None, 1)
    trained(None)
    logged = points(kind, tmp_path / "FG%2FBG/7")["loss"]
    assert [step for step, _ in logged] == [0, 1, 2, 3, 4] and own == [0, 1, 2]
    assert np.allclose([value for _, value in logged], losses)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["%2E.", "FG%2FBG"]
    assert len(points(kind, tmp_path / "%2E./other")["loss"]) == 1


def test_other_names_are_other_folders(tmp_path):
    names = ["a/b", "a_b", "a b", "a\\b", "", "..", ".", "%", "é"]
    for name in names:
        with LogFolder("csv", tmp_path).log_to(name):
            trained(None, 1)
    assert len(list(tmp_path.glob("*/metrics.csv"))) == len(names)


def test_a_folder_of_logs_is_refused_before_the_first_training(tmp_path, monkeypatch):
    with pytest.raises(BdganError, match="got 'wandb'"):
        LogFolder("wandb", tmp_path)
    monkeypatch.setattr("bdgan_lib.training.file_logs.find_spec", lambda name: None)
    with pytest.raises(BdganError, match="tensorboard is not installed"):
        LogFolder("tensorboard", tmp_path)


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    (tmp_path / "metrics.csv").write_text("learning_rate,loss,step\n0.1,1.5,0\n0.1,0.7", encoding="utf-8")
    with CSVLog(tmp_path) as log:
        TrainingLog(log).write(1, {"loss": 0.5, "learning_rate": 0.1})
    assert points("csv", tmp_path)["loss"] == [(0, 1.5), (1, 0.5)]


def test_pictures_stand_in_tensorboard_under_the_stage(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    picture = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    with TensorBoardLog(tmp_path) as log:
        stage = TrainingLog(log).at("codes", 100)
        stage.write(3, {"loss": 1.0})
        stage.image("samples", 3, picture)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Images("codes/samples")
    assert (event.step, event.width, event.height) == (103, 4, 6)
    from bdgan_lib.core.image_codecs import decode_png

    assert np.array_equal(decode_png(event.encoded_image_string), picture)


def test_fit_and_pre_training_log_each_step():
    pytest.importorskip("lightly")
    from bdgan_lib.downstream import PretrainConfig, pretrain

    steps: dict[str, list[int]] = {"fit": [], "pretrain": []}
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3, stride=2), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    network(torch.zeros(1, 3, 32, 32))
    config = FitConfig(steps=3, batch_size=4)
    fit(network, images, np.zeros(16, np.int64), config, logger=lambda _, step: steps["fit"].append(step))
    config = PretrainConfig(steps=3, batch_size=8)
    pretrain("simclr", images, config=config, logger=lambda _, step: steps["pretrain"].append(step))
    assert steps == {"fit": [0, 1, 2], "pretrain": [0, 1, 2]}


@pytest.mark.slow
def test_the_command_logs_into_the_head_s_folder(tmp_path, monkeypatch):
    arguments = ["train-head", "--out", str(tmp_path / "head"), "--steps", "4", "--logger", "tensorboard"]
    monkeypatch.setattr(sys, "argv", ["bdgan", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    logged = points("tensorboard", tmp_path / "head/logs")
    assert [step for step, _ in logged["loss"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "command",
    [
        ["train-head"],
        ["train-generator", "pictures"],
        ["experiment", "set-size"],
        ["benchmark", "train", "pictures", "--task", "Bird"],
    ],
    ids=" ".join,
)
def test_a_missing_tensorboard_is_one_line_before_any_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bdgan_lib.training.file_logs.find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(sys, "argv", ["bdgan", *command, "--out", "x", "--logger", "tensorboard"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and "pip install 'bdgan-lib[loggers]'" in said
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
