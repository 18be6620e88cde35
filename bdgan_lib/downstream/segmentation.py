"""Segmentation networks on any backbone: torchvision's FCN and DeepLabv3 heads, and a light U-Net decoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.types import BdganError

HEADS = ("fcn", "deeplabv3", "unet")
_RATES = (12, 24, 36)  # of DeepLabv3's atrous convolutions on 64 x 64 maps (512-pixel crops at stride 8)
_UNET = (32, 48, 96)  # channels of the decoder's levels, fine to coarse


class Segmenter(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> logits [B, num_labels, H, W]; H and W are multiples of the strides."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        coarsest = self.backbone.strides[-1]
        if images.shape[-1] % coarsest or images.shape[-2] % coarsest:
            raise BdganError(
                f"images came as {list(images.shape)}; wanted sides that are multiples of {coarsest}: "
                "resize or pad them"
            )
        logits = self.head(self.backbone(images)).float()
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def segmenter(backbone: Backbone, num_labels: int, head: str = "unet") -> Segmenter:
    """A segmentation network that takes the backbone over; the head's weights are fresh.

    head: "fcn" or "deeplabv3" (torchvision's, on the coarsest map, the backbone dilated to stride 8 in place as
    in the papers), or "unet" (all maps, coarse to fine). BdganError for another head or fewer than 2 labels.
    """
    if num_labels < 2:
        raise BdganError(f"{num_labels} labels were asked for; wanted 2 or more")
    if head == "unet":
        return Segmenter(backbone, UNetDecoder(backbone.channels, num_labels))
    if head not in HEADS:
        raise BdganError(f"head {head!r} came; wanted one of {', '.join(HEADS)}")
    deepest = backbone.channels[-1]
    backbone.dilate(8)
    if head == "fcn":
        return Segmenter(backbone, _OnCoarsest(FCNHead(deepest, num_labels)))
    # at 64 pixels the maps have a side of 8: the published rates would read nothing but padding
    rates = tuple(rate // 6 for rate in _RATES) if backbone.name.startswith("pocket") else _RATES
    return Segmenter(backbone, _OnCoarsest(DeepLabHead(deepest, num_labels, rates)))


class UNetDecoder(nn.Module):
    """Maps, fine to coarse -> logits at twice the finest map's side: each level is resized, joined, convolved."""

    def __init__(self, channels: tuple[int, ...], num_labels: int) -> None:
        super().__init__()
        inputs, self.levels = channels[-1], nn.ModuleList()
        for skip, outputs in reversed(list(zip(channels[:-1], _UNET, strict=True))):
            self.levels.append(_Level(inputs, skip, outputs))
            inputs = outputs
        self.out = nn.Sequential(nn.Conv2d(inputs, 4 * num_labels, 1), nn.PixelShuffle(2))

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for level, skip in zip(self.levels, reversed(maps[:-1]), strict=True):
            x = level(x, skip)
        return self.out(x)


class _Level(nn.Module):
    """Both inputs are reduced before they are joined: half the work of joining first."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.skip = nn.Conv2d(skip, outputs, 1, bias=False)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        return self.mix(F.interpolate(self.coarse(coarse), size=skip.shape[-2:]) + self.skip(skip))


class _OnCoarsest(nn.Module):
    """A head that reads the last map alone."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.as_tensor(self.head(maps[-1]))
