"""Label transfer: the source's samples and labels, the target's features, one head code."""

import numpy as np
import pytest
import torch

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, resize_annotations
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.training import HeadTraining, train_head


@pytest.fixture
def source(biggan):
    biggan.config.num_classes = 12
    return BigGANDeep(biggan, "tiny BigGAN", [f"class {i}" for i in range(12)], "1" * 64)


def annotation(k, side=32, mask=None):
    mask = np.zeros((side, side), np.uint8) if mask is None else mask
    mask[: side // 2] = 1
    return Annotation(f"a_{k:08d}", "robin", k % 3, k, Sampling(), "1" * 64, mask, "test")


def test_features_are_the_targets_of_the_sources_images(source, vqgan):
    ids, seeds = torch.tensor([0, 1]), torch.tensor([3, 4])
    images = source.sample(ids, seeds, Sampling(0.8), features=False).images
    sample = ReencodedGenerator(source, vqgan).sample(ids, seeds, Sampling(0.8))
    assert torch.equal(sample.images, images)
    for block, x in vqgan.features(vqgan.encode(images), ids).items():
        assert torch.equal(sample.features[block], x)


@pytest.mark.parametrize("members", [1, 3])
def test_the_sources_labels_train_a_head_for_the_target(source, vqgan, members, tmp_path):
    config = HeadTraining(steps=5, batch_size=2)
    annotations = [annotation(k) for k in range(4)]
    head, losses = train_head(
        ReencodedGenerator(source, vqgan), annotations, config, Architecture(members=members),
        folder=tmp_path, feature_cache="disk", progress=None,
    )  # fmt: skip
    sample = vqgan.sample(torch.tensor([0, 1]), torch.arange(2))
    labels, divergence = head.label(sample.features, sample.class_ids)
    assert len(losses) == 5 and labels.shape == divergence.shape == (2, 32, 32)
    assert (divergence > 0).any() == (members > 1)


def test_images_and_masks_of_another_size_are_fitted_to_the_target(source, vqgan):
    source.image_size = 64  # as if it made larger ones
    source._images = lambda z, ids, s: torch.linspace(-1, 1, len(z) * 3 * 64 * 64).view(-1, 3, 64, 64)
    reencoded = ReencodedGenerator(source, vqgan)
    sample = reencoded.sample(torch.tensor([0, 1]), torch.arange(2))
    assert sample.images.shape == (2, 3, 32, 32) and sample.images.abs().max() <= 1
    mask = np.kron(np.random.default_rng(0).integers(0, 2, (32, 32)), np.ones((2, 2))).astype(np.uint8)
    large = annotation(0, 64, mask)
    small = resize_annotations([large], 64, 32)[0]
    assert np.array_equal(small.mask, large.mask[::2, ::2]) and small.id == large.id
    with pytest.raises(BdganError, match=r"expected a mask 64 x 64 .* got \[32, 32\]"):
        resize_annotations([annotation(0, 32)], 64, 32)
