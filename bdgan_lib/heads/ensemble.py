"""An ensemble of label heads: light outputs on one trunk, and how much they disagree (paper section 3.3)."""

from math import gcd

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.heads.folding import Folding


class Members(Folding):
    """Output layers on one trunk, each with its own weights: [B, C, H, W] -> [B, M, K, sH, sW].

    Every member reads the trunk through its own 1x1 layer of `width` channels. Then one 3x3 convolution gives
    its logits, those of s x s pixels at each place. A single member has only the 3x3 convolution.
    """

    def __init__(self, inputs: int, members: int, labels: int, scale: int = 1, width: int = 12) -> None:
        super().__init__()
        self.members, self.scale = members, scale
        self.read = nn.Conv2d(inputs, members * width, 1) if members > 1 else nn.Identity()
        wide, outputs = members * width if members > 1 else inputs, members * labels * scale**2
        self.write = nn.Conv2d(wide, outputs, 3, padding=1, groups=members)

    def forward(self, x: Tensor) -> Tensor:
        """The trunk's output [B, C, H, W] -> logits [B, M, K, sH, sW]."""
        return self._pixels(self.write(self._read(x)))

    def log_odds(self, x: Tensor) -> Tensor:
        """As `log_odds` of the logits, [B, M, K - 1, sH, sW]; cheaper than computing the logits first."""
        groups = self.members // gcd(self.members, 4)
        weight, bias = self.folded("odds", tuple(self.write.parameters()), lambda: self._of_odds(groups))
        return self._pixels(F.conv2d(self._read(x), weight, bias, padding=1, groups=groups))

    def _of_odds(self, groups: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of `log_odds`, in so many groups: convolutions of very few channels are slow."""
        weight, bias = (self._differences(p) for p in self.write.parameters())
        blocks = weight.unflatten(0, (groups, self.members // groups, -1))
        eye = torch.eye(self.members // groups, device=weight.device, dtype=weight.dtype)
        return torch.einsum("gaochw,ab->gaobchw", blocks, eye).flatten(3, 4).flatten(0, 2), bias

    def _read(self, x: Tensor) -> Tensor:
        return F.relu(self.read(x), inplace=True) if self.members > 1 else x

    def _differences(self, of_labels: Tensor) -> Tensor:
        per_label = of_labels.unflatten(0, (self.members, -1, self.scale**2))
        return (per_label[:, 1:] - per_label[:, :1]).flatten(0, 2)

    def _pixels(self, h: Tensor) -> Tensor:
        pixels = F.pixel_shuffle(h, self.scale) if self.scale > 1 else h
        return pixels.unflatten(1, (self.members, -1))


def log_odds(logits: Tensor) -> Tensor:
    """Logits [B, M, K, H, W] -> those of labels 1 to K - 1 minus those of label 0, [B, M, K - 1, H, W]."""
    return logits[:, :, 1:] - logits[:, :, :1]


def mean_and_divergence(odds: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds [B, M, K - 1, H, W] -> the members' mean probability [B, K, H, W] and divergence [B, H, W].

    The Jensen-Shannon divergence of a pixel is H(mean P) - mean H(P), in nats, in [0, ln min(M, K)]. The
    paper drops the tenth of the samples with the largest divergence.
    """
    odds, members = odds.float(), odds.shape[1]
    if odds.shape[2] == 1 and members <= 100:
        x = odds[:, :, 0]
        mean = x.sigmoid().mean(1)
        mean, size = torch.stack([1 - mean, mean], 1), x.abs()
        # H(p) of log-odds x is |x| - |x| sigmoid(|x|) - log sigmoid(|x|). The sum of logarithms is taken as
        # one logarithm of the product: each factor is in [0.5, 1], so that of a hundred does not underflow.
        confidence = size.sigmoid()
        linear = torch.addcmul(size, size, confidence, value=-1).sum(1)
        entropy = (linear - confidence.prod(1).log()) / members
    else:
        log_p = torch.cat([torch.zeros_like(odds[:, :, :1]), odds], 2).log_softmax(2)
        p = log_p.exp()
        mean, entropy = p.mean(1), -(p * log_p).sum(2).mean(1)
    return mean, (torch.special.entr(mean).sum(1) - entropy).clamp_min(0) if members > 1 else entropy * 0


def image_divergence(divergence: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divergences of pixels [B, H, W] -> their mean per image [B], in nats."""
    return divergence.mean((1, 2)).astype(np.float32)
