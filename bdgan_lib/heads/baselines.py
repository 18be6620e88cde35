"""Baselines for the label head: a linear probe, and DatasetGAN's per-pixel networks."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.heads.base import Head, HeadConfig


class LinearProbe(Head):
    """One linear map of a pixel's features from all blocks, resized to the image: no context, no class."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        for group in self.groups:
            self.add_projections(group, config.architecture.members * len(config.labels), self.image_side)

    def logits(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `Head.logits`."""
        logits = self.project(self.projections, features, self.image_side)
        return logits.unflatten(1, (self.config.architecture.members, -1))


class PixelMLP(Head):
    """DatasetGAN's label branch (Zhang et al. 2021): an ensemble of small networks that see one pixel each.

    Each member is Linear, ReLU, batch norm, twice, then Linear, on the features of all blocks resized to the
    image. Here they run together as grouped 1x1 convolutions, the first one before the resize, which is the
    same function. `widths` are those of the two hidden layers.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        (first, second), members = config.architecture.widths, config.architecture.members
        for group in self.groups:
            self.add_projections(group, members * first, self.image_side)
        self.norm1, self.norm2 = nn.BatchNorm2d(members * first), nn.BatchNorm2d(members * second)
        self.hidden = nn.Conv2d(members * first, members * second, 1, groups=members)
        self.out = nn.Conv2d(members * second, members * len(config.labels), 1, groups=members)

    def logits(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `Head.logits`."""
        x = self.project(self.projections, features, self.image_side)
        x = self.norm2(F.relu(self.hidden(self.norm1(F.relu(x)))))
        return self.out(x).unflatten(1, (self.config.architecture.members, -1))
