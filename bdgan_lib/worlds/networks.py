"""The small convolutional networks of the pocket profile: a classifier and a U-Net."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.image_tensors import from_uint8


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """Images [B, 3, 64, 64] in [-1, 1] -> logits [B, num_classes]; pooled features measure image quality."""

    def __init__(self, num_classes: int = 12) -> None:
        super().__init__()
        half, pool = nn.PixelUnshuffle(2), nn.MaxPool2d(2)
        stages = [
            nn.Sequential(half, _convolution(12, 32)),  # [B, 32, 32, 32]
            nn.Sequential(pool, _convolution(32, 64)),  # [B, 64, 16, 16]
            nn.Sequential(pool, _convolution(64, 128)),  # [B, 128, 8, 8]
            nn.Sequential(_convolution(128, 128), pool, _convolution(128, 128)),  # [B, 128, 4, 4]
        ]
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(128, num_classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The feature map after each stage, fine to coarse."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the last stage, [B, 128]."""
        return self.maps(images)[-1].float().mean((2, 3))

    @torch.inference_mode()
    def features_of(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled features [N, 128] of images [N, H, W, 3], 200 at a time: the space of Fréchet distances."""
        device = self.head.weight.device
        batches = (from_uint8(images[i : i + 200]).to(device) for i in range(0, len(images), 200))
        return torch.cat([self.features(x) for x in batches]).cpu().numpy()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 64, 64] in [-1, 1] -> logits [B, classes]."""
        return self.head(self.features(images))


class UNet(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> logits [B, num_labels, H, W]; H and W are multiples of 8.

    Args:
        num_labels: channels of the logits.
        fine: have a level at full resolution; without it, the finest has half the side: twice as fast.
    """

    def __init__(self, num_labels: int, fine: bool = True) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.PixelUnshuffle(2), _convolution(12, 32), _convolution(32, 32))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), _convolution(32, 48))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), _convolution(48, 96), _convolution(96, 96))
        self.up2, self.up1 = _convolution(96 + 48, 48), _convolution(48 + 32, 32)
        if fine:
            self.down0, self.up0 = _convolution(3, 16), _convolution(32 + 16, 16)
            self.out: nn.Module = nn.Conv2d(16, num_labels, 1)
        else:
            self.out = nn.Sequential(nn.Conv2d(32, 4 * num_labels, 1), nn.PixelShuffle(2))
        self.fine = fine

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> logits [B, labels, H, W]."""
        d1 = self.down1(images)
        d2 = self.down2(d1)
        h = self.up2(_join(self.down3(d2), d2))
        h = self.up1(_join(h, d1))
        if self.fine:
            h = self.up0(_join(h, self.down0(images)))
        return self.out(h).float()


def _join(coarse: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([F.interpolate(coarse, scale_factor=2.0), skip], 1)
