"""Table 1's cells: what is measured of a set, in which part, and against what."""

import numpy as np
import pytest

from bdgan_lib.analysis.fidelity import kernel_distance
from bdgan_lib.analysis.geometry import COLUMNS
from bdgan_lib.experiments import analysis
from bdgan_lib.experiments.segmentation import ANNOTATED, Bench, rendered, scenes_of
from bdgan_lib.profiles import load_profile


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench("pocket", tmp_path_factory.mktemp("bench"))


def test_real_scenes_against_others_are_what_chance_leaves(bench):
    found = analysis.measure(bench, {"source": rendered(312), "images": 156, "part": 1})
    assert found["images"] == 156 and {*COLUMNS, "SD", "FID", "KID", "mask FID", "coverage"} < set(found)
    scenes, features = (
        scenes_of("pocket", 312, analysis.RENDERED_SEED),
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
    ours = range(analysis.REFERENCE_SEED, analysis.REFERENCE_SEED + analysis.IMAGES)
    assert ours.start >= analysis.RENDERED_SEED + analysis.IMAGES
