"""Recording blocks leaves no trace, and grouping follows the resolutions."""

import pytest
import torch
from torch import nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.hooks import capture_features, group_blocks


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_record_finds_the_outputs_detached(model):
    x = torch.randn(4, 2)
    with capture_features(model, ["0", "1"]) as outputs:
        model(x)
    assert torch.equal(outputs["0"], model[0](x)) and torch.equal(outputs["1"], outputs["0"].relu())
    assert not outputs["0"].requires_grad


def test_the_hooks_go_even_after_an_error(model):
    with pytest.raises(ZeroDivisionError), capture_features(model, ["0", "2"]):
        assert hooks(model) == 2
        _ = 1 / 0
    assert hooks(model) == 0


def test_an_unknown_block_is_refused_before_any_hook_is_set():
    model = nn.ModuleDict({"block1": nn.Linear(2, 2), "block2": nn.Linear(2, 2)})
    with pytest.raises(BdganError, match=r"'blok2'.*block2"), capture_features(model, ["block1", "blok2"]):
        pass
    assert hooks(model) == 0


def blocks(*sides):
    return {f"block{i}": (8, side) for i, side in enumerate(sides)}


def finest(blocks):
    return [max(blocks[name][1] for name in group) for group in group_blocks(blocks)]


def test_groups_are_the_paper_s_at_512_pixels_and_follow_at_64():
    assert finest(blocks(4, 8, 16, 32, 64, 128, 256, 512)) == [32, 128, 512]
    assert finest(blocks(4, 8, 16, 32, 64)) == [8, 16, 64]


@pytest.mark.parametrize("count", range(4, 10))
def test_every_block_is_in_one_group_coarse_to_fine(count):
    these = blocks(*(4 * 2 ** (i // 2) for i in range(2 * count)))
    groups = group_blocks(these)
    assert all(groups)
    assert [name for group in groups for name in group] == list(these)


def test_too_few_resolutions_are_refused():
    with pytest.raises(BdganError, match="3 resolutions"):
        group_blocks(blocks(4, 8, 16))
