"""A few numbers per pixel that say most of what all blocks know there: principal components of each block."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.hooks import Blocks
from bdgan_lib.heads.base import resize

_FLOOR = 0.3  # components are divided by their deviation, but by no less than this: it would be noise


class PixelFeatures(nn.Module):
    """Features {block: [B, C, H, W]} -> [B, count, side, side]: the same number of components of each block.

    Enough for a linear classifier that learns from a few pixels, in a page for instance. They are chosen
    without labels: channels are standardised, and the components are those of largest variance, divided by
    their deviation.
    """

    def __init__(self, blocks: Blocks, count: int, side: int) -> None:
        super().__init__()
        if count < len(blocks) or side < 1:
            raise BdganError(
                f"expected a component or more of each of {len(blocks)} blocks at a side of 1 or more, got "
                f"{count} features at {side}"
            )
        self.side = side
        shares = [count // len(blocks) + (k < count % len(blocks)) for k in range(len(blocks))]
        self.projections = nn.ModuleDict(
            {
                name: nn.Conv2d(channels, min(share, channels), 1)
                for (name, (channels, _)), share in zip(blocks.items(), shares, strict=True)
            }
        )
        self.requires_grad_(False)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Project each block, then resize, which is the same and cheaper: -> [B, count, side, side]."""
        projected = (layer(features[name].float()) for name, layer in self.projections.items())
        return torch.cat([resize(x, self.side) for x in projected], 1)


def fit_pixel_features(
    generator: Generator, count: int, side: int, sampling: Sampling, seed: int, images: int = 24
) -> PixelFeatures:
    """The components of a generator's features, measured on samples of its classes in turn.

    Args:
        generator: gives the features.
        count: numbers per pixel, a block's share of which is at most its channels.
        side: at which they are read.
        sampling: how the samples are drawn.
        seed: of the first sample.
        images: samples measured, one at a time.

    Raises:
        BdganError: `count` is below the number of blocks, or `side` below 1.
    """
    model = PixelFeatures(generator.blocks, count, side)
    sums: dict[str, list[Tensor]] = {}
    for k in range(images):
        sample = generator.sample(
            torch.tensor([k % len(generator.classes)]), torch.tensor([seed + k]), sampling
        )
        for name, x in sample.features.items():
            values = x[0].flatten(1).double().cpu()
            parts = [values.mean(1), values @ values.T / values.shape[1]]
            sums[name] = [a + b for a, b in zip(sums.get(name, [torch.zeros(())] * 2), parts, strict=True)]
    for name in model.projections:
        layer = cast(nn.Conv2d, model.projections[name])
        mean, second = (total / images for total in sums[name])
        covariance = second - mean[:, None] * mean
        scale = 1 / (covariance.diagonal().clamp_min(0).sqrt() + 1e-3)
        variances, vectors = torch.linalg.eigh(covariance * scale[:, None] * scale)
        chosen = slice(-len(layer.weight), None)
        vectors = vectors[:, chosen] / variances[chosen].clamp_min(_FLOOR**2).sqrt()
        vectors = vectors * vectors.sum(0).sign()  # of the two signs of a component always the same one
        weight = (vectors * scale[:, None]).T.flip(0)
        layer.weight.copy_(weight[..., None, None])
        cast(Tensor, layer.bias).copy_(-weight @ mean)
    return model
