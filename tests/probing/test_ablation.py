"""Ablation changes what it names and nothing else, and leaves no trace."""

import numpy as np
import pytest
import torch

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.probing.ablation import ablated, lost

IDS, SEEDS = torch.tensor([0, 3, 11]), torch.tensor([5, 6, 7])


@pytest.fixture
def generator(biggan):
    return BigGANDeep(biggan, "tiny", [f"class {i}" for i in range(12)], "0" * 64)


def same(a, b):
    features = all(torch.equal(a.features[k], b.features[k]) for k in a.features)
    return features and torch.equal(a.images, b.images)


def test_ablating_nothing_changes_no_bit(generator):
    plain = generator.sample(IDS, SEEDS)
    for block in generator.blocks:
        with ablated(generator, block, []):
            assert same(generator.sample(IDS, SEEDS), plain), block


@pytest.mark.parametrize("block", ["block1", "block3", "block5"])
def test_units_are_zero_from_their_block_on_and_the_rest_is_not_touched(generator, block):
    plain, units = generator.sample(IDS, SEEDS), [1, 3]
    with ablated(generator, block, units):
        without = generator.sample(IDS, SEEDS)
    before = list(generator.blocks)[: list(generator.blocks).index(block)]
    assert all(torch.equal(without.features[name], plain.features[name]) for name in before)
    assert not without.features[block][:, units].any()
    others = [c for c in range(generator.blocks[block][0]) if c not in units]
    assert torch.equal(without.features[block][:, others], plain.features[block][:, others])
    assert not torch.equal(without.images, plain.images)
    assert same(generator.sample(IDS, SEEDS), plain), "no hook is left"


def test_ablating_all_units_is_a_feature_of_zeros(generator):
    module, channels = generator.module("block2"), generator.blocks["block2"][0]
    with ablated(generator, "block2", range(channels)):
        found = generator.sample(IDS, SEEDS)
    forward = module.forward
    module.forward = lambda *inputs: torch.zeros_like(forward(*inputs))
    assert same(found, generator.sample(IDS, SEEDS))


def test_nested_ablations_add_up_and_end_after_an_error(generator):
    plain = generator.sample(IDS, SEEDS)
    with ablated(generator, "block2", [0, 5]):
        both = generator.sample(IDS, SEEDS)
    with ablated(generator, "block2", [0]), ablated(generator, "block2", [5]):
        assert same(generator.sample(IDS, SEEDS), both)
    with pytest.raises(ZeroDivisionError), ablated(generator, "block2", [0]):
        _ = 1 / 0
    assert same(generator.sample(IDS, SEEDS), plain)


def test_what_is_not_there_is_named(generator, vqgan):
    with pytest.raises(BdganError, match="block 'block9'; there is one for block1"):
        ablated(generator, "block9", []).__enter__()
    with pytest.raises(BdganError, match=r"expected units 0 to \d+ of block1, got \[0, 999\]"):
        ablated(generator, "block1", [0, 999]).__enter__()
    with pytest.raises(BdganError, match="'transformer2'; there is one for decoder1"):
        vqgan.module("transformer2")


def test_a_decoder_loses_its_units_too(vqgan):
    codes = torch.arange(16).reshape(1, 4, 4)
    plain = vqgan.decode(codes)
    with ablated(vqgan, "decoder2", [0, 1]):
        assert not vqgan.features(codes, torch.tensor([0]))["decoder2"][:, :2].any()
        assert not torch.equal(vqgan.decode(codes), plain)
    assert torch.equal(vqgan.decode(codes), plain)


def test_the_share_lost_by_hand():
    before = np.array([[[1, 1, 1, 2], [2, 0, 1, 255]]], np.uint8)
    after = np.array([[[1, 0, 2, 2], [2, 1, 255, 1]]], np.uint8)
    assert lost(before, after, [1, 2]).tolist() == pytest.approx([2 / 3, 0])
    assert lost(before, before, [1, 2]).tolist() == [0, 0]
    with pytest.raises(BdganError, match="label 3 before"):
        lost(before, after, [3])
