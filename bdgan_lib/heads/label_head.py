"""The label head ("feature interpreter", paper section 3.2): features of a frozen generator -> labels."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.features import groups
from bdgan_lib.heads.mixconv import MixConv
from bdgan_lib.types import BdganError, Sample


@dataclass(frozen=True)
class HeadConfig:
    """Everything that fixes the architecture of a label head."""

    blocks: tuple[tuple[str, int, int], ...]  # (name, channels, side), coarse to fine
    num_classes: int  # of the generator
    labels: tuple[str, ...] = ("background", "foreground")
    widths: tuple[int, int, int] = (48, 32, 24)  # paper: 128, 64, 32 at 512 pixels

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "HeadConfig":
        blocks = tuple((str(name), int(channels), int(side)) for name, channels, side in data["blocks"])
        low, mid, high = data["widths"]
        return cls(blocks, int(data["num_classes"]), tuple(data["labels"]), (low, mid, high))


class LabelHead(nn.Module):
    """Three groups of blocks by resolution, projected, resized to their finest side, fused coarse to fine.

    A 1x1 projection before the resize is the same function as after it, and cheaper.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        sides = {name: (channels, side) for name, channels, side in config.blocks}
        self.groups = groups(sides)
        self.sides = [max(sides[name][1] for name in group) for group in self.groups]
        for name, (channels, _) in sides.items():  # standardisation, measured on the training features
            self.register_buffer(f"mean_{name}", torch.zeros(channels))
            self.register_buffer(f"scale_{name}", torch.ones(channels))
        self.projections = nn.ModuleDict(
            {
                name: nn.Conv2d(sides[name][0], width, 1)
                for group, width in zip(self.groups, config.widths, strict=True)
                for name in group
            }
        )
        low, mid, high = config.widths
        self.mixes = nn.ModuleList(
            [MixConv(i, o, config.num_classes) for i, o in ((low, low), (low + mid, mid), (mid + high, high))]
        )
        self.out = nn.Conv2d(high, len(config.labels), 3, padding=1)

    @property
    def sha256(self) -> str:
        """Of the architecture and the weights; equal before saving and after loading."""
        digest = sha256(json.dumps(self.config.to_json()).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def forward(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """Features {block: [B, C, H, W]} and class ids [B] -> logits [B, K, side, side]."""
        missing = [name for group in self.groups for name in group if name not in features]
        if missing:
            raise BdganError(
                f"features of {', '.join(missing)} are missing; sample the generator with features=True"
            )
        fused: list[Tensor] = []  # what the coarser groups gave, if any
        for group, side, mix in zip(self.groups, self.sides, self.mixes, strict=True):
            projected = [_resize(self._project(name, features[name]), side) for name in group]
            coarser = [_resize(x, side) for x in fused]
            fused = [mix(torch.cat([*coarser, torch.stack(projected).sum(0)], 1), class_ids)]
        return self.out(F.relu(fused[0]))

    @torch.inference_mode()
    def predict(self, sample: Sample) -> NDArray[np.uint8]:
        """Labels [B, side, side] uint8 of a sample drawn with features."""
        self.eval()
        class_ids = sample.class_ids.to(self.out.weight.device)
        return self(sample.features, class_ids).argmax(1).to(torch.uint8).cpu().numpy()

    def standardise(self, features: Mapping[str, Tensor]) -> None:
        """Take means and deviations of the channels from these features."""
        for name in self.projections:
            x = features[name].float()
            getattr(self, f"mean_{name}").copy_(x.mean((0, 2, 3)))
            getattr(self, f"scale_{name}").copy_(1 / (x.std((0, 2, 3)) + 1e-3))

    def _project(self, name: str, x: Tensor) -> Tensor:
        """1x1 projection of the standardised block; the standardisation is folded into the weights."""
        projection = self.projections[name]
        mean, scale = getattr(self, f"mean_{name}"), getattr(self, f"scale_{name}")
        weight = projection.weight * scale[:, None, None]
        bias = projection.bias - (weight[..., 0, 0] @ mean)
        return F.conv2d(x, weight, bias)


def _resize(x: Tensor, side: int) -> Tensor:
    return (
        x
        if x.shape[-1] == side
        else F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    )
