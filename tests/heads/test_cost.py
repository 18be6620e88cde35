"""Costs counted beforehand are those that come."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.cost import head_cost
from bdgan_lib.heads.label_head import build_head

BLOCKS = (("b1", 10, 4), ("b2", 8, 8), ("b3", 6, 16), ("b4", 6, 32))
KINDS = [Architecture("fast", members=3), Architecture("paper"), Architecture("mlp"), Architecture("linear")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.variant)
def test_operations_and_weights_are_counted_as_if_they_were_done(kind):
    config = HeadConfig(BLOCKS, 5, architecture=kind)
    cost, head = head_cost(config, 4), build_head(config).eval()
    features = {name: torch.randn(1, c, side, side) for name, c, side in BLOCKS}
    with FlopCounterMode(display=False) as counter:
        head(features, torch.tensor([1]))
    assert cost.flops == counter.get_total_flops()
    assert cost.parameters == sum(p.numel() for p in head.parameters())


def test_the_linear_probe_by_hand():
    """Two operations per weight and place of each block's own size; it keeps its features alone."""
    cost = head_cost(HeadConfig(BLOCKS, 5, architecture=Architecture("linear")), 3)
    assert cost.flops == sum(2 * c * side * side * 2 for _, c, side in BLOCKS)
    features = 4 * 3 * sum(c * side * side for _, c, side in BLOCKS)
    assert features <= cost.step_bytes <= 1.1 * features


def test_memory_grows_with_the_batch():
    one, four = (head_cost(HeadConfig(BLOCKS, 5), size).step_bytes for size in (1, 4))
    assert 3 < four / one <= 4
