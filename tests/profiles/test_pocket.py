"""Profiles: every shipped file is checked before it is used, and a bad one is named."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bdgan_lib import profiles
from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.experiments.runner import shipped_result
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.profiles import annotated, load_profile
from bdgan_lib.profiles.annotated import held_out_ids, training_annotations
from bdgan_lib.profiles.image_folder import load_photographs
from bdgan_lib.profiles.shipped import record_assets
from bdgan_lib.visualization.grids import evenly_spaced
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle


@pytest.fixture
def profile(tmp_path, monkeypatch, biggan):
    """A profile whose assets are fresh networks in a folder of its own."""
    monkeypatch.setenv("BDGAN_ASSETS", str(tmp_path))
    folder = tmp_path / "pocket"
    for name in ("biggan", "classifier", "oracle"):
        (folder / name).mkdir(parents=True)
    (folder / "biggan/config.json").write_text(json.dumps(biggan.config.to_dict()))
    save_file(biggan.state_dict(), folder / "biggan/model.safetensors")
    for name, network in (("classifier", Classifier()), ("oracle", Oracle().network)):
        halves = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
        save_file(halves, folder / name / "model.safetensors")
    record_assets(load_profile("pocket").folder)
    return load_profile("pocket")


def test_the_environment_chooses_the_assets(profile, tmp_path):
    assert assets_folder() == tmp_path and profile.folder == tmp_path / "pocket"


def test_whole_assets_are_verified_and_load(profile):
    assert profile.verify() == 4
    generator = profile.generator()
    weights = (profile.folder / "biggan/model.safetensors").read_bytes()
    assert generator.sha256 == sha256(weights).hexdigest()
    assert generator.classes == profile.classes
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    confidence = profile.scorer(images, np.arange(5))
    assert confidence.shape == (5,) and (confidence >= 0).all() and (confidence <= 1).all()
    assert profile.quality_features(images).shape == (5, 128)
    assert profile.oracle.annotate(images, np.arange(5)).shape == (5, 64, 64)
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in profile.classifier.parameters())


USES = {
    "biggan/config.json": lambda p: p.generator(),
    "biggan/model.safetensors": lambda p: p.generator(),
    "classifier/model.safetensors": lambda p: p.classifier,
    "oracle/model.safetensors": lambda p: p.oracle,
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_missing_or_damaged_asset_is_named_with_its_sha256(profile, name, damage):
    path = profile.folder / name
    data = bytearray(path.read_bytes())
    parts = [str(path), damage, f"expected sha256 {sha256(data).hexdigest()}"]
    path.unlink()
    if damage == "damaged":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        parts.append(f"got {sha256(data).hexdigest()}")
    for use in (USES[name], lambda p: p.verify()):
        with pytest.raises(BdganError) as error:
            use(load_profile("pocket"))
        assert [part for part in parts if part not in str(error.value)] == []
        assert "\n" not in str(error.value)


def test_an_asset_nobody_recorded_is_not_trusted(profile):
    manifest = profile.folder / "manifest.json"
    recorded = json.loads(manifest.read_text())
    del recorded["oracle/model.safetensors"]
    manifest.write_text(json.dumps(recorded))
    with pytest.raises(BdganError, match="none recorded"):
        _ = load_profile("pocket").oracle


@pytest.mark.parametrize("damage", [None, "{", "[1]"])
def test_without_a_readable_manifest_nothing_is_trusted(profile, damage):
    manifest = profile.folder / "manifest.json"
    manifest.unlink() if damage is None else manifest.write_text(damage)
    with pytest.raises(BdganError, match=r"manifest\.json is (missing|damaged)"):
        load_profile("pocket").generator()


def test_an_experiment_is_shown_only_if_it_was_measured_on_the_shipped_generator(profile):
    path = profile.folder / "experiments" / "label-head.json"
    with pytest.raises(BdganError, match=r"label-head\.json is missing"):
        shipped_result(profile, "label-head")
    path.parent.mkdir()
    for of, works in ((profile.generator().sha256, True), ("0" * 64, False)):
        path.write_text(json.dumps({"generator_sha256": of, "cells": {"a": 1}}))
        record_assets(profile.folder)
        if works:
            assert shipped_result(load_profile("pocket"), "label-head")["cells"] == {"a": 1}
        else:
            with pytest.raises(BdganError, match="measured on generator 000000000000"):
                shipped_result(load_profile("pocket"), "label-head")


def test_unknown_names_are_refused_with_the_names_there_are(profile):
    with pytest.raises(BdganError, match=r"'imagenet'.*pocket"):
        load_profile("imagenet")
    with pytest.raises(BdganError, match=r"'dodo'.*robin.*flower"):
        profile.class_id("dodo")
    assert [profile.class_id(name) for name in profile.classes] == list(range(12))


SHIPPED = Path(profiles.__file__).parents[2] / "assets" / "pocket"


@pytest.mark.skipif(not (SHIPPED / "manifest.json").is_file(), reason="the pocket assets are not there")
def test_the_shipped_assets_are_whole_and_fit(monkeypatch):
    monkeypatch.delenv("BDGAN_ASSETS", raising=False)
    profile = load_profile("pocket")
    on_disk = {p for p in SHIPPED.rglob("*") if p.is_file()} - {SHIPPED / "manifest.json"}
    assert profile.verify() == len(on_disk), "every file is recorded"
    assert sum(path.stat().st_size for path in on_disk) < 25e6
    generator = profile.generator()
    assert generator.image_size == profile.image_size and generator.classes == profile.classes
    sample = generator.sample(torch.arange(12), torch.arange(12), features=False)
    assert torch.isfinite(sample.images).all() and sample.images.std() > 0.1
    annotations = profile.annotations()
    annotations.require(generator.sha256)
    assert {a.class_name for a in annotations} == set(profile.classes)


def test_scores_are_taken_on_samples_that_no_head_learns_from():
    """The pocket's are fresh; elsewhere annotations are held out."""
    pocket = load_profile("pocket")
    generator = pocket.generator()
    found = annotated.test_annotations(pocket, generator, 60, first_seed=77_000)
    assert [a.seed for a in found] == list(range(77_000, 77_060))
    images = torch.cat([s.images for s in samples_of(generator, found, features=False)])
    wanted = pocket.oracle.annotate(to_uint8(images), np.array([a.class_id for a in found]))
    assert (np.stack([a.mask for a in found]) == wanted).mean() > 0.999  # another batch size rounds otherwise
    assert not held_out_ids(pocket) and len(training_annotations(pocket, hold_out=True)[1]) == 60


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """An ImageNet profile for labels of one's own, of robins, volcanoes and mugs."""
    (tmp_path / "assets").symlink_to(assets_folder())
    monkeypatch.setenv("BDGAN_ASSETS", str(tmp_path / "assets"))
    return replace(load_profile("imagenet-128"), generator=lambda *_: None)


def label(profile, *names, seeds=range(3)):
    """Somebody labels these seeds of these classes."""
    for name in names:
        for seed in seeds:
            sample = sample_id(name, seed), name, profile.class_id(name), seed, profile.sampling, "0" * 64
            profile.annotations().add(Annotation(*sample, np.zeros((128, 128), np.uint8), "somebody"))


def test_elsewhere_every_fifth_annotation_is_held_out_and_the_others_teach(imagenet):
    with pytest.raises(BdganError, match="no annotations; label samples first"):
        annotated.labelled_classes(imagenet)
    label(imagenet, "robin", seeds=range(5))
    assert not held_out_ids(imagenet) and len(training_annotations(imagenet, hold_out=True)[1]) == 5
    with pytest.raises(BdganError, match="too few annotations"):
        annotated.test_annotations(imagenet, None, 10)
    label(imagenet, "volcano", "coffee mug")
    scored = annotated.test_annotations(imagenet, None, 10)
    taught = training_annotations(imagenet, hold_out=True)[1]
    assert {a.id for a in scored} == held_out_ids(imagenet) and len(scored) == 3
    assert {a.id for a in scored}.isdisjoint(a.id for a in taught)
    assert len(training_annotations(imagenet)[1]) == len(annotated.annotate(imagenet, None)) == 11
    assert len(scored) + len(taught) == 11
    assert [a.id for a in annotated.test_annotations(imagenet, None, 2)] == sorted(held_out_ids(imagenet))[:2]


def test_a_profile_answers_for_the_classes_that_have_labels(imagenet):
    label(imagenet, "volcano", "robin")
    robin, volcano = imagenet.class_id("robin"), imagenet.class_id("volcano")
    assert annotated.labelled_classes(imagenet) == (robin, volcano)
    assert annotated.shown_classes(imagenet) == {robin: "robin", volcano: "volcano"}
    task = annotated.all_classes_task(imagenet)
    assert task.labels == ("background", "robin", "volcano") and task.classes == (robin, volcano)
    pocket = load_profile("pocket")
    assert annotated.all_classes_task(pocket) == pocket.task("MC-all")
    assert list(annotated.shown_classes(pocket).items()) == list(enumerate(pocket.classes))


def test_labels_go_where_the_profile_looks_for_them_and_shipped_ones_stay(imagenet, tmp_path):
    assert annotated.label_store(imagenet, tmp_path).root == imagenet.annotations().root
    pocket = load_profile("pocket")
    assert annotated.label_store(pocket, tmp_path).root == tmp_path / "labels" != pocket.annotations().root


def test_a_dozen_is_all_of_a_few_and_evenly_spread_over_many():
    assert evenly_spaced("abc") == "abc" and list(evenly_spaced(range(12))) == list(range(12))
    for count in (13, 20, 35, 1000):
        many = evenly_spaced(range(count))
        steps = np.diff([*many, count])
        assert len(many) == 12 and many[0] == 0 and steps.max() - steps.min() <= 1


def photographed(folder, **pictures):
    """Folders of so many pictures, grey in the class's own tone."""
    for tone, (name, count) in enumerate(pictures.items()):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            picture = np.full((20 + n, 30, 3), 40 * tone, np.uint8)
            (folder / name / f"{n}.png").write_bytes(encode_png(picture))


def test_photographs_come_class_by_class_in_turn_at_the_profile_s_side(imagenet, tmp_path):
    photographed(tmp_path / "photos", robin=3, n09472597=5)
    found = load_photographs(tmp_path / "photos", imagenet, 100)
    robin, volcano = imagenet.class_id("robin"), imagenet.class_id("volcano")
    assert found.images.shape == (8, 128, 128, 3)
    assert found.class_ids.tolist() == [volcano, robin] * 3 + [volcano] * 2
    assert set(found.images[found.class_ids == robin].flat) == {0}
    first, second = load_photographs(tmp_path / "photos", imagenet, 7).halves()
    assert len(first.images) == len(second.images) == 3 and set(first.class_ids) == set(second.class_ids)


@pytest.mark.parametrize(
    "junk", [".DS_Store", "._0.png", "Thumbs.db", ".ipynb_checkpoints/0.png", "desktop.ini"]
)
@pytest.mark.parametrize("place", [".", "robin"])
def test_what_systems_leave_among_photographs_is_passed_over(imagenet, tmp_path, junk, place):
    photos = tmp_path / "photos"
    photographed(photos, robin=2)
    (photos / place / junk).parent.mkdir(exist_ok=True)
    (photos / place / junk).write_bytes(b"\0\0\0\1Bud1")
    assert len(load_photographs(photos, imagenet, 10).images) == 2


@pytest.mark.parametrize(
    "data", [b"\0\0\0\1Bud1", b"", encode_png(np.zeros((9, 9, 3), np.uint8))[:-30], b"%!PS-Adobe"]
)
def test_a_file_that_is_no_photograph_is_named(imagenet, tmp_path, data):
    photos = tmp_path / "photos"
    photographed(photos, robin=2)
    (photos / "robin/notes.png").write_bytes(data)
    with pytest.raises(BdganError, match=r"robin.notes\.png") as error:
        load_photographs(photos, imagenet, 10)
    assert "BytesIO" not in str(error.value)


@pytest.mark.parametrize(
    ("pictures", "says"), [({"robins": 3}, "'robins', which is no class"), ({"robin": 1}, "holds 1 pictures")]
)
def test_a_folder_that_holds_no_photographs_of_known_classes_is_refused(imagenet, tmp_path, pictures, says):
    photographed(tmp_path / "photos", **pictures)
    with pytest.raises(BdganError, match=says):
        load_photographs(tmp_path / "photos", imagenet, 10)
