"""Laws of online synthesis: a stream of its seeds alone, whoever draws it."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.synthesis.online import OnlineSynthesis
from bdgan_lib.training.supervised import FitConfig, fit, fit_batches


class Threshold:
    """A labeller: what is brighter than grey."""

    sha256, labels = "h", ("background", "foreground")

    def predict_with_uncertainty(self, sample):
        return (sample.images.mean(1) > 0).to(torch.uint8).numpy(), np.zeros(len(sample.images), np.float32)


def stream(generator, **settings):
    sampling = Sampling(top_p=0.9)
    return OnlineSynthesis(
        generator, Threshold(), (0, 2), sampling, **{"batch_size": 3, "ahead": 2, **settings}
    )


def first(batches, count=6):
    return [[x.copy() for x in batch] for batch in islice(batches, count)]


def test_samples_are_the_generators_of_ascending_seeds(vqgan):
    found = first(stream(vqgan, first_seed=50).batches())
    images, masks, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    assert ids.tolist() == [0, 2] * 9
    for k in range(0, 18, 6):  # drawn in groups of six
        seeds = torch.arange(50 + k, 56 + k)
        sample = vqgan.sample(torch.tensor([0, 2] * 3), seeds, Sampling(top_p=0.9))
        assert np.array_equal(images[k : k + 6], to_uint8(sample.images))
        assert np.array_equal(masks[k : k + 6], Threshold().predict_with_uncertainty(sample)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stream_is_the_same_for_any_number_of_workers(vqgan, workers):
    for alone, shared in zip(
        first(stream(vqgan).batches()), first(stream(vqgan).batches(workers)), strict=True
    ):
        images, masks, ids = zip(alone, shared, strict=True)
        # a worker has one thread: sums are rounded otherwise, a pixel may be one level off
        assert np.abs(images[0].astype(int) - images[1]).max() <= 1
        assert (masks[0] != masks[1]).mean() < 0.01 and np.array_equal(*ids)


def test_a_network_trains_on_it_as_on_stored_images(vqgan):
    """The same images in the same order give the same weights, stored or live."""
    config = FitConfig(steps=4, batch_size=6, seed=3)
    live = stream(vqgan, batch_size=6, ahead=1)
    stored = list(islice(live.batches(), 4))
    networks = []
    for batches in (((b.images, b.masks) for b in live.batches()), ((b.images, b.masks) for b in stored)):
        torch.manual_seed(0)
        networks.append(nn.Conv2d(3, 2, 1))
        fit_batches(networks[-1], batches, config)
    assert torch.equal(networks[0].weight, networks[1].weight)
    one = stored[0]
    torch.manual_seed(0)
    network = nn.Conv2d(3, 2, 1)
    assert fit(network, one.images, one.masks, config) > 0


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"ahead": 0}, {"first_seed": -1}])
def test_settings_out_of_range_are_refused(vqgan, settings):
    with pytest.raises(BdganError, match="expected 1 or more"):
        stream(vqgan, **settings)
