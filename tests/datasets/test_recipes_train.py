"""Every recipe that can be installed trains as written: in a program of its own, without a network."""

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.shards import ShardedSet
from benchmarks.recipes import CLASS_COUNT, MMSEG, OPTIONS, run, write_pocket_set

PACKAGES = {"smp": "segmentation_models_pytorch", "hf-trainer": "transformers", "ultralytics": "ultralytics"}
UNLABELLED = np.full((64, 64), 255, np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ShardedSet:
    return write_pocket_set(tmp_path_factory.mktemp("pocket") / "set")


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def write_real(recipe: str, written: Path, real: Path) -> None:
    """Real data in the recipe's layout; all but the first image unlabelled, where the format can say so."""
    if recipe == "ultralytics":
        for name in ("images", "labels"):
            shutil.copytree(written / name, real / name)
    elif recipe == "hf-trainer":
        for name in ("images", "masks"):
            (real / name).mkdir(parents=True)
        for n in range(10):
            mask = UNLABELLED.copy()
            mask[:20] = 255 if n else 12
            Image.fromarray(mask).save(real / f"masks/{n}.png")
            Image.fromarray(mask).convert("RGB").save(real / f"images/{n}.png")
    else:
        shutil.copytree(written / "VOCdevkit", real / "VOCdevkit")
        for path in sorted(real.rglob("*.png"))[1:]:
            Image.fromarray(UNLABELLED).save(path)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [*OPTIONS, "mmseg"])
def test_a_recipe_trains_as_it_is_written(recipe, data, tmp_path, monkeypatch):
    """Also with real data. The loss falls, and the model has every class.

    Neither the network nor the user's home is touched.
    """
    if recipe == "mmseg" and MMSEG not in os.environ:
        pytest.skip(f"set {MMSEG} to the interpreter of an environment with mmsegmentation")
    if find_spec(PACKAGES.get(recipe, "torchvision")) is None:  # imported, Ultralytics replaces Image.open
        pytest.skip(f"needs the package of {recipe}")
    out, scratch, real = (tmp_path / name for name in ("out", "scratch", "real"))
    export_set(data, out, recipe=recipe, progress=False)
    write_real(recipe, out, real)
    before = files_of(out)
    monkeypatch.setenv("BDGAN_REAL", str(real))  # of mmseg
    trial = run(recipe, out, scratch, options=f"--real {real} --real-times 2")
    assert trial.fell, trial.losses
    assert trial.classes == CLASS_COUNT[recipe]
    assert trial.asked == "" and not [*(scratch / "home").rglob("*")]
    assert before.items() <= files_of(out).items(), "what was exported stays as it is"
    images = 42 + 2 * 42  # 5 of 48 validate, one is unlabelled; the real ones are shown twice
    shown = {
        "torchvision": f"step {images // 12}/{images // 12} loss",
        "smp": f"step {images // 12}/{images // 12} loss",
        "hf-trainer": "8/8",  # two epochs of 42 images, and twice the one real image with a label
        "ultralytics": "138 train",  # it takes all 48 of a folder
        "mmseg": f"[1][{84 // 16}/{84 // 16}]",
    }
    assert shown[recipe] in trial.text
    if recipe != "ultralytics":
        assert "background" in trial.text and len(re.findall(r"mIoU'?:? +'?\d", trial.text)) >= 2


@pytest.mark.slow
def test_batches_without_labels_give_no_nan(tmp_path):
    """In batches of two there are some in which no pixel has a label."""
    data = write_pocket_set(tmp_path / "set", count=12)
    out, real = tmp_path / "out", tmp_path / "real"
    export_set(data, out, recipe="torchvision", progress=False)
    write_real("torchvision", out, real)
    trial = run("torchvision", out, tmp_path / "scratch", 1, f"--real {real} --real-times 2 --batch 2")
    assert trial.losses and np.isfinite(trial.losses).all() and trial.fell
