"""`bdgan benchmark`: images out, predictions in, a result, a page; a mistake is one line, nothing written."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib import cli
from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.seeds import SeedRange
from bdgan_lib.downstream.benchmark.result import load_result
from bdgan_lib.profiles import pocket
from bdgan_lib.worlds.pocket import render_set


@pytest.fixture
def bdgan(monkeypatch, tmp_path):
    """bdgan(arguments...): the exit code; the pocket's splits have 36 images, its folder is empty."""
    splits = {"validation": SeedRange(30_120_000, 24), "test": SeedRange(30_240_000, 36)}
    monkeypatch.setattr(pocket, "REAL_ANNOTATED", splits)
    monkeypatch.setattr(pocket.PocketRenderer, "real", lambda _, count, first: render_set(count, first))
    monkeypatch.setattr(pocket, "_split", pocket._split.__wrapped__)  # not what others have rendered
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bdgan", "benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0

    return run


def test_a_network_is_trained_predicts_and_is_scored(bdgan, tmp_path, capsys):
    pytest.importorskip("timm")
    for split in ("validation", "test"):
        assert bdgan("images", "--task", "Fish", "--split", split, "--out", split) == 0
    train = ("train", "validation", "test", "--task", "Fish", "--steps", "3", "--batch-size", "4")
    start = ("--init", "timm:resnet18@random", "--decoder", "smp:FPN", "--out", "net")
    assert bdgan(*train, *start) == 0
    assert "nats after 3 steps on 15 images" in capsys.readouterr().out
    assert bdgan("predict", "net", "test/images", "--out", "masks") == 0
    assert "masks: 9 masks of 4 labels" in capsys.readouterr().out
    score = ("score", "--task", "Fish", "--predictions", "masks", "--name", "net", "--out", "net.json")
    assert bdgan(*score) == 0 and 0 < load_result(tmp_path / "net.json").miou < 1
    capsys.readouterr()
    for arguments, text in (
        ((*train, "--out", "net"), "net exists and is not written over"),
        ((*train, "--out", "new", "--decoder", "smp:Foo"), "expected a decoder smp:NAME of Unet"),
        ((*train, "--out", "new", "--init", "nothing"), "no start 'nothing': expected timm:NAME, a file"),
        (("train", "net", "--task", "Fish", "--out", "new"), "manifest"),
        (("predict", "test", "test/images", "--out", "new"), "network.json is missing; give a folder of"),
        (("predict", "net", "test", "--out", "new"), "labels.txt"),
    ):
        assert bdgan(*arguments) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("bdgan: ") and text in said
        assert not (tmp_path / "new").exists()


def test_from_images_to_a_page(bdgan, tmp_path, capsys):
    assert bdgan("images", "--task", "Fish", "--out", "fish") == 0
    assert "fish: 9 images with labels" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "fish").iterdir()) == ["images", "labels", "labels.txt"]
    shutil.copytree("fish/labels", "found")
    for path in sorted((tmp_path / "found").iterdir())[:3]:
        path.write_bytes(encode_png(np.zeros_like(decode_png(path.read_bytes()))))
    score = ("score", "--task", "Fish", "--date", "2024-01-01", "--predictions")
    assert bdgan(*score, "found", "--name", "some", "--out", "deep/some.json") == 0
    assert bdgan(*score, "fish/labels", "--name", "all", "--out", "all.json") == 0
    assert "all.json: mIoU 1.0000 (95% 1.0000 to 1.0000) on 9 images" in capsys.readouterr().out
    some = load_result(tmp_path / "deep/some.json")
    assert some.miou < 1 and some.labels == ("background", "clownfish", "angelfish", "trout")
    assert bdgan(*score, "found", "--name", "some", "--out", "again.json", "--labels", "fish/labels") == 0
    assert load_result(tmp_path / "again.json") == some, "labels of the pocket or of its folder, all the same"

    site = ("site", "deep/some.json", "all.json", "--out", "site", "--predictions", "found")
    assert bdgan(*site) == 0
    html = (tmp_path / "site/index.html").read_text("utf-8")
    assert html.count("<img") == 3 * 10 and html.count("<details>") == 2
    assert bdgan(*site, "--labels", "fish/labels", "--images", "fish/images") == 0
    assert (tmp_path / "site/index.html").read_text("utf-8") == html


@pytest.mark.parametrize(("profile", "names"), [("pocket", 5), ("imagenet-256", 7)])
def test_the_tasks_are_listed(bdgan, capsys, profile, names):
    assert bdgan("tasks", "--profile", profile) == 0
    assert len(capsys.readouterr().out.splitlines()) == names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("score", "--task", "Dodo", "--predictions", "p"), "no task 'Dodo' in profile pocket; it has Bird"),
        (("score", "--task", "Fish", "--predictions", "nowhere"), "nowhere is not a folder"),
        (("score", "--task", "Fish", "--predictions", "p"), "9 missing: 'angelfish_30240004.png', "),
        (("score", "--task", "Fish", "--predictions", "p", "--date", "today"), "expected a date YYYY-MM-DD"),
        (("score", "--task", "Fish", "--predictions", "p", "--labels", "nowhere"), "nowhere is not a folder"),
        (("score", "--task", "Dog", "--predictions", "p", "--profile", "imagenet-256"), "never published"),
        (("images", "--task", "Fish", "--split", "dodo"), "no split 'dodo'"),
        (("images", "--task", "Fish", "--out", "p"), "not written over"),
        (("site", "r.json"), "r.json: not a result"),
        (("site", "nowhere.json"), "nowhere.json is missing"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(bdgan, tmp_path, capsys, arguments, told):
    (tmp_path / "p").mkdir()
    (tmp_path / "r.json").write_text(json.dumps({"format": "<script>"}))
    before = sorted(tmp_path.iterdir())
    name = ("--name", "x") if arguments[0] == "score" else ()
    out = () if "--out" in arguments else ("--out", "out")
    assert bdgan(*arguments, *name, *out) == 2
    line = capsys.readouterr().err
    assert told in line and line.startswith("bdgan: ") and line.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before and not list((tmp_path / "p").iterdir())


def test_a_folder_of_bdgan_label_is_scored_and_shown_with_its_overview(bdgan):
    assert bdgan("images", "--task", "Fish", "--out", "fish") == 0
    shutil.copytree("fish/labels", "out")
    Path("out/sheet.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    plain = ("--predictions", "out", "--labels", "fish/labels")
    score = ("score", "--task", "Fish", *plain, "--name", "mine", "--out", "q.json")
    assert bdgan(*score) == 0 and bdgan(*score) == 0, "the same command again"
    assert bdgan("site", "q.json", *plain, "--out", "site") == 0
    assert bdgan("site", "q.json", *plain, "--out", "site") == 0
