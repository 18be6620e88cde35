"""The experiment on frozen features, small: both sides learn from the same labels, and it resumes."""

import json

import numpy as np
import pytest
import torch

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.experiments import frozen_features
from bdgan_lib.experiments.context import ExperimentContext
from bdgan_lib.experiments.frozen_features import (
    CLASSIFIER,
    GENERATOR_FEATURES,
    PIXELS,
    SAMPLES,
    SCENES,
    FrozenFeatures,
    ImageFeatures,
    behind,
    best_rates,
    lead,
)
from bdgan_lib.heads.training import HeadTraining
from bdgan_lib.profiles import load_profile

FEW = (GENERATOR_FEATURES, CLASSIFIER, PIXELS)


@pytest.mark.slow
def test_an_experiment_chooses_rates_on_development_seeds_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen_features, "SCENE_SEEDS", 1)
    profile = load_profile("pocket")
    run = lambda: frozen_features.run(profile, tmp_path, 2, 100, FEW, test_samples=24, steps=2)
    result = run()
    assert {row["seed"] for row in result["cells"].values()} == {100, 101}
    tried = json.loads((tmp_path / "frozen-features-rates.json").read_text("utf-8"))
    assert {row["seed"] for row in tried["cells"].values()} == {0}
    assert {row["split"] for row in tried["cells"].values()} == {"validation"}
    rates = best_rates(tried)
    assert rates.keys() == {GENERATOR_FEATURES, CLASSIFIER}
    rates[PIXELS] = HeadTraining.learning_rate
    for row in result["cells"].values():
        assert row["split"] == "test" and 0 <= row["miou"] <= 1
        assert row["training"] == {"steps": 2, "learning_rate": rates[row["features"]]}
    on_scenes = [row for row in result["cells"].values() if row["scored"] == SCENES]
    assert {(row["features"], row["task"]) for row in on_scenes} == {
        (CLASSIFIER, "FG/BG"),
        (CLASSIFIER, "MC-all"),
    }
    assert lead(result).keys() == {CLASSIFIER, PIXELS}
    monkeypatch.setattr(FrozenFeatures, "measure", lambda *_: pytest.fail("measured again"))
    assert run()["cells"] == result["cells"]


def test_both_sides_learn_the_same_labels_of_the_same_images(tmp_path):
    experiment = FrozenFeatures(ExperimentContext("pocket", tmp_path), load_profile("pocket"), 24)
    for split, count in (("labelled", 60), ("validation", 24)):
        ours, theirs = (experiment.data(name, SAMPLES, split, "FG/BG") for name in FEW[:2])
        assert len(ours) == len(theirs) == count
        assert torch.equal(ours.masks, theirs.masks) and torch.equal(ours.class_ids, theirs.class_ids)
    assert experiment.data(PIXELS, SAMPLES, "labelled", "FG/BG").class_ids.bincount().tolist() == [5] * 12


def test_image_features_are_the_pixels_and_the_frozen_maps():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    classifier = load_profile("pocket").classifier.eval()
    features = ImageFeatures(classifier.maps, zoom=1)(images, batch_size=2)
    assert [x.shape[-1] for x in features.values()] == [4, 8, 16, 32, 64], "coarse to fine"
    *maps, pixels = features.values()
    with torch.no_grad():
        expected = classifier.maps(from_uint8(images))
    assert torch.equal(pixels, from_uint8(images))
    assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(reversed(maps), expected, strict=True))
    alone = ImageFeatures(None)(images)
    assert [x.shape[-1] for x in alone.values()] == [8, 16, 32, 64]


def test_differences_are_paired_by_seed():
    def result(name, factors, rows):
        cells = {str(k): {**dict(zip(factors, key)), "miou": x} for k, (key, x) in enumerate(rows.items())}
        return {"experiment": name, "factors": list(factors), "cells": cells}

    factors = ("features", "scored", "task", "seed")
    heads = {
        (n, SAMPLES, "FG/BG", s): 0.9 + d + s / 1e4
        for n, d in ((GENERATOR_FEATURES, 0.02), ("x", 0))
        for s in (100, 101)
    }
    heads |= {("x", SCENES, task, s): 0.5 for task in ("FG/BG", "MC-all") for s in (100, 101)}
    measured = result("frozen-features", factors, heads)
    assert lead(measured)["x"].mean == pytest.approx(0.02) and lead(measured)["x"].low == pytest.approx(0.02)
    sizes = {("2000", task, s): 0.9 for task in ("FG/BG", "MC-all") for s in (100, 101, 102)}
    more = behind(measured, result("set-size", ("set", "task", "seed"), sizes), "2000")
    assert more["x"].mean == pytest.approx(0.4) and more["x"].freedom == 1
