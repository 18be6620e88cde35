"""Law 1: a sample is a function of its own seed, and the numbers are those the formulas promise."""

import time

import numpy as np
import pytest
import torch
from scipy import stats

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.latents import latents_from_seeds

SETTINGS = [Sampling(), Sampling(truncation=0.4), Sampling(z_std=0.9)]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_a_row_depends_on_its_seed_alone(sampling):
    alone = latents_from_seeds(torch.tensor([7]), 16, sampling)
    batch = latents_from_seeds(torch.tensor([3, 7, 9, 7]), 16, sampling)
    assert batch.dtype == torch.float32 and batch.shape == (4, 16)
    assert torch.equal(alone[0], batch[1]) and torch.equal(batch[1], batch[3])


def test_neither_the_global_streams_nor_earlier_calls_matter():
    seeds = torch.arange(5)
    first = latents_from_seeds(seeds, 8, Sampling())
    np.random.seed(1)  # noqa: NPY002 (the legacy stream is what must not matter)
    torch.manual_seed(1)
    assert torch.equal(first, latents_from_seeds(seeds, 8, Sampling()))


def test_a_smaller_latent_is_the_start_of_a_larger_one():
    seeds = torch.arange(5)
    small, large = (latents_from_seeds(seeds, dim, Sampling()) for dim in (7, 64))
    assert torch.equal(small, large[:, :7])


def test_distinct_seeds_give_distinct_and_uncorrelated_rows():
    z = latents_from_seeds(torch.cat([torch.arange(1000), torch.arange(10**6, 10**6 + 1000)]), 64, Sampling())
    assert len(torch.unique(z, dim=0)) == len(z)
    neighbours = np.corrcoef(z[:-1].flatten(), z[1:].flatten())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(z[1:].numel())


@pytest.mark.parametrize("truncation", [1.0, 0.5, 0.04])
def test_truncation_clips_and_then_scales(truncation):
    z = latents_from_seeds(torch.arange(4000), 32, Sampling(truncation=truncation)).double().numpy()
    assert np.abs(z).max() <= 2 * truncation * (1 + 1e-6)
    reference = stats.truncnorm(-2, 2, scale=truncation)
    assert stats.kstest(z.ravel(), reference.cdf).pvalue > 1e-3


def test_z_std_scales_and_clips_nothing():
    z = latents_from_seeds(torch.arange(4000), 32, Sampling(z_std=0.9)).double().numpy()
    assert np.abs(z).max() > 3.0  # 128,000 draws reach 4.4 standard deviations
    assert stats.kstest(z.ravel(), stats.norm(scale=0.9).cdf).pvalue > 1e-3


def test_truncation_scales_one_and_the_same_draw():
    seeds = torch.arange(50)
    z, half = (latents_from_seeds(seeds, 16, Sampling(truncation=t)) for t in (1.0, 0.5))
    np.testing.assert_allclose(half, 0.5 * z, rtol=1e-6)


def test_the_largest_seeds_are_finite_and_ten_thousand_are_quick():
    assert latents_from_seeds(torch.tensor([2**63 - 1]), 64, Sampling(z_std=1.0)).isfinite().all()
    start = time.process_time()
    latents_from_seeds(torch.arange(10_000), 64, Sampling())
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("seeds", "dim", "names"),
    [
        (torch.tensor([-1]), 4, "seed -1"),
        (torch.tensor([1.0]), 4, "float32"),
        (torch.tensor([[1]]), 4, r"\[1, 1\]"),
        (torch.tensor([1]), 0, "got dim 0"),
    ],
)
def test_wrong_seeds_are_named(seeds, dim, names):
    with pytest.raises(BdganError, match=names):
        latents_from_seeds(seeds, dim, Sampling())
