"""Mix-conv: the block of the label head that fuses features (paper section 3.2)."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias belong to the sample's class; with one class, plain batch norm."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain, self.bias = nn.Embedding(num_classes, channels), nn.Embedding(num_classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, class_ids: Tensor) -> Tensor:
        """Normalise x [B, C, H, W] for the classes [B]."""
        if self.gain.num_embeddings == 1:
            class_ids = torch.zeros_like(class_ids)
        gain, bias = self.gain(class_ids), self.bias(class_ids)  # [B, C]
        if self.training:
            x = self.norm(x)
        else:  # the stored statistics go into gain and bias: one pass over x instead of two
            mean, variance = cast(Tensor, self.norm.running_mean), cast(Tensor, self.norm.running_var)
            gain = gain * torch.rsqrt(variance + self.norm.eps)
            bias = bias - mean * gain
        return torch.addcmul(bias[..., None, None], x, gain[..., None, None])


class MixConv(nn.Module):
    """Two 3x3 convolutions, class-conditional norms, a residual: [B, inputs, H, W] -> [B, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, num_classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(inputs, num_classes), ConditionalNorm(outputs, num_classes)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, class_ids: Tensor) -> Tensor:
        """Features [B, inputs, H, W] of the classes [B] -> [B, outputs, H, W]."""
        h = self.conv1(F.relu(self.norm1(x, class_ids), inplace=True))
        return self.conv2(F.relu(self.norm2(h, class_ids), inplace=True)).add_(self.skip(x))
