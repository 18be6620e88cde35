"""What an earlier version wrote still opens: the shipped files, and small ones of version 0.1.

Figures, tables and claims from shipped results are held by tests/experiments/test_runner.py and tests/paper.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.datasets.validate import validate
from bdgan_lib.heads.files import load_head
from bdgan_lib.profiles import load_profile

OLD = Path(__file__).parent / "version_0_1"
POCKET = load_profile("pocket")


@pytest.mark.parametrize(("name", "variant", "members"), [
    ("head", "fast", 1), ("ensemble", "fast", 2), ("linear", "linear", 1),
])  # fmt: skip
def test_heads_baselines_and_ensembles_label(name, variant, members):
    head = load_head(OLD / name)
    assert (head.config.architecture.variant, head.config.architecture.members) == (variant, members)
    features = {block: torch.rand(3, channels, side, side) for block, channels, side in head.config.blocks}
    labels, _ = head.label(features, torch.tensor([0, 1, 0]))
    assert labels.shape[0] == 3 and set(np.unique(labels)) <= {0, 1}


def test_a_data_set_is_valid_and_holds_what_the_shipped_generator_draws_today():
    assert validate(OLD / "set", progress=False) == []
    images, masks, class_ids = ShardedSet(OLD / "set").arrays()
    drawn = POCKET.generator().sample(torch.from_numpy(class_ids), torch.tensor([1_000_000, 1_000_001]))
    assert np.abs(images.astype(int) - to_uint8(drawn.images)).max() <= 1, (
        "another machine may round otherwise"
    )
    assert masks.shape == (2, 64, 64) and masks.any() and class_ids.tolist() == [0, 0]


@pytest.mark.parametrize("profile", ["pocket", "pocket-vqgan"])
def test_shipped_generators_draw_what_the_shipped_classifier_and_oracle_know(profile):
    ids = torch.arange(12)
    images = to_uint8(load_profile(profile).generator().sample(ids, ids + 40, features=False).images)
    assert np.mean(POCKET.scorer(images, ids.numpy())) > 0.8
    masks = POCKET.oracle.annotate(images, ids.numpy())
    assert ((masks > 0).mean((1, 2)) > 0.02).all()


def test_shipped_labels_open_as_a_store():
    store = AnnotationStore(POCKET.annotations().root)
    assert len({a.id for a in store}) == 60 and all(a.mask.shape == (64, 64) and a.mask.any() for a in store)
