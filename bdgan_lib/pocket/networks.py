"""The small convolutional networks of the pocket profile: a classifier and a U-Net."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Classifier(nn.Module):
    """Images [B, 3, 64, 64] in [-1, 1] -> logits [B, num_classes]; pooled features measure image quality."""

    def __init__(self, num_classes: int = 12) -> None:
        super().__init__()
        half, pool = nn.PixelUnshuffle(2), nn.MaxPool2d(2)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(half, _convolution(12, 32)),  # [B, 32, 32, 32]
                nn.Sequential(pool, _convolution(32, 64)),  # [B, 64, 16, 16]
                nn.Sequential(pool, _convolution(64, 128)),  # [B, 128, 8, 8]
                nn.Sequential(_convolution(128, 128), pool, _convolution(128, 128)),  # [B, 128, 4, 4]
            ]
        )
        self.head = nn.Linear(128, num_classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The feature map after each stage, fine to coarse."""
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the last stage, [B, 128]."""
        return self.maps(images)[-1].float().mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class UNet(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> logits [B, num_labels, H, W]; H and W are multiples of 8."""

    def __init__(self, num_labels: int, width: float = 1.0) -> None:
        super().__init__()
        self.num_labels, self.width = num_labels, width
        c0, c1, c2, c3 = (int(width * c) for c in (16, 32, 48, 96))
        self.down0 = _convolution(3, c0)
        self.down1 = nn.Sequential(nn.PixelUnshuffle(2), _convolution(12, c1), _convolution(c1, c1))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), _convolution(c1, c2))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), _convolution(c2, c3), _convolution(c3, c3))
        self.up2, self.up1, self.up0 = (
            _convolution(c3 + c2, c2),
            _convolution(c2 + c1, c1),
            _convolution(c1 + c0, c0),
        )
        self.out = nn.Conv2d(c0, num_labels, 1)

    def forward(self, images: Tensor) -> Tensor:
        d0, d1 = self.down0(images), self.down1(images)
        d2 = self.down2(d1)
        h = self.down3(d2)
        for skip, block in ((d2, self.up2), (d1, self.up1), (d0, self.up0)):
            h = block(torch.cat([F.interpolate(h, scale_factor=2.0), skip], 1))
        return self.out(h).float()
