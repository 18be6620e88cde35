"""`bdgan synthesize`: what cannot succeed is refused before a head is trained or a byte is written."""

import errno
import json
import os

import pytest

from bdgan_lib.datasets import shards

from .test_commands import bdgan, folder  # noqa: F401 (a fixture)

ALL = ("--keep-confident", 1, "--keep-agreed", 1)
COMMAND = ("synthesize", "--out", "data", "--images", 2, "--workers", 1, "--head", "head", *ALL)


@pytest.fixture
def no_training(monkeypatch):
    def fail(*_):
        pytest.fail("work before the arguments were checked")

    monkeypatch.setattr("bdgan_lib.heads.training.train_head", fail)
    monkeypatch.setattr("bdgan_lib.heads.files.load_head", fail)


def test_what_cannot_succeed_is_refused_first(folder, no_training, monkeypatch, capsys):  # noqa: F811
    floats = ("keep_confident", "keep_agreed", "truncation", "top_p", "temperature", "gpus")
    cases = [
        (f"--{name.replace('_', '-')}={x}", name) for name in floats for x in ("nan", "inf", "-inf", -0.5)
    ]
    cases += [(f"--first-seed={seed}", "first_seed") for seed in (2**63 - 1, 2**63, 10**26)]
    cases += [
        (f"--images={10**26}", "first_seed"),
        (f"--batch-size={10**12}", "batch_size is 1000000000000; give at most"),
        ("--engine=dodo", "no engine 'dodo'"),
        *((f"--writers={n}", "Invalid value for '--writers'") for n in (-1, 257)),
        ("--top-k=5", "only VQGAN takes them"),
    ]
    for option, text in cases:
        assert bdgan(monkeypatch, "synthesize", "--out", "data", option) == 2
        assert text in " ".join(capsys.readouterr().err.split()).replace("--gpus", "gpus"), option
    for command, option in (("train-head", "--seed"), ("sample", "--first-seed")):
        assert bdgan(monkeypatch, command, "--out", "x", option, 10**26) == 2
    assert list(folder.iterdir()) == []


def test_a_folder_of_the_user_s_is_refused_first(folder, no_training, monkeypatch, capsys):  # noqa: F811
    for name in ("README.md", "photo.png", "calibration.json", "manifest.json"):
        data = folder / name.partition(".")[0]
        data.mkdir()
        (data / name).write_text("{}")
        assert bdgan(monkeypatch, "synthesize", "--out", data) == 2
        assert name in capsys.readouterr().err
        assert [path.read_text() for path in data.iterdir()] == ["{}"]


def test_thresholds_stay_in_a_folder_that_is_refused(folder, no_training, monkeypatch, capsys):  # noqa: F811
    for name in ("mine.tar", "shard_00099.tar"):
        data = folder / name.partition(".")[0]
        data.mkdir()
        (data / "calibration.json").write_text('{"asked_sha256": ""}')
        (data / name).write_text('"generator_sha256"')
        before = {path.name: path.read_bytes() for path in data.iterdir()}
        assert bdgan(monkeypatch, "synthesize", "--out", data, "--images", 2) == 2
        assert f"{name} is no shard of this data set" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_other_settings_are_named_before_any_work(folder, monkeypatch, capsys):  # noqa: F811
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 1) == 0
    command = (*COMMAND, "--writers", 2)
    assert bdgan(monkeypatch, *command) == 0 and bdgan(monkeypatch, *command) == 0
    before = {path.name: path.read_bytes() for path in (folder / "data").iterdir()}
    monkeypatch.setattr("bdgan_lib.heads.files.load_head", lambda *_: pytest.fail("work before the check"))
    for option, value in (("--first-seed", 7), ("--images", 3), ("--truncation", 0.5)):
        capsys.readouterr()
        assert bdgan(monkeypatch, *command, option, value) == 2
        assert "belongs to a data set of other settings" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "data").iterdir()} == before
    assert json.loads(before["manifest.json"])["spec"]["filters"]["max_divergence"] is None


def test_a_full_disk_is_one_line_that_says_how_to_go_on(folder, monkeypatch, capsys):  # noqa: F811
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 1) == 0
    arguments = (*COMMAND, "--writers", 1, "--shard-size", 12, "--batch-size", 12)
    write = shards.write_atomic

    def until_full(path, data):
        if path.name == "shard_00001.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_atomic", until_full)
        assert bdgan(monkeypatch, *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bdgan:")]
    assert "No space left" in line and "finished shards are kept" in line
    assert (folder / "data/shard_00000.json").exists() and not (folder / "data/manifest.json").exists()
    assert bdgan(monkeypatch, *arguments) == 0
    assert len(shards.ShardedSet(folder / "data")) == 24
