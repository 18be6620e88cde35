"""Bad calls of every command: an exit code, a few lines, and the files that were there before."""

from pathlib import Path

import pytest
import typer

from bdgan_lib import cli

from . import test_commands
from .test_commands import bdgan

folder = test_commands.folder  # the fixture

ABSENT, EMPTY, BINARY, PLACE = "absent", "empty.json", "binary.png", "place"
FILES = (ABSENT, EMPTY, BINARY, PLACE, "x" * 300, "größe→", "")
UNWRITABLE = ("binary.png/deep/out", "/proc/nowhere/out")
ANY = ("größe→", "nan", "-1", "x" * 300)
HUGE = (*ANY, str(10**26), str(2**63 - 1))
BAD = {  # by parameter; one that is not here gets ANY
    "out": UNWRITABLE, "cache": UNWRITABLE, "device": ("foo", "meta", "mps", "cuda:99", "cpu:x", ""),
    "first_seed": HUGE, "seed": HUGE, "top_k": HUGE,
    **dict.fromkeys(("folder", "files", "checkpoint", "head", "real", "results", "predictions"), FILES),
}  # fmt: skip
BASE = {  # sound, or soon refused where the command works for long
    "sample": ["--out", "a.png", "--count", "1"], "figures": ["--only", "dodo"], "experiment": ["dodo"],
    "tutorial": ["--out", "t", "--only", "dodo"], "annotate": ["--out", "s"],
    "train-head": ["--out", "h", "--steps", "1", "--variant", "x"],
    "export-onnx": ["--out", "x.onnx", "--head", ABSENT],
    "synthesize": ["--out", "d", "--images", "1", "--head", ABSENT],
    "label": [BINARY, "--out", "l", "--head", ABSENT, "--class", "mug"],
    "export": [PLACE, "--to", "coco", "--out", "e"], "export-labels": [PLACE, "--to", "coco", "--out", "e"],
    "import-labels": [PLACE, "--from", "coco", "--out", "s"],
    "benchmark images": ["--task", "FG/BG", "--out", "b", "--split", "dodo"],
    "weights convert": [BINARY, "--out", "w.safetensors"],
    "benchmark score": ["--task", "FG/BG", "--predictions", PLACE, "--name", "x", "--out", "r.json"],
    "benchmark site": [EMPTY, "--out", "b"], "weights fetch": ["resnet50"], "import-release": [PLACE],
    "validate": [PLACE], "describe": [PLACE], "statistics": [PLACE],
}  # fmt: skip


def commands(group, name=()):
    for word, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*name, word))
    if not hasattr(group, "commands"):
        yield " ".join(name), command_parameters(group)


def command_parameters(command) -> dict:
    return {p.name: p for p in command.params if p.name != "help"}


def bad_calls():
    for name, parameters in commands(typer.main.get_command(cli.app)):
        base = [*name.split(), *BASE.get(name, [])]
        yield [*base, "--dodo"]
        yield [*base, "--profile"]
        yield [*name.split(), *["dodo"] * 4]
        for key, parameter in parameters.items():
            for value in BAD.get(key, ANY) if not getattr(parameter, "is_flag", False) else ():
                flag = next((o for o in parameter.opts if o.startswith("--")), None)
                if flag:
                    yield [*base, flag, value]
                elif name in BASE:  # an argument: in the place of the sound one
                    yield [*name.split(), value, *BASE[name][1:]]
                else:
                    yield [*name.split(), value]


CALLS = list(bad_calls())


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def full(folder, monkeypatch):
    """A working folder that is not empty, no network and a cache of its own."""
    monkeypatch.setenv("BDGAN_CACHE", str(folder.parent / "cache"))
    monkeypatch.setenv("BDGAN_OFFLINE", "1")
    monkeypatch.delenv("BDGAN_DEBUG", raising=False)
    (folder / EMPTY).touch()
    (folder / BINARY).write_bytes(bytes(range(256)) * 9)
    (folder / PLACE).mkdir()
    (folder / PLACE / "mine").write_text("precious", "utf-8")
    return folder


@pytest.mark.slow
def test_a_bad_call_is_told_in_a_few_lines_and_leaves_the_files(full, monkeypatch, capsys):
    assert len(CALLS) >= 200
    before, wrong = contents(full), []
    for call in CALLS:
        code, (out, err) = bdgan(monkeypatch, *call), capsys.readouterr()
        told = out + err
        if code not in (1, 2) or "Traceback" in told or told.count("\n") > 12 or contents(full) != before:
            wrong.append((call, code, told[-300:]))
    assert not wrong


@pytest.mark.parametrize("command", [["sample"], ["synthesize", "--images", "9"]], ids=" ".join)
def test_bfloat16_is_refused_before_any_work_where_it_is_slow(command, full, monkeypatch, capsys):
    monkeypatch.setattr("bdgan_lib.core.precision.bf16_is_fast", lambda device: False)
    before = contents(full)
    assert bdgan(monkeypatch, *command, "--bf16", "--out", "o") == 2 and contents(full) == before
    assert "does not compute in bfloat16; leave bf16 out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["claims", "list"])
def test_what_runs_no_experiment_refuses_the_options_of_one(name, full, monkeypatch, capsys):
    options, before = ("--logger", "csv", "--seeds-from", "0"), contents(full)
    assert bdgan(monkeypatch, "experiment", name, *options) == 2 and contents(full) == before
    assert f"{name} runs no experiment; leave --seeds-from and --logger out" in capsys.readouterr().err
