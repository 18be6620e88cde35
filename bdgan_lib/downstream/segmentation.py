"""Segmentation networks on any backbone: torchvision's FCN and DeepLabv3 heads, and a light U-Net decoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.backbones import Backbone, build_backbone
from bdgan_lib.downstream.convolution import Convolution
from bdgan_lib.training.pixel_loss import cross_entropy_by_label

HEADS = ("fcn", "deeplabv3", "unet")
_SMALL_RATES = (2, 4, 6)  # of atrous convolutions on 8 x 8 maps; torchvision: 12, 24, 36, on 64 x 64 and so
_UNET = (32, 48, 96)  # channels of the decoder's levels, fine to coarse


class Segmenter(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> logits [B, num_labels, H, W] in float32."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' size."""
        return self._resized(self.head(self.backbone(images)), images)

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (nats) of the logits against targets [B, H, W] int64; 255 is ignored."""
        maps = self.backbone(images)
        full_size = [2 * side for side in maps[0].shape[-2:]] == [*images.shape[-2:]]
        if isinstance(self.head, UNetDecoder) and full_size:
            return self.head.loss(maps, targets)
        return F.cross_entropy(self._resized(self.head(maps), images), targets, ignore_index=UNLABELLED)

    def _resized(self, logits: Tensor, images: Tensor) -> Tensor:
        logits = logits.float()
        if logits.shape[-2:] == images.shape[-2:]:
            return logits
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def segmenter(backbone: Backbone | str, num_labels: int, head: str = "unet") -> Segmenter:
    """A segmentation network with an untrained head.

    Args:
        backbone: used itself, not copied; a name builds a new one.
        num_labels: 2 or more, the background included.
        head: "fcn" or "deeplabv3" (torchvision's, on the coarsest map; the backbone is dilated in place to
            stride 8, as in the papers), or "unet" (all maps, coarse to fine).

    Raises:
        BdganError: the head is unknown, or there are fewer than 2 labels.
    """
    if num_labels < 2:
        raise BdganError(f"expected 2 or more labels, got {num_labels}")
    if isinstance(backbone, str):
        backbone = build_backbone(backbone)
    if head == "unet":
        return Segmenter(backbone, UNetDecoder(backbone.channels, num_labels))
    if head not in HEADS:
        raise BdganError(f"expected a head of {', '.join(HEADS)}, got {head!r}")
    deepest = backbone.channels[-1]
    backbone.dilate(8)
    if head == "fcn":
        return Segmenter(backbone, _OnCoarsest(FCNHead(deepest, num_labels)))
    deeplab = _small_deeplab if backbone.name.startswith("pocket") else DeepLabHead
    return Segmenter(backbone, _OnCoarsest(deeplab(deepest, num_labels)))


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
        return self.out(self._merged(maps))

    def loss(self, maps: list[Tensor], targets: Tensor) -> Tensor:
        """Cross-entropy against targets at the logits' size, which are rearranged instead of the logits."""
        x = self._merged(maps)
        batch, inputs, height, width = x.shape
        weight, bias = (self.out.get_parameter(name) for name in ("0.weight", "0.bias"))
        pixels = x.permute(0, 2, 3, 1).reshape(-1, inputs)
        logits = torch.addmm(bias[:, None], weight.flatten(1), pixels.T)
        parts = targets.view(batch, height, 2, width, 2).permute(2, 4, 0, 1, 3)
        return cross_entropy_by_label(logits.view(len(logits) // 4, -1), parts.flatten())

    def _merged(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for level, skip in zip(self.levels, reversed(maps[:-1]), strict=True):
            x = level(x, skip)
        return x


class _Level(nn.Module):
    """Adds a coarse map to a finer one; both are reduced first, which halves the cost."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.coarse = Convolution(inputs, outputs, 1, bias=False)
        self.skip = Convolution(skip, outputs, 1, bias=False)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            Convolution(outputs, outputs, 3, padding=1, bias=False),
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
