"""Folded weights: kept in eval mode, never stale, and no part of copies."""

import copy
import pickle

import pytest
import torch

from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head

BLOCKS = (("b1", 6, 4), ("b2", 5, 8), ("b3", 4, 16), ("b4", 3, 32))


def head_of(seed, members=4):
    torch.manual_seed(seed)
    config = HeadConfig(BLOCKS, 3, architecture=Architecture(widths=(8, 6, 5), members=members))
    return build_head(config)


def features(dtype=torch.float32):
    noise = torch.Generator().manual_seed(9)
    return {name: torch.randn(2, c, side, side, generator=noise).to(dtype) for name, c, side in BLOCKS}


IDS = torch.tensor([0, 2])


def optimise(head):
    optimizer = torch.optim.SGD(head.parameters(), 0.5)
    head(features(), IDS).square().mean().backward()
    optimizer.step()


def load(head):
    head.load_state_dict(head_of(1).state_dict())


def on_data(head):
    head.train()
    for parameter in head.parameters():
        parameter.data *= 1.5


def replace(head):
    for projection in head.projections.values():
        projection.weight = torch.nn.Parameter(projection.weight * 2)
    head.out.write.weight = torch.nn.Parameter(head.out.write.weight * 3)


@pytest.mark.parametrize(
    "change", [optimise, load, on_data, replace, lambda head: head.standardise([features()])]
)
def test_a_head_that_changed_labels_as_if_nothing_had_been_kept(change):
    head = head_of(0)
    before = head.label(features(), IDS)[1]
    change(head)
    after = head.label(features(), IDS)
    other = head_of(2)
    other.load_state_dict(head.state_dict())
    expected = other.label(features(), IDS)
    assert (after[0] == expected[0]).all() and (after[1] == expected[1]).all()
    assert (after[1] != before).any(), "the change must change something"


def test_what_is_kept_is_what_would_be_computed_and_each_precision_has_its_own():
    head = head_of(0)
    first = head.label(features(), IDS)[1]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = [head.label(features(), IDS)[1] for _ in range(2)]
    again = head.label(features(), IDS)[1]
    assert (first == again).all() and (rounded[0] == rounded[1]).all() and (first != rounded[0]).any()


def test_gradients_reach_the_parameters_in_eval_mode_too():
    head = head_of(0)
    head.label(features(), IDS)
    head.eval()(features(), IDS).sum().backward()
    assert all(p.weight.grad.any() for p in head.projections.values())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda head: pickle.loads(pickle.dumps(head))])
def test_a_copy_keeps_nothing_and_labels_the_same(copied):
    head = head_of(0)
    expected = head.label(features(), IDS)[1]
    other = copied(head)
    assert head._folded and not other._folded
    assert (other.label(features(), IDS)[1] == expected).all()


def test_bfloat16_features_are_labelled_as_their_float32_copies():
    head, narrow = head_of(0), features(torch.bfloat16)
    short = head.label(narrow, IDS)
    long = head.label({name: x.float() for name, x in narrow.items()}, IDS)
    assert (short[0] == long[0]).all() and (short[1] == long[1]).all()
