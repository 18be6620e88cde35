"""Segmentation networks on any trunk: heads of torchvision, a light U-Net decoder, and those of smp."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Trunk, build_backbone
from bdgan_lib.downstream.starts.smp_decoders import SmpHead

HEADS = ("fcn", "deeplabv3", "unet")
_SMP = "smp:"  # before the name of a decoder of segmentation-models-pytorch
_SMALL_RATES = (2, 4, 6)  # of atrous convolutions on 8 x 8 maps; torchvision: 12, 24, 36, on 64 x 64 and so
_UNET = (32, 48, 96)  # channels of the decoder's levels, fine to coarse


class Segmenter(nn.Module):
    """Images [B, 3, H, W] in [-1, 1], of any size -> logits [B, num_labels, H, W] in float32.

    Images are padded, by repeating their border, to a multiple of what the network needs.
    """

    def __init__(self, backbone: Trunk, head: nn.Module, multiple: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' size."""
        height, width = images.shape[-2:]
        below, beside = -height % self.multiple, -width % self.multiple
        if below or beside:
            images = F.pad(images, (0, beside, 0, below), mode="replicate")
        logits = self.head(self.backbone(images)).float()
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]


def segmenter(backbone: Trunk | str, num_labels: int, head: str = "unet") -> Segmenter:
    """A segmentation network with an untrained head.

    Args:
        backbone: used itself, not copied; a name builds a new one.
        num_labels: 2 or more, the background included.
        head: "fcn" or "deeplabv3" (torchvision's, on the coarsest map; the backbone is dilated in place to
            stride 8, as in the papers; on a pocket backbone "deeplabv3" is a smaller one), "unet" (all maps,
            coarse to fine), or "smp:NAME", a decoder of segmentation-models-pytorch.

    Raises:
        BdganError: the head or the name of the backbone is unknown, segmentation-models-pytorch is missing,
            or there are fewer than 2 labels.
    """
    if num_labels < 2:
        raise BdganError(f"expected 2 or more labels, got {num_labels}")
    if isinstance(backbone, str):
        backbone = build_backbone(backbone)
    multiple, deepest = backbone.multiple, backbone.channels[-1]
    if head == "unet":
        return Segmenter(backbone, UNetDecoder(backbone.channels, num_labels), multiple)
    if head.startswith(_SMP):
        multiple = max(multiple, backbone.strides[-1])  # so that each map has half the side of the finer
        return Segmenter(backbone, SmpHead(head.removeprefix(_SMP), backbone, num_labels), multiple)
    if head not in HEADS:
        raise BdganError(f"expected a head of {', '.join(HEADS)}, or {_SMP}NAME, got {head!r}")
    backbone.dilate(8)
    if head == "fcn":
        return Segmenter(backbone, _OnCoarsest(FCNHead(deepest, num_labels)), multiple)
    deeplab = _small_deeplab if backbone.name.startswith("pocket") else DeepLabHead
    return Segmenter(backbone, _OnCoarsest(deeplab(deepest, num_labels)), multiple)


class UNetDecoder(nn.Module):
    """Maps, fine to coarse -> logits at twice the finest map's side."""

    def __init__(self, channels: tuple[int, ...], num_labels: int) -> None:
        super().__init__()
        inputs, self.levels = channels[-1], nn.ModuleList()
        for skip, outputs in reversed(list(zip(channels[:-1], _UNET, strict=True))):
            self.levels.append(_Level(inputs, skip, outputs))
            inputs = outputs
        self.out = nn.Sequential(nn.Conv2d(inputs, 4 * num_labels, 1), nn.PixelShuffle(2))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits; each level resizes the coarser map, adds the finer one and convolves."""
        x = maps[-1]
        for level, skip in zip(self.levels, reversed(maps[:-1]), strict=True):
            x = level(x, skip)
        return self.out(x)


class _Level(nn.Module):
    """Adds a coarse map to a finer one; both are reduced first, which halves the cost."""

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


def _small_deeplab(inputs: int, num_labels: int, width: int = 64) -> nn.Sequential:
    """DeepLabv3's head for small images: a quarter of the channels, rates that stay within the map."""
    return nn.Sequential(
        ASPP(inputs, _SMALL_RATES, width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, num_labels, 1),
    )


class _OnCoarsest(nn.Module):
    """A head that reads only the last map."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.as_tensor(self.head(maps[-1]))
