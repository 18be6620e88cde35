"""Label heads ("feature interpreters", paper section 3.2): features of a frozen generator -> labels."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.base import Head, HeadConfig, resize
from bdgan_lib.heads.baselines import LinearProbe, PixelMLP
from bdgan_lib.heads.ensemble import Members
from bdgan_lib.heads.mixconv import MixConv


class PaperHead(Head):
    """The published architecture: groups are mixed at their finest side and channels are concatenated.

    At 512 pixels: 128 channels at 32, then 192 mixed at 128, then 224 mixed at 512. The release concatenates
    a group's resized blocks before one 1x1 convolution; projecting each before its resize is the same.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        architecture = config.architecture
        self.group_sides = {g: max(self.sides[name] for name in names) for g, names in self.groups.items()}
        for group, width in zip(self.groups, architecture.widths, strict=True):
            self.add_projections(group, width, self.group_sides[group])
        low, mid, high = architecture.widths
        classes = config.num_classes if architecture.conditional else 1
        fused = {"mid": low + mid, "high": low + mid + high}
        self.mixes = nn.ModuleDict({group: MixConv(n, n, classes) for group, n in fused.items()})
        self.norm = nn.BatchNorm2d(fused["high"])
        self.out = nn.Conv2d(fused["high"], architecture.members * len(config.labels), 3, padding=1)

    def logits(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `Head.logits`."""
        x = self.project(self.groups["low"], features, self.group_sides["low"])
        for group in ("mid", "high"):
            side = self.group_sides[group]
            x = torch.cat([resize(x, side), self.project(self.groups[group], features, side)], 1)
            x = self.mixes[group](x, class_ids)
        return self.out(F.relu(self.norm(x))).unflatten(1, (self.config.architecture.members, -1))


class FastHead(Head):
    """The same idea at a fraction of the cost: it mixes at sides S/4, S/2 and S = image side / stride.

    Finer blocks are read as patches (a convolution whose stride is its size) and logits are written as
    patches, so each pixel still has its own weights and no detail is averaged away.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        architecture, inputs = config.architecture, 0
        side = self.image_side // architecture.stride
        if self.image_side % (4 * architecture.stride):
            raise BdganError(
                f"stride {architecture.stride} does not fit images of {self.image_side}; take one that "
                "leaves a multiple of 4"
            )
        classes = config.num_classes if architecture.conditional else 1
        self.mix_sides = {"low": side // 4, "mid": side // 2, "high": side}
        self.mixes = nn.ModuleDict()
        for group, width in zip(self.mix_sides, architecture.widths, strict=True):
            if group in self.groups:
                self.add_projections(group, width, self.mix_sides[group])
                inputs += width
            if inputs:  # no group so far otherwise
                self.mixes[group] = MixConv(inputs, width, classes)
                inputs = width
        self.out = Members(inputs, architecture.members, len(config.labels), architecture.stride)

    def logits(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `Head.logits`."""
        return self.out(self._trunk(features, class_ids))

    def log_odds(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `Head.log_odds`."""
        self._require(features)
        return self.out.log_odds(self._trunk(features, class_ids))

    def _trunk(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        fused: list[Tensor] = []  # output of the coarser groups, if any
        for group, mix in self.mixes.items():
            side = self.mix_sides[group]
            inputs = [resize(x, side) for x in fused]
            if group in self.groups:
                inputs.append(self.project(self.groups[group], features, side))
            fused = [mix(torch.cat(inputs, 1), class_ids)]
        return F.relu(fused[0], inplace=True)


VARIANTS: dict[str, type[Head]] = {
    "paper": PaperHead,
    "fast": FastHead,
    "linear": LinearProbe,
    "mlp": PixelMLP,
}


def build_head(config: HeadConfig) -> Head:
    """A new head of the configured variant.

    Raises:
        BdganError: the blocks have fewer than four resolutions, or the stride does not fit the image side.
    """
    return VARIANTS[config.architecture.variant](config)
