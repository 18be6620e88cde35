"""Backbones compute what torchvision's ResNets compute; their maps have the sizes they say."""

import pytest
import torch
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import BACKBONES, build_backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_maps_have_the_channels_and_strides_they_say(name):
    with torch.device("meta"):
        backbone = build_backbone(name)
    maps = backbone(torch.empty(2, 3, 64, 96, device="meta"))
    for x, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert x.shape == (2, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("dilated", [False, True])
@torch.no_grad()
def test_a_resnet50_is_torchvisions_and_so_is_its_dilation(dilated):
    torch.manual_seed(0)
    wanted = resnet50(replace_stride_with_dilation=[False, dilated, dilated]).eval()
    backbone = build_backbone("resnet50").eval()
    state = {key: x for key, x in wanted.state_dict().items() if not key.startswith("fc.")}
    shapes = lambda tensors: {key: x.shape for key, x in tensors.items()}
    assert shapes(backbone.state_dict()) == shapes(state)
    backbone.load_state_dict(state)
    if dilated:
        backbone.dilate(8)
    images = torch.rand(1, 3, 64, 64)
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in imagenet)
    layers = IntermediateLayerGetter(wanted, {f"layer{k}": str(k) for k in (1, 2, 3, 4)})
    expected = layers((images - mean) / deviation).values()
    for x, y in zip(backbone(2 * images - 1), expected, strict=True):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


def test_larger_pocket_backbones_hold_the_smaller_ones_stages_and_cost_more():
    count = lambda depth: sum(p.numel() for p in build_backbone(f"pocket-{depth}").parameters())
    weights = [count(depth) for depth in (10, 18, 34)]
    assert weights[0] * 1.5 < weights[1] and weights[1] * 1.5 < weights[2]


def test_a_backbone_there_is_not_is_named():
    with pytest.raises(BdganError, match=r"resnet50.*'resnet49'"):
        build_backbone("resnet49")
