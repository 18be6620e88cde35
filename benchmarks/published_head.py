"""The published label head, plainly: what ours is compared with for speed (here) and for its answers (tests).

Written from the facts about the release's architecture (its layer names, order of operations and sizes):
every group's blocks are resized to its finest side and concatenated before one 1x1 convolution; channels are
gathered, 128 + 64 + 32, and the last mix-conv runs on all 224 at the image's side. Spectral norms come
anew at every call.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectral(nn.Module):
    """A weight divided by the spectral norm that half a power iteration from `u0` gives."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.orthogonal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        self.register_buffer("u0", torch.randn(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    def normalised(self) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u0 @ matrix, eps=1e-4)
            u = F.normalize(v @ matrix.T, eps=1e-4)
            if self.training:
                self.u0.copy_(u)
        return self.weight / (v @ matrix.T @ u.T).squeeze()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.normalised()
        return F.linear(x, weight, self.bias) if x.dim() == 2 else F.conv2d(x, weight, self.bias, padding=1)


class StoredNorm(nn.Module):
    """Batch norm under the release's names; conditional where it has a condition."""

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.eps = 1e-4 if condition else 1e-5
        if condition:
            self.gain, self.bias = Spectral(channels, condition), Spectral(channels, condition)
        else:
            self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = F.batch_norm(x, self.stored_mean, self.stored_var, None, None, self.training, 0.1, self.eps)
        gain, bias = (1 + self.gain(y), self.bias(y)) if y is not None else (self.gain[None], self.bias[None])
        return h * gain[..., None, None] + bias[..., None, None]


class PublishedMixConv(nn.Module):
    """Norm, ReLU, 3x3, twice, on all channels, added to what came."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (Spectral(channels, channels, 3, 3) for _ in range(2))
        self.bn1, self.bn2 = StoredNorm(channels, condition), StoredNorm(channels, condition)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.bn1(x, y)))
        return x + self.conv2(F.relu(self.bn2(h, y)))


class PublishedHead(nn.Module):
    """Features {block: [B, C, H, W]}, class embeddings [B, E] -> foreground logits [B, 1, side, side].

    groups: low, mid, high as lists of (block, channels, side).
    """

    def __init__(
        self,
        groups: Sequence[Sequence[tuple[str, int, int]]],
        condition: int = 128,
        widths: tuple[int, int, int] = (128, 64, 32),
    ) -> None:
        super().__init__()
        self.groups = [[name for name, _, _ in group] for group in groups]
        self.sides = [max(side for _, _, side in group) for group in groups]
        total = [sum(channels for _, channels, _ in group) for group in groups]
        low, mid, high = widths
        self.low_feature_conv, self.mid_feature_conv, self.high_feature_conv = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False))
            for inputs, width in zip(total, widths, strict=True)
        )
        self.mid_feature_mix_conv = PublishedMixConv(low + mid, condition)
        self.high_feature_mix_conv = PublishedMixConv(low + mid + high, condition)
        self.out_layer = nn.Sequential(
            StoredNorm(low + mid + high), nn.ReLU(), Spectral(1, low + mid + high, 3, 3)
        )

    def forward(self, features: Mapping[str, Tensor], y: Tensor) -> Tensor:
        low, mid, high = (
            torch.cat([_resize(features[name], side) for name in names], 1)
            for names, side in zip(self.groups, self.sides, strict=True)
        )
        x = _resize(self.low_feature_conv(low), self.sides[1])
        x = self.mid_feature_mix_conv(torch.cat([x, self.mid_feature_conv(mid)], 1), y)
        x = torch.cat([_resize(x, self.sides[2]), self.high_feature_conv(high)], 1)
        return self.out_layer(self.high_feature_mix_conv(x, y))


def _resize(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
