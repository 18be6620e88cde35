"""The command line: a mistake is one line and exit code 2, and leaves nothing behind."""

import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bdgan_lib import cli
from bdgan_lib.checkpoints.download import RECORD
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.generators.biggan_deep import load_biggan_deep
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.heads.files import load_head
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.shipped import record_assets


@pytest.fixture
def folder(tmp_path, monkeypatch, biggan):
    """An empty folder to work in; the assets (a fresh generator and two annotations) stand elsewhere."""
    assets = tmp_path / "assets" / "pocket"
    (assets / "biggan").mkdir(parents=True)
    monkeypatch.setenv("BDGAN_ASSETS", str(assets.parent))
    (assets / "biggan/config.json").write_text(json.dumps(biggan.config.to_dict()))
    save_file(biggan.state_dict(), assets / "biggan/model.safetensors")
    profile = load_profile("pocket")
    generator = load_biggan_deep(assets / "biggan", profile.classes)
    for class_id in (0, 1):
        name = profile.classes[class_id]
        mask = np.tri(32, dtype=np.uint8)
        AnnotationStore(assets / "annotations").add(
            Annotation(sample_id(name, 0), name, class_id, 0, Sampling(), generator.sha256, mask, "test")
        )
    record_assets(profile.folder)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def bdgan(monkeypatch, *arguments):
    """The exit code of `bdgan ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


def refused(monkeypatch, capsys, folder, *arguments):
    """The one line that refuses these arguments."""
    assert bdgan(monkeypatch, *arguments) == 2
    line = capsys.readouterr().err
    assert line.startswith("bdgan: ") and line.count("\n") == 1
    assert list(folder.iterdir()) == [], "nothing written"
    return line


def test_info_verifies_and_describes(folder, monkeypatch, capsys):
    assert bdgan(monkeypatch, "info") == 0
    said = capsys.readouterr().out
    assert "6 files verified" in said and "blue jay" in said and "block5 4x32x32" in said


def test_sample_draws_a_row_per_class(folder, monkeypatch):
    arguments = ("sample", "--out", "deep/sheet.png", "--classes", "robin, mug", "--count", 3)
    assert bdgan(monkeypatch, *arguments) == 0
    sheet = decode_png((folder / "deep/sheet.png").read_bytes())
    assert sheet.shape == (2 * 34 + 2, 3 * 34 + 2, 3)
    assert bdgan(monkeypatch, *arguments[:2], "again.png", *arguments[3:]) == 0
    assert np.array_equal(decode_png((folder / "again.png").read_bytes()), sheet)


def test_a_head_is_trained_and_labels_a_data_set(folder, monkeypatch):
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 2) == 0
    head = load_head(folder / "head")
    plain = ("--keep-confident", 1, "--workers", 1)
    assert bdgan(monkeypatch, "synthesize", "--out", "data", "--images", 2, "--head", "head", *plain) == 0
    data = ShardedSet(folder / "data")
    images, masks, class_ids = data.arrays()
    assert images.shape == (24, 32, 32, 3) and masks.max() <= 1
    assert np.bincount(class_ids).tolist() == [2] * 12
    assert json.loads((folder / "data/manifest.json").read_text())["spec"]["head_sha256"] == head.sha256
    assert bdgan(monkeypatch, "sample", "--out", "s.png", "--count", 1, "--head", "head") == 0
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 3) == 2
    assert load_head(folder / "head").sha256 == head.sha256, "a finished head stays"


def test_a_data_set_is_described_validated_and_exported(make_set, tmp_path, monkeypatch, capsys):
    folder = make_set().folder
    assert bdgan(monkeypatch, "describe", folder) == 0
    assert bdgan(monkeypatch, "validate", folder) == 0
    assert bdgan(monkeypatch, "export", folder, "--to", "yolo-seg", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "README.md, croissant.json" in said and f"{folder}: whole" in said
    assert "11 images for yolo-seg, mean IoU with the masks 0." in said and "became background" in said
    assert bdgan(monkeypatch, "export", folder, "--to", "coco", "--out", tmp_path / "out") == 2
    assert "exists and is not written over" in capsys.readouterr().err
    shard = folder / "shard_00001.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert bdgan(monkeypatch, "validate", folder) == 2
    assert "shard_00001.tar is damaged" in capsys.readouterr().out


def test_an_ensemble_is_trained_and_labels_too(folder, monkeypatch):
    arguments = ("train-head", "--out", "head", "--steps", 2, "--members", 3, "--seed", 5)
    assert bdgan(monkeypatch, *arguments) == 0
    assert load_head(folder / "head").config.architecture.members == 3
    assert sorted(p.name for p in (folder / "head").iterdir()) == ["head.json", "head.safetensors"]
    assert bdgan(monkeypatch, "sample", "--out", "s.png", "--count", 1, "--head", "head") == 0


def test_the_second_generator_learns_labels_samples_and_labels_pictures(folder, monkeypatch, vqgan, capsys):
    """The same commands on another profile, and one more that only it has."""
    network = VQGANNetwork(replace(vqgan.config, num_classes=12))
    network.load_state_dict(
        vqgan._network.state_dict()
    )  # classes are tokens: no weight depends on their number
    assets = folder.parent / "assets/pocket/vqgan"
    assets.mkdir()
    save_file(
        {k: v for k, v in network.state_dict().items() if "mask" not in k}, assets / "model.safetensors"
    )
    (assets / "config.json").write_text(json.dumps(asdict(network.config)))
    record_assets(load_profile("pocket").folder)

    other = ("--profile", "pocket-vqgan")
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 2, *other) == 0
    codes = ("--top-k", 9, "--top-p", 0.8, "--temperature", 1.3)
    assert (
        bdgan(
            monkeypatch,
            "synthesize",
            "--out",
            "data",
            "--images",
            1,
            "--head",
            "head",
            "--keep-confident",
            1,
            "--workers",
            1,
            *codes,
            *other,
        )
        == 0
    )
    spec = json.loads((folder / "data/manifest.json").read_text())["spec"]
    assert spec["sampling"] == Sampling(top_k=9, top_p=0.8, temperature=1.3).to_json()
    for k, shape in enumerate([(50, 90, 3), (32, 32, 3)]):
        picture = np.random.default_rng(k).integers(0, 256, shape, np.uint8)
        (folder / f"photo{k}.png").write_bytes(encode_png(picture))
    arguments = ("photo0.png", "photo1.png", "--class", "mug", "--head", "head", "--out", "found")
    assert bdgan(monkeypatch, "label", *arguments) == 0
    masks = [decode_png((folder / f"found/photo{k}.png").read_bytes()) for k in range(2)]
    assert all(mask.shape == (32, 32) and mask.max() <= 1 for mask in masks)
    assert decode_png((folder / "found/sheet.png").read_bytes()).shape == (2 * 34 + 2, 2 * 34 + 2, 3)

    for said, wrong in {
        "takes top_k, top_p": ("sample", "--out", "a.png", "--truncation", 0.5, *other),
        "only VQGAN takes them": ("sample", "--out", "a.png", "--top-k", 5),
        "cannot encode pictures": ("label", *arguments[:-1], "other", "--profile", "pocket"),
        "no class 'dodo'": ("label", "photo0.png", "--class", "dodo", *arguments[4:-1], "other"),
        "not a readable picture": ("label", "head/head.json", *arguments[2:-1], "other"),
    }.items():
        capsys.readouterr()
        assert bdgan(monkeypatch, *wrong) == 2
        assert said in capsys.readouterr().err and not (folder / "other").exists()


@pytest.mark.parametrize("format", ["coco", "labelme", "cvat", "label-studio", "png"])
def test_labels_go_to_another_tool_and_come_back(folder, monkeypatch, capsys, format):
    assets = folder.parent / "assets/pocket/annotations"
    assert bdgan(monkeypatch, "export-labels", assets, "--to", format, "--out", "out") == 0
    assert "2 images with labels" in capsys.readouterr().out
    sheet = decode_png((folder / "out/images/robin_00000000.png").read_bytes())
    assert sheet.shape == (32, 32, 3) and sheet.std() > 0
    assert bdgan(monkeypatch, "import-labels", "out", "--from", format, "--out", "store") == 0
    assert capsys.readouterr().out == "store: 2 annotations imported\n"
    for path in assets.glob("*.*"):
        assert (folder / "store" / path.name).read_bytes() == path.read_bytes()
    samples = json.loads((folder / "out/samples.json").read_text())
    samples["robin_00000000"]["extra"] = {"x": float("nan")}
    samples["blue_jay_00000000"]["seed"] = 5
    (folder / "out/samples.json").write_text(json.dumps(samples))
    assert bdgan(monkeypatch, "import-labels", "out", "--from", format, "--out", "store") == 2
    said = capsys.readouterr().out.splitlines()
    assert (
        said[0].startswith("store: 0 ")
        and "extra is not JSON" in said[1] + said[2]
        and "seed" in said[1] + said[2]
    )
    assert sorted(path.name for path in folder.iterdir()) == ["out", "store"]


def test_the_experiments_are_listed(folder, monkeypatch, capsys):
    assert bdgan(monkeypatch, "experiment", "list") == 0
    assert "label-head" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("info", "--profile", "dodo"), "'dodo'"),
        (("sample", "--out", "a.png", "--profile", "dodo"), "'dodo'"),
        (("sample", "--out", "a/b.png", "--classes", "robin,dodo"), "'dodo'"),
        (("sample", "--out", "a/b.png", "--truncation", "1.5"), "1.5"),
        (("sample", "--out", "a/b.png", "--head", "nowhere"), "nowhere"),
        (("train-head", "--out", "head", "--profile", "dodo"), "'dodo'"),
        (("train-head", "--out", "head", "--variant", "dodo"), "'dodo'"),
        (("train-head", "--out", "head", "--accelerator", "dodo"), "dodo"),
        (("train-head", "--out", "head", "--accelerator", "cuda", "--devices", "99"), "99 x cuda"),
        (("train-head", "--out", "head", "--precision", "dodo"), "dodo"),
        (("experiment", "dodo"), "'dodo'"),
        (("experiment", "label-queue", "--workers", "2"), "leave --device and --workers out"),
        (("synthesize", "--out", "data", "--profile", "dodo"), "'dodo'"),
        (("synthesize", "--out", "data", "--head", "nowhere"), "nowhere"),
        (("synthesize", "--out", "data", "--truncation", "0", "--images", "1"), "truncation"),
        (("annotate", "--out", "labels", "--profile", "dodo"), "'dodo'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(folder, monkeypatch, capsys, arguments, named):
    if arguments[0] == "synthesize":  # trains a head of its own before it reads the truncation
        monkeypatch.setattr(
            "bdgan_lib.heads.training.train_head",
            lambda *_: pytest.fail("work before the arguments were checked"),
        )
    assert named in refused(monkeypatch, capsys, folder, *arguments)


@pytest.mark.parametrize("arguments", [("dodo",), ("sample",), ("sample", "--out", "a.png", "--count", "0")])
def test_usage_errors_exit_with_2_too(folder, monkeypatch, arguments):
    assert bdgan(monkeypatch, *arguments) == 2
    assert list(folder.iterdir()) == []


def test_a_damaged_asset_is_one_line_with_both_sha256(folder, monkeypatch, capsys):
    path = load_profile("pocket").folder / "biggan/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    line = refused(monkeypatch, capsys, folder, "info")
    assert str(path) in line and "expected sha256" in line and "got" in line


def test_no_space_left_is_one_line_and_leaves_nothing_half_written(folder, monkeypatch, capsys):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for arguments in (
        ("sample", "--out", "a.png", "--count", 1),
        ("train-head", "--out", "head", "--steps", 1),
    ):
        assert bdgan(monkeypatch, *arguments) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("bdgan: ") and "No space left" in line
    assert [p for p in folder.rglob("*") if p.is_file()] == []


def test_an_error_of_many_lines_is_told_in_one(monkeypatch, capsys):
    def broken(**_):
        raise cli.BdganError("first\n\tsecond")

    monkeypatch.setattr(cli, "app", broken)
    assert bdgan(monkeypatch) == 2
    assert capsys.readouterr().err == "bdgan: first second\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no network, and the shipped catalogue."""
    monkeypatch.setenv("BDGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BDGAN_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_weights_are_listed_with_licence_and_state_converted_and_verified(cache, monkeypatch, capsys):
    assert bdgan(monkeypatch, "weights", "list") == 0
    said = capsys.readouterr().out
    assert "biggan-deep-256" in said and "Apache-2.0" in said and "not here" in said and str(cache) in said
    torch.save({"conv.weight": torch.ones(2)}, cache / "resnet50-11ad3fa6.pth")
    assert bdgan(monkeypatch, "weights", "fetch", "resnet50") == 0
    said = capsys.readouterr().out
    assert "BSD-3-Clause" in said.splitlines()[0], "the licence comes first"
    assert said.splitlines()[-1] == str(cache / "resnet50.safetensors")
    assert bdgan(monkeypatch, "weights", "verify") == 0
    assert capsys.readouterr().out.count(": whole") == 2
    with (cache / "resnet50.safetensors").open("ab") as file:
        file.write(b"!")
    assert bdgan(monkeypatch, "weights", "verify") == 2
    assert "resnet50.safetensors is damaged: expected sha256" in capsys.readouterr().err


def test_converting_says_which_weights_it_took(cache, monkeypatch, capsys):
    monkeypatch.setattr("bdgan_lib.checkpoints.unpickle.convert_checkpoint", lambda *_: "took g_ema, not g")
    assert bdgan(monkeypatch, "weights", "convert", cache / "c.pt", "--out", cache / "new" / "out") == 0
    assert capsys.readouterr().out.splitlines() == ["took g_ema, not g", str(cache / "new" / "out")]


def test_weights_that_are_unknown_offline_or_malicious_are_refused(cache, monkeypatch, capsys):
    assert bdgan(monkeypatch, "weights", "fetch", "stylegan") == 2
    assert "no weights stylegan; there is biggan-deep-128" in capsys.readouterr().err
    assert bdgan(monkeypatch, "weights", "fetch", "biggan-512") == 2
    assert "nothing is fetched offline" in capsys.readouterr().err
    torch.save({"a": os.getcwd}, cache / "evil.pt")
    assert (
        bdgan(monkeypatch, "weights", "convert", cache / "evil.pt", "--out", cache / "out.safetensors") == 2
    )
    assert "getcwd" in capsys.readouterr().err and not (cache / "out.safetensors").exists()


def test_the_doctor_and_the_import_speak_in_lines(cache, monkeypatch, capsys):
    assert bdgan(monkeypatch, "doctor", "--profile", "imagenet-128") == 0
    assert "next: bdgan weights fetch biggan-deep-128 resnet50" in capsys.readouterr().out
    assert bdgan(monkeypatch, "import-release", cache, "--profile", "imagenet-128") == 2
    assert "use release-512" in capsys.readouterr().err
    assert bdgan(monkeypatch, "sample", "--out", "x.png", "--profile", "release-512") == 2
    assert "put biggan512-release.pt there" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_with_a_way_to_report_it(monkeypatch, capsys):
    def broken(**_):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setenv("BDGAN_DEBUG", "0")
    assert bdgan(monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("bdgan: unexpected RuntimeError: first second; please report it at http")
    assert said.count("\n") == 1 and "BDGAN_DEBUG=1" in said
    monkeypatch.setenv("BDGAN_DEBUG", "1")
    assert bdgan(monkeypatch) == 1
    assert "Traceback" in (said := capsys.readouterr().err) and said.splitlines()[-1].startswith("bdgan: ")


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_may_stand_anywhere(folder, monkeypatch, capsys, place):
    monkeypatch.setenv("BDGAN_DEBUG", "0")  # and is put back
    arguments = ["info", "--profile", "dodo"]
    arguments.insert(place, "--debug")
    assert bdgan(monkeypatch, *arguments) == 2 and "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_one_line(folder, monkeypatch, capsys):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.networks, "load_profile", stopped)
    assert bdgan(monkeypatch, "info") == 130 and capsys.readouterr().err == "bdgan: stopped\n"


def test_a_file_that_ends_early_is_an_error_as_any_other(folder, monkeypatch, capsys):
    def ended(_):
        raise EOFError("Ran out of input")

    monkeypatch.setattr(cli.networks, "load_profile", ended)
    assert bdgan(monkeypatch, "info") == 1
    assert "bdgan: unexpected RuntimeError: a file ended too early" in capsys.readouterr().err


STOPPED = """
import os, signal, sys, time
from pathlib import Path
from bdgan_lib import cli
from bdgan_lib.core.io import atomic_folder

def load_profile(_):
    with atomic_folder(Path("made")) as folder:
        (folder / "model.json").write_text("{}")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

cli.networks.load_profile, sys.argv = load_profile, ["bdgan", "info"]
cli.main()
"""


def test_sigterm_leaves_nothing_half_written(tmp_path):
    run = subprocess.run([sys.executable, "-c", STOPPED], cwd=tmp_path, capture_output=True, timeout=120)
    assert run.returncode == 143 and list(tmp_path.iterdir()) == []


def test_ctrl_c_is_one_line_whatever_a_library_makes_of_it(folder, monkeypatch, capsys):
    def exported(_):
        try:
            try:
                raise KeyboardInterrupt
            finally:
                torch.no_such_name_as_it_is_half_imported()
        except AttributeError as error:
            raise BdganError("the network cannot be written") from error

    monkeypatch.setattr(cli.networks, "load_profile", exported)
    assert bdgan(monkeypatch, "info") == 130 and capsys.readouterr().err == "bdgan: stopped\n"


@pytest.mark.parametrize("device", ["foo", "mps", "meta", "cuda:99", ""])
@pytest.mark.parametrize("command", ["sample", "synthesize", "tutorial", "figures"])
def test_a_device_that_is_not_here_is_refused_before_any_work(folder, monkeypatch, capsys, command, device):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for room in (cli.networks, cli.datasets):
        monkeypatch.setattr(room, "load_profile", lambda _: pytest.fail("work before the device was checked"))
    line = refused(monkeypatch, capsys, folder, command, "--out", "out", "--device", device)
    assert f"no device {device!r} on this machine; there is cpu" in line


@pytest.mark.parametrize("seed", [10**26, 2**63, -1])
def test_a_seed_that_no_generator_takes_is_refused(folder, monkeypatch, capsys, seed):
    for arguments in (("sample", "--first-seed", seed), ("train-head", "--seed", seed)):
        assert bdgan(monkeypatch, *arguments, "--out", "out") == 2
        assert "Invalid value" in capsys.readouterr().err and list(folder.iterdir()) == []


def test_the_largest_seed_draws_and_trains(folder, monkeypatch):
    assert bdgan(monkeypatch, "sample", "--out", "a.png", "--count", 1, "--first-seed", 2**62) == 0
    assert bdgan(monkeypatch, "train-head", "--out", "head", "--steps", 1, "--seed", 2**62) == 0


@pytest.mark.parametrize("record", ["[1", "[1]", '{"resnet50-11ad3fa6.pth": 1}', "\udcff"])
def test_a_damaged_cache_record_is_named(cache, monkeypatch, capsys, record):
    (cache / "resnet50-11ad3fa6.pth").write_bytes(b"x")
    (cache / RECORD).write_bytes(record.encode(errors="surrogateescape"))
    for command in ("list", "verify"):
        assert bdgan(monkeypatch, "weights", command) == 2
        assert str(cache / RECORD) in (said := capsys.readouterr().err) and said.count("\n") == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_what_the_terminal_cannot_show_is_escaped(folder, monkeypatch, encoding):
    shown = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    assert bdgan(monkeypatch, "sample", "--out", "größe→.png", "--count", 1, "--classes", "robin") == 0
    shown.flush()
    expected = "größe→.png\n".encode(encoding, "backslashreplace")
    assert shown.buffer.getvalue() == expected and (folder / "größe→.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                      {"PYTHONIOENCODING": "cp1252"}], ids=str)  # fmt: skip
def test_a_process_of_a_poor_locale_works_and_refuses_in_one_line(folder, settings):
    for arguments, code in (
        (("sample", "--out", "größe→.png", "--count", "1"), 0),
        (("info", "--profile", "→"), 2),
    ):
        command = [sys.executable, "-m", "bdgan_lib.cli", *arguments]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True)
        assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr
        assert (done.stdout + done.stderr).count(b"\n") == 1
    assert (folder / "größe→.png").exists()


@pytest.fixture
def exported(folder, monkeypatch, capsys):
    """Two annotations, exported to `out` as PNG; what `out` holds."""
    assets = folder.parent / "assets/pocket/annotations"
    assert bdgan(monkeypatch, "export-labels", assets, "--to", "png", "--out", "out") == 0
    capsys.readouterr()
    return everything(folder / "out")


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("out", ["out", "out/images", "out/new/er", "link", "other"])
def test_labels_are_imported_into_a_folder_of_annotations_or_a_new_one(
    folder, monkeypatch, capsys, exported, out
):
    (folder / "link").symlink_to("out")
    (folder / "other").mkdir()
    (folder / "other/robin_00000000.png").write_bytes(b"mine")
    assert bdgan(monkeypatch, "import-labels", "out", "--from", "png", "--out", out) == 2
    said = capsys.readouterr()
    told = f"{out} holds", f"{out} is or lies in out", f"{out} is out, which the command reads"
    assert said.out == "" and any(part in said.err for part in told)
    assert everything(folder / "out") == exported
    assert [path.name for path in (folder / "other").iterdir()] == ["robin_00000000.png"]


def test_a_picture_where_a_mask_belongs_stays_and_is_named(folder, monkeypatch, capsys, exported):
    call = ("import-labels", "out", "--from", "png", "--out", "store")
    assert bdgan(monkeypatch, *call) == 0
    (folder / "store/robin_00000000.json").unlink()
    (folder / "store/robin_00000000.png").write_bytes(b"mine")
    assert bdgan(monkeypatch, *call) == 0
    said = capsys.readouterr().out
    assert "store: 1 annotations imported" in said and "robin_00000000.png is no mask of this store" in said
    assert (folder / "store/robin_00000000.png").read_bytes() == b"mine"


def test_an_import_locks_a_new_store_and_removes_it_if_nothing_was_taken(
    folder, monkeypatch, capsys, exported
):
    def none(*_):
        with pytest.raises(BdganError, match="another session"), AnnotationStore("a/store").writing():
            pass
        return [], []

    monkeypatch.setattr("bdgan_lib.datasets.formats.exchange.import_annotations", none)
    assert bdgan(monkeypatch, "import-labels", "out", "--from", "png", "--out", "a/store") == 2
    assert [path.name for path in folder.iterdir()] == ["out"]


def test_the_oracle_replaces_no_labels_of_others(folder, monkeypatch, capsys):
    assets = AnnotationStore(folder.parent / "assets/pocket/annotations")
    oracle = [replace(one, annotator="oracle") for one in assets]
    monkeypatch.setattr("bdgan_lib.profiles.annotated.annotate", lambda *_: oracle)
    person = replace(oracle[0], annotator="me", mask=1 - oracle[0].mask)
    store = AnnotationStore("store")
    store.add(person)
    assert bdgan(monkeypatch, "annotate", "--out", "store") == 0
    assert capsys.readouterr().out == "store: 2 annotations\n  1 labels of others stand already and stay\n"
    assert store.load(person.id).annotator == "me"
    assert bdgan(monkeypatch, "annotate", "--out", "store") == 0, "its own are made anew"
    store.add(replace(oracle[1], annotator="me"))
    before = everything(folder)
    assert bdgan(monkeypatch, "annotate", "--out", "store") == 2
    assert "nothing is new" in capsys.readouterr().err and everything(folder) == before


def test_the_tutorial_writes_through_no_link_and_names_what_is_no_notebook(folder, monkeypatch, capsys):
    (folder / "out").mkdir()
    (folder / "out/00_start.ipynb").symlink_to(folder / "theirs")
    monkeypatch.setattr("bdgan_lib.cli.tutorial.notebooks_folder", lambda: folder / "shipped")
    (folder / "shipped").mkdir()
    (folder / "shipped/00_start.ipynb").write_text("{}")
    assert bdgan(monkeypatch, "tutorial", "--out", "out", "--no-run") == 2
    assert "00_start.ipynb is a link" in capsys.readouterr().err and not (folder / "theirs").exists()
    (folder / "theirs").write_text("mine")
    assert bdgan(monkeypatch, "tutorial", "--out", "out") == 2
    assert "00_start.ipynb is a link" in capsys.readouterr().err
    assert (folder / "theirs").read_text() == "mine"
    (folder / "out/00_start.ipynb").unlink()
    for text in ("{}", '{"cells": [], "nbformat": 4, "nbformat_minor": 5}', "[]", '{"cells": [{}]}'):
        (folder / "out/00_start.ipynb").write_text(text)
        assert bdgan(monkeypatch, "tutorial", "--out", "out") == 2
        assert "00_start.ipynb is no readable notebook" in capsys.readouterr().err


def test_an_address_in_memory_is_refused_before_any_work_of_several_processes(monkeypatch, capsys):
    monkeypatch.setattr("bdgan_lib.cli.datasets.load_profile", lambda *_: pytest.fail("work"))
    assert bdgan(monkeypatch, "synthesize", "--out", "memory://bucket/set", "--workers", 2) == 2
    assert "in the memory of one process" in capsys.readouterr().err
