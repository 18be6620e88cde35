"""Table 1's cells: what is measured of a set, in which part, and against what."""

import re

import numpy as np
import pytest

from bdgan_lib.cli import main
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest, write_shard
from bdgan_lib.experiments import analysis
from bdgan_lib.experiments.context import ANNOTATED, ExperimentContext, rendered, scenes_of
from bdgan_lib.metrics.fidelity import kernel_distance
from bdgan_lib.metrics.mask_geometry import COLUMNS
from bdgan_lib.profiles import load_profile
from bdgan_lib.worlds.pocket import CLASSES, render_set


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return ExperimentContext("pocket", tmp_path_factory.mktemp("bench"))


def test_real_scenes_against_others_are_what_chance_leaves(bench):
    found = analysis.measure(bench, {"source": rendered(312), "images": 156, "part": 1})
    assert found["images"] == 156 and {*COLUMNS, "SD", "FID", "KID", "mask FID", "coverage"} < set(found)
    scenes, features = (
        scenes_of("pocket", 312, POCKET["rendered"].first),
        load_profile("pocket").quality_features,
    )
    fish = kernel_distance(features(scenes.images[scenes.class_ids == 3]), features(scenes.images))
    assert abs(found["KID"]) < fish / 20, "unbiased, so about 0"
    assert 0.8 < found["coverage"] <= 1 and len(found["coverage by class"]) == 12
    assert found["MI"] == pytest.approx(scenes.masks[156:].mean()), "the second part, and no other"


def test_the_annotated_samples_are_few_and_have_no_distances(bench):
    found = analysis.measure(bench, {"source": ANNOTATED, "images": 2_000, "part": 0})
    assert found["images"] == 60 and "FID" not in found
    assert len(found["SD by class"]) == 12 and np.mean(found["SD by class"]) == pytest.approx(
        found["SD"], abs=1e-4
    )


def test_the_reference_is_nobodys_training_set():
    assert all(POCKET[name].count >= analysis.IMAGES for name in ("rendered", "reference"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of rendered scenes, and a folder of their pictures."""
    place, scenes = tmp_path_factory.mktemp("set"), render_set(150, 34_000_000, 64)
    samples = [
        (LabelledSample(image, mask, int(k), n, f"x_{n:08d}"), {"class_id": int(k)})
        for n, (image, mask, k) in enumerate(zip(scenes.images, scenes.masks, scenes.class_ids, strict=True))
    ]
    write_manifest(place / MANIFEST, [write_shard(place / "shard_00000.tar", samples)], {"classes": CLASSES})
    (place / "pictures").mkdir()
    for n, image in enumerate(scenes.images):
        (place / f"pictures/{n}.png").write_bytes(encode_png(image))
    return place


def test_a_data_set_has_a_row_of_its_own(folder):
    data, profile = ShardedSet(folder), load_profile("pocket")
    found = analysis.of_folder(data, profile, 10_000, sorted((folder / "pictures").iterdir()))
    _, masks, class_ids = data.arrays()
    for name, value in analysis.mask_row(masks, class_ids).items():
        assert found[name] == pytest.approx(value), name
    assert found["FID"] == pytest.approx(0, abs=1e-3), "its own pictures are as close as can be"
    few = analysis.of_folder(data, profile, 48)
    assert few["images"] == 48 and "FID" not in few


def test_sets_and_pictures_that_do_not_fit_are_named(folder, make_set, tmp_path, monkeypatch, capsys):
    with pytest.raises(BdganError, match=r"one size, got 11 of sizes \[\(20, 26\), \(21, 26\)\]"):
        analysis.of_folder(make_set(), load_profile("pocket"), 100)
    (tmp_path / "none").mkdir()
    for real, code in (("none", 2), (None, 0)):
        options = ["--real", str(tmp_path / real)] if real else []
        monkeypatch.setattr("sys.argv", ["bdgan", "statistics", str(folder), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    said = capsys.readouterr()
    assert "none holds no pictures" in said.err and "MI" in said.out and "mask area / image area" in said.out


def test_too_few_pictures_are_told_by_side_and_junk_is_no_picture(folder, tmp_path, monkeypatch, capsys):
    for name in ("@eaDir/1.jpg", ".gitkeep", ".localized", "ehthumbs.db", ".trash/1.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for n in range(2):
        (tmp_path / f"{n}.png").write_bytes(encode_png(np.zeros((64, 64, 3), np.uint8)))
    monkeypatch.setattr("sys.argv", ["bdgan", "statistics", str(folder), "--real", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    told = r"needs at least \d+ pictures on each side; the set has 150, real has 2"
    assert end.value.code == 2 and re.search(told, capsys.readouterr().err)
