"""Laws of the code sampler: the uncached transformer's distribution, a stream per sample, exact settings."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.code_sampling import CodeSampler, draw
from bdgan_lib.generators.latents import uniforms

SETTINGS = [
    Sampling(),
    Sampling(top_k=5),
    Sampling(top_p=0.6),
    Sampling(top_k=20, top_p=0.9, temperature=1.7),
]
IDS, SEEDS = torch.tensor([0, 2, 1, 0, 2]), torch.tensor([7, 0, 3, 8, 7])


def plain_draw(logits, u, sampling):
    """The same law, one row at a time, in plain Python."""
    tokens = []
    for row, quantile in zip((logits.double() / sampling.temperature).tolist(), u.tolist(), strict=True):
        p = torch.tensor(row, dtype=torch.float64).softmax(0).tolist()
        ranked = sorted(range(len(p)), key=lambda k: -p[k])[: sampling.top_k]
        total, kept, before = sum(p[k] for k in ranked), set(), 0.0
        for k in ranked:
            if before < sampling.top_p * total:
                kept.add(k)
            before += p[k]
        left, inside = quantile * sum(p[k] for k in kept), sorted(kept)
        while left > p[inside[0]] and len(inside) > 1:
            left -= p[inside.pop(0)]
        tokens.append(inside[0])
    return torch.tensor(tokens)


@torch.inference_mode()
def uncached(gpt, class_ids, seeds, sampling):
    """Every token from a forward of taming's own model over all that came before it."""
    u, x = uniforms(seeds, gpt.block_size), class_ids[:, None]
    for t in range(gpt.block_size):
        x = torch.cat([x, plain_draw(gpt(x)[0][:, -1], u[:, t], sampling)[:, None]], 1)
    return x[:, 1:]


@pytest.mark.parametrize("sampling", [*SETTINGS, Sampling(top_k=1)], ids=str)
def test_codes_are_those_of_the_model_without_a_cache(vqgan, sampling):
    gpt = vqgan._network.transformer
    codes, _ = CodeSampler(gpt).sample(IDS, SEEDS, sampling)
    assert torch.equal(codes, uncached(gpt, IDS, SEEDS, sampling))


def test_a_sample_depends_on_its_class_its_seed_and_the_settings_alone(vqgan):
    def sample(chosen, sampling=SETTINGS[1]):
        return sampler.sample(IDS[chosen], SEEDS[chosen], sampling)[0]

    sampler, everyone = CodeSampler(vqgan._network.transformer), torch.arange(5)
    together, order = sample(everyone), torch.tensor([3, 0, 4, 2, 1])
    assert torch.equal(sample(order), together[order])
    for i in range(len(IDS)):
        assert torch.equal(sample([i])[0], together[i])
    assert not torch.equal(together[0], together[3]) and not torch.equal(together[0], together[4])
    assert not torch.equal(sample(everyone, SETTINGS[3]), together)


def test_bf16_follows_the_same_distribution_up_to_its_rounding(vqgan):
    gpt = vqgan._network.transformer
    exact, rounded = CodeSampler(gpt), CodeSampler(gpt, torch.bfloat16)
    past = torch.zeros(2, len(exact.maps), len(IDS), exact.heads, exact.length, 8)
    shares = [s.head(s.norm(s.outputs(IDS, 0, past)[-1])).float().softmax(1) for s in (exact, rounded)]
    assert 0 < (shares[0] - shares[1]).abs().sum(1).max() < 0.1
    codes, _ = rounded.sample(IDS, SEEDS, Sampling())
    assert codes.min() >= 0 and codes.max() < vqgan.config.codes


@given(
    st.lists(st.integers(-40, 40), min_size=2, max_size=9, unique=True),
    st.one_of(st.none(), st.integers(1, 12)),
    st.floats(0.05, 1),
    st.floats(0.2, 5),
)
def test_tokens_come_as_often_as_they_are_likely(logits, top_k, top_p, temperature):
    """On an even grid of quantiles the shares are the probabilities, and what is cut off never comes."""
    sampling = Sampling(top_k=top_k, top_p=top_p, temperature=temperature)
    u, row = (
        (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000,
        torch.tensor(logits, dtype=torch.float64) / 7,
    )
    tokens = draw(row.expand(1000, -1), u, sampling)
    p = (row / temperature).softmax(0)
    order = p.argsort(descending=True, stable=True)[:top_k]
    kept_p = p[order] / p[order].sum()
    kept = order[kept_p.cumsum(0) - kept_p < top_p]
    expected = torch.zeros(len(logits), dtype=torch.float64)
    expected[kept] = p[kept] / p[kept].sum()
    share = torch.bincount(tokens, minlength=len(logits)) / 1000
    assert (
        share - expected
    ).abs().max() <= 0.0025  # a step of the grid at each border, and rounding at the cut


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": -3}, "top_k is -3"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"top_p": 1.2}, "top_p is 1.2"),
        ({"top_p": float("nan")}, "top_p is nan"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": float("inf")}, "temperature is inf"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(BdganError, match=message):
        Sampling(**settings)


@given(
    st.builds(
        Sampling,
        top_k=st.one_of(st.none(), st.integers(1, 10**6)),
        top_p=st.floats(0, 1, exclude_min=True),
        temperature=st.floats(1e-3, 1e3),
    )
)
def test_settings_go_through_json_unchanged(sampling):
    assert Sampling.from_json(sampling.to_json()) == sampling
    assert sampling.of_codes == (set(sampling.to_json()) > {"truncation", "z_std"})
