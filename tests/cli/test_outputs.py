"""Outputs: no two of a command meet, and a command that writes to this machine refuses an address."""

import inspect
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib import cli
from bdgan_lib.checkpoints.unpickle import convert_checkpoint
from bdgan_lib.cli import networks
from bdgan_lib.cli.benchmark import benchmark_app
from bdgan_lib.cli.options import app
from bdgan_lib.cli.weights import weights_app
from bdgan_lib.core.image_codecs import decode_png, encode_overview, encode_png, is_overview
from bdgan_lib.core.io import as_path
from bdgan_lib.downstream.benchmark.truth import TruthInMemory, predictions
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.heads.training import launch_fabric
from bdgan_lib.synthesis.folder import check_folder

COMMANDS = [
    (group, info.name or info.callback.__name__.replace("_", "-"), info.callback)
    for group, typer in (("", app), ("benchmark", benchmark_app), ("weights", weights_app))
    for info in typer.registered_commands
]


def bdgan(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


def is_path(hint: object) -> bool:
    return hint is Path or any(map(is_path, typing.get_args(hint)))


@pytest.mark.parametrize("address", ["s3://bucket/x", "memory://x", "://x", "what+ever://x"])
@pytest.mark.parametrize(("group", "name", "callback"), COMMANDS, ids=[name for _, name, _ in COMMANDS])
def test_a_path_that_is_an_address_is_refused_before_any_work(
    group, name, callback, address, tmp_path, monkeypatch
):
    """As the command line calls it: with Paths, in which `//` has become `/`."""
    monkeypatch.chdir(tmp_path)
    hints = typing.get_type_hints(callback)
    paths = [key for key in inspect.signature(callback).parameters if is_path(hints[key])]
    for key in paths:
        arguments = dict.fromkeys(inspect.signature(callback).parameters)
        arguments[key] = [Path("a"), Path(address)] if "list" in str(hints[key]) else Path(address)
        with pytest.raises(cli.BdganError, match="expected a local path, got the address"):
            callback(**arguments)
    assert list(tmp_path.iterdir()) == []


OUTPUTS = [
    (name, callback, key)
    for _, name, callback in COMMANDS
    for key in ("out", "cache")
    if key in inspect.signature(callback).parameters
]
FILES = ("sample", "score", "convert", "export-onnx")


@pytest.mark.parametrize(
    ("name", "callback", "key"), OUTPUTS, ids=[f"{name} {key}" for name, _, key in OUTPUTS]
)
def test_an_output_where_nothing_can_be_written_is_told_before_any_work(
    name, callback, key, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("file").touch()
    Path("folder").mkdir()
    for place, text in (
        ("link", "link is a link to nowhere, which does not exist; remove the link, make"),
        ("link/below", "link is a link to nowhere"),
        ("loop", "loop is a link to loop, which does not exist"),
        ("file/below", "file is a file; give a folder"),
        ("folder", "folder is a folder; give a file")
        if name in FILES
        else ("file", "is a file; give a folder"),
    ):
        arguments = dict.fromkeys(inspect.signature(callback).parameters)
        if name == "synthesize":
            with pytest.raises(cli.BdganError, match=text):
                check_folder(as_path(place))
            continue
        with pytest.raises(cli.BdganError, match=text):
            callback(**{**arguments, key: Path(place)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link", "loop"]


@pytest.mark.parametrize("command", ["synthesize", "sample", "annotate", "train-head", "figures"])
def test_a_link_that_leads_nowhere_is_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    assert bdgan(monkeypatch, command, "--out", "link") == 2
    said = capsys.readouterr().err
    assert said.startswith("bdgan: link is a link to nowhere, which does not exist") and said.count("\n") == 1


def test_every_output_but_those_that_take_an_address_is_a_path():
    for _, name, callback in COMMANDS:
        if "out" in (hints := typing.get_type_hints(callback)):
            assert is_path(hints["out"]) == (name != "synthesize")


@pytest.mark.parametrize("command", ["export", "sample", "annotate"])
def test_an_address_is_one_line_and_nothing_is_written(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plain = {"export": ("set", "--to", "coco"), "sample": (), "annotate": ()}[command]
    assert bdgan(monkeypatch, command, *plain, "--out", "s3://bucket/x") == 2
    said = capsys.readouterr().err
    assert said.startswith("bdgan: ") and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["foo://x/y", "://x"])
def test_a_set_at_an_address_that_leads_nowhere_is_one_line_before_any_work(
    address, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bdgan_lib.cli.datasets.load_profile", lambda *_: pytest.fail("work"))
    for arguments in (
        ("synthesize", "--out", address),
        ("validate", address),
        ("describe", address),
        ("statistics", address),
        ("export", address, "--to", "coco", "--out", "x"),
    ):
        assert bdgan(monkeypatch, *arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("bdgan: ") and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


MEETING = [
    ("a/1.jpg", "b/1.png", "sheet.png"),
    ("1.jpg", "1.png"),
    ("1.png", "1.png"),
    ("a/x.png", "a/X.png"),
    ("sheet.jpg",),
    ("a.png", "Sheet.PNG"),
]


@pytest.mark.parametrize("names", MEETING)
def test_pictures_whose_masks_would_meet_are_refused_before_any_work(names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "load_profile", lambda *_: pytest.fail("work"))
    assert bdgan(monkeypatch, "label", *names, "--class", "robin", "--head", "h", "--out", "out") == 2
    said = capsys.readouterr().err
    assert "expected pictures of different names" in said and any(
        f"got {name} beside" in said for name in names
    )
    assert list(tmp_path.iterdir()) == []


class Labeller:
    """Stands in for profile, generator and head."""

    image_size, labels = 16, ("background", "foreground")

    def __call__(self, *_):
        return self

    def __getattr__(self, name):
        return self


def test_masks_beside_their_overview_can_be_scored(tmp_path, monkeypatch):
    labeller = Labeller()
    labeller.class_id = lambda name: 0
    monkeypatch.setattr(networks, "load_profile", lambda *_: labeller)
    monkeypatch.setattr("bdgan_lib.heads.files.load_head", lambda *_: labeller)
    masks = np.random.default_rng(0).integers(0, 2, (2, 16, 16), np.uint8)
    monkeypatch.setattr("bdgan_lib.synthesis.label_real.label_images", lambda *_: (masks, None))
    for name in ("one", "two"):
        (tmp_path / f"{name}.png").write_bytes(encode_png(np.zeros((20, 30, 3), np.uint8)))
    pictures = (tmp_path / "one.png", tmp_path / "two.png")
    out = tmp_path / "out"
    assert bdgan(monkeypatch, "label", *pictures, "--class", "robin", "--head", "h", "--out", out) == 0
    (out / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert decode_png((out / "sheet.png").read_bytes()).ndim == 3
    truth = TruthInMemory(dict(zip(("one", "two"), masks, strict=True)), {})
    task = Task("pocket", "fgbg", ("background", "foreground"), (1,))
    assert [id for id, mask, target in predictions(out, task, truth) if (mask == target).all()] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize("file", ["notes.txt", "broken.png", "drawing.eps"])
def test_a_file_that_is_no_picture_is_named(file, tmp_path, monkeypatch, capsys):
    labeller = Labeller()
    monkeypatch.setattr(networks, "load_profile", lambda *_: labeller)
    monkeypatch.setattr("bdgan_lib.heads.files.load_head", lambda *_: labeller)
    (tmp_path / file).write_bytes(
        {"drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}.get(file, b"x")
    )
    out = tmp_path / "out"
    assert bdgan(monkeypatch, "label", tmp_path / file, "--class", "robin", "--head", "h", "--out", out) == 2
    said = capsys.readouterr().err
    assert file in said and "BytesIO" not in said and not out.exists()


MINE = encode_png(np.full((20, 30, 3), 77, np.uint8))  # a photograph of the user's


@pytest.mark.parametrize(
    ("picture", "there", "told"),
    [("p.png", "p.png", "would replace the picture itself"), ("sub/p.jpg", "p.png", "p.png exists"),
     ("sub/p.jpg", "P.PNG", "P.PNG exists"), ("sub/p.jpg", "sheet.png", "sheet.png exists"),
     ("link.png", "link.png", "would replace the picture itself")],
)  # fmt: skip
def test_masks_replace_no_file_of_the_user_s(picture, there, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "load_profile", lambda *_: pytest.fail("work"))
    Path("sub").mkdir()
    for name in {picture, there}:
        if name.startswith("link"):
            Path("sub/photo.png").write_bytes(MINE)
            Path(name).symlink_to("sub/photo.png")
        else:
            Path(name).write_bytes(MINE)
    assert bdgan(monkeypatch, "label", picture, "--class", "robin", "--head", "h", "--out", ".") == 2
    assert told in capsys.readouterr().err and Path(there).read_bytes() == MINE


@pytest.mark.parametrize("out", ["y.pth", "./sub/../y.pth", "link", "Y.PTH", "other.safetensors"])
def test_a_checkpoint_is_not_converted_onto_a_file_that_is_there(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("link").symlink_to("y.pth")
    Path("other.safetensors").write_bytes(b"mine")
    torch.save({"w": torch.ones(2)}, "y.pth")
    before = Path("y.pth").read_bytes()
    assert bdgan(monkeypatch, "weights", "convert", "y.pth", "--out", out) == 2
    assert "give another path" in capsys.readouterr().err
    assert Path("y.pth").read_bytes() == before and Path("other.safetensors").read_bytes() == b"mine"
    if out != "other.safetensors":
        with pytest.raises(cli.BdganError, match="is the checkpoint itself"):
            convert_checkpoint(Path("y.pth"), Path(out))


OTHERS = {  # what a command would replace -> its call; the file is not of its making
    "s.png": ("sample", "--out", "s.png"),
    "r.json": (
        "benchmark",
        "score",
        "--task",
        "FG/BG",
        "--predictions",
        "p",
        "--name",
        "x",
        "--out",
        "r.json",
    ),
    "o/index.html": ("benchmark", "site", "q.json", "--out", "o"),
    "o/head.json": ("train-head", "--out", "o"),
    "o/head.safetensors": ("train-head", "--out", "o"),
    "o/boxes.json": ("experiment", "boxes", "--out", "o"),
    "o/figures.json": ("figures", "--out", "o"),
}


@pytest.mark.parametrize("file", OTHERS)
def test_an_output_replaces_no_file_that_the_command_did_not_write(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "bdgan_lib.experiments.catalogue.EXPERIMENTS", {"boxes": lambda *_: pytest.fail("work")}
    )
    Path("o").mkdir()
    Path("p").mkdir()
    Path(file).write_bytes(b'{"mine": 1}')
    assert bdgan(monkeypatch, *OTHERS[file]) == 2
    said = capsys.readouterr().err
    assert file in said and "not written over" in said and Path(file).read_bytes() == b'{"mine": 1}'


def test_a_sheet_of_ours_is_told_from_other_pictures():
    picture = np.full((20, 30, 3), 77, np.uint8)
    assert is_overview(encode_overview(picture)) and not is_overview(MINE)
    assert np.array_equal(decode_png(encode_overview(picture)), picture)


@pytest.mark.parametrize(
    "call",
    [("import-labels", "f", "--from", "png"), ("annotate", "f", "--labels", "head"),
     ("benchmark", "site", "q.json", "--predictions", "f")],
)  # fmt: skip
def test_an_output_that_is_an_input_is_refused(call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("f").mkdir()
    Path("link").symlink_to("f")
    for out in ("f", "link", "./f/."):
        assert bdgan(monkeypatch, *call, "--out", out) == 2
        assert "which the command reads" in capsys.readouterr().err and not list(Path("f").iterdir())


@pytest.mark.parametrize("accelerator", ["tpu", "hpu", "gpu", "dodo", "mps", ""])
def test_an_accelerator_that_is_not_here_is_one_line(accelerator, monkeypatch):
    if accelerator == "gpu" and torch.cuda.is_available():
        return
    with pytest.raises(cli.BdganError, match="is not available"):
        launch_fabric(accelerator)


def test_every_count_has_a_maximum():
    checked = {
        ("synthesize", key) for key in ("images", "first_seed", "batch_size")
    }  # in the settings' own words
    for _, name, callback in COMMANDS:
        for key, hint in typing.get_type_hints(callback, include_extras=True).items():
            if {int} & {
                hint,
                *typing.get_args(typing.get_args(hint)[0] if typing.get_args(hint) else int),
            } or (typing.get_args(hint)[:1] == (int,)):
                assert hint.__metadata__[0].max is not None or (name, key) in checked, (name, key)
