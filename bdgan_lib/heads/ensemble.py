"""An ensemble of label heads: light outputs on one trunk, and how much they disagree (paper section 3.3)."""

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class Members(nn.Module):
    """Output layers on one trunk, each with its own weights: [B, C, H, W] -> [B, M, K, sH, sW].

    Every member reads the trunk through its own 1x1 layer of `width` channels, then one 3x3 convolution gives
    its logits, those of s x s pixels at each place. A single member has the 3x3 convolution alone.
    """

    def __init__(self, inputs: int, members: int, labels: int, scale: int = 1, width: int = 12) -> None:
        super().__init__()
        self.members, self.scale = members, scale
        self.read = nn.Conv2d(inputs, members * width, 1) if members > 1 else nn.Identity()
        self.write = nn.Conv2d(
            members * width if members > 1 else inputs,
            members * labels * scale**2,
            3,
            padding=1,
            groups=members,
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.write(F.relu(self.read(x)) if self.members > 1 else x)
        logits = F.pixel_shuffle(h, self.scale) if self.scale > 1 else h
        return logits.unflatten(1, (self.members, -1))


def mean_and_divergence(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, M, K, H, W] -> the members' mean probability [B, K, H, W], their JS divergence [B, H, W].

    The Jensen-Shannon divergence of a pixel is H(mean P) - mean H(P), in nats, in [0, ln min(M, K)]; the
    paper drops the tenth of the samples where it is largest.
    """
    log_p = logits.float().log_softmax(2)
    p = log_p.exp()
    mean = p.mean(1)
    if logits.shape[1] == 1:
        return mean, mean.new_zeros((len(mean), *mean.shape[2:]))
    entropy_of_mean = -(mean * mean.clamp_min(1e-12).log()).sum(1)
    mean_entropy = -(p * log_p).sum(2).mean(1)
    return mean, (entropy_of_mean - mean_entropy).clamp_min(0)


def image_divergence(divergence: NDArray[np.floating]) -> NDArray[np.float32]:
    """Pixels' divergences [B, H, W] -> the image's [B]: their mean, in nats."""
    return divergence.mean((1, 2)).astype(np.float32)
