"""What all label heads share: settings, standardised features, and labels from logits."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import weights_sha256
from bdgan_lib.core.host_transfer import to_host
from bdgan_lib.core.precision import autocasts
from bdgan_lib.core.sampling import Sample
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.hooks import group_blocks
from bdgan_lib.heads.ensemble import image_divergence, log_odds, mean_and_divergence
from bdgan_lib.heads.folding import Folding

GROUPS = ("low", "mid", "high")  # of blocks, by resolution
WIDTHS = {"paper": (128, 64, 32), "fast": (64, 48, 32), "linear": (), "mlp": (128, 32)}


@dataclass(frozen=True)
class Architecture:
    """The kind of a head; `HeadConfig` adds what depends on the generator and the labels."""

    variant: str = "fast"  # paper or fast; the baselines are linear and mlp
    widths: tuple[int, ...] = ()  # of low, mid, high group; for mlp of its hidden layers; empty: WIDTHS
    stride: int = 2  # of fast: it mixes at the image's side / stride
    members: int = 1  # of the ensemble; paper: 16
    conditional: bool = True  # the norms know the class
    groups: tuple[str, ...] = ("low", "mid", "high")  # whose features are read

    def __post_init__(self) -> None:
        if self.variant not in WIDTHS:
            raise BdganError(f"expected a head variant of {', '.join(WIDTHS)}, got {self.variant!r}")
        object.__setattr__(self, "widths", tuple(self.widths) or WIDTHS[self.variant])
        object.__setattr__(self, "groups", tuple(self.groups))
        count = len(WIDTHS[self.variant])
        if len(self.widths) != count or any(width < 1 for width in self.widths):
            raise BdganError(f"expected {count} widths of 1 or more for {self.variant}, got {self.widths}")
        if not self.groups or set(self.groups) - set(GROUPS):
            raise BdganError(f"expected one or more groups of {', '.join(GROUPS)}, got {self.groups}")
        if self.variant == "paper" and set(self.groups) != set(GROUPS):
            raise BdganError(f"expected groups {', '.join(GROUPS)} for the paper's head, got {self.groups}")
        if self.members < 1 or self.stride < 1:
            raise BdganError(
                f"expected 1 or more members and stride 1 or more, got {self.members} and {self.stride}"
            )


@dataclass(frozen=True)
class HeadConfig:
    """Everything that fixes the shapes of a label head."""

    blocks: tuple[tuple[str, int, int], ...]  # (name, channels, side), coarse to fine
    num_classes: int  # of the generator
    labels: tuple[str, ...] = ("background", "foreground")
    architecture: Architecture = Architecture()

    def to_json(self) -> dict[str, object]:
        """As a JSON object; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "HeadConfig":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: the record is anything else.
        """
        blocks = tuple((str(name), int(channels), int(side)) for name, channels, side in data["blocks"])
        architecture = Architecture(**data["architecture"])
        return cls(blocks, int(data["num_classes"]), tuple(data["labels"]), architecture)


class Head(Folding, ABC):
    """Predicts pixel labels from a generator's features; each variant implements `logits`.

    Features are standardised per channel. The means and deviations, measured on the training features, are
    folded into the projections, so standardising is free. Features may be bfloat16: each block is converted
    where it is read.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.sides = {name: side for name, _, side in config.blocks}
        self.image_side = max(self.sides.values())
        groups = zip(GROUPS, group_blocks({name: (c, s) for name, c, s in config.blocks}), strict=True)
        self.groups = {group: names for group, names in groups if group in config.architecture.groups}
        for name, channels, _ in config.blocks:
            self.register_buffer(f"mean_{name}", torch.zeros(channels))
            self.register_buffer(f"scale_{name}", torch.ones(channels))
        self.projections = nn.ModuleDict()

    @abstractmethod
    def logits(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """Features {block: [B, C, H, W]} and class ids [B] -> [B, members, K, side, side]."""

    def log_odds(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """As `forward`, but logits of labels 1 to K - 1 minus label 0's: [B, members, K - 1, side, side].

        The labels' probabilities depend on nothing else; a variant may compute it more cheaply.
        """
        return log_odds(self(features, class_ids))

    def forward(self, features: Mapping[str, Tensor], class_ids: Tensor) -> Tensor:
        """Features {block: [B, C, H, W]} and class ids [B] -> logits [B, members, K, side, side].

        Raises:
            BdganError: features of some blocks are missing; they are named.
        """
        self._require(features)
        return self.logits(features, class_ids)

    def _require(self, features: Mapping[str, Tensor]) -> None:
        missing = [name for name in self.projections if name not in features]
        if missing:
            raise BdganError(
                f"expected features of {', '.join(missing)}, got {', '.join(features) or 'none'}; sample "
                "with features=True, and from the generator that the head was trained on"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label ids."""
        return self.config.labels

    @property
    def sha256(self) -> str:
        """The sha256 of architecture and weights; saving and loading keeps it."""
        return weights_sha256(self, json.dumps(self.config.to_json()))

    @torch.inference_mode()
    def label(
        self, features: Mapping[str, Tensor], class_ids: Tensor
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels [B, side, side] and the members' JS divergence at every pixel [B, side, side], in nats.

        A label is the one with the largest mean probability over the members. The divergence is in
        [0, ln members]: 0 where the members agree, and everywhere for a single member.
        """
        labels, divergence = self.label_tensors(features, class_ids)
        return labels.cpu().numpy(), divergence.cpu().numpy()

    @torch.inference_mode()
    def label_tensors(self, features: Mapping[str, Tensor], class_ids: Tensor) -> tuple[Tensor, Tensor]:
        """As `label`, on the head's device."""
        self.eval()
        odds = self.log_odds(features, class_ids.to(next(self.parameters()).device))
        mean, divergence = mean_and_divergence(odds)
        return largest(mean), divergence

    def predict_with_uncertainty(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels [B, side, side] of a sample, and each image's mean JS divergence [B], in nats."""
        labels, divergence = self.label_tensors(sample.features, sample.class_ids)
        if labels.device.type == "cpu":
            return labels.numpy(), image_divergence(divergence.numpy())
        means, masks = to_host([divergence.mean((1, 2)), labels])
        return cast(NDArray[np.uint8], masks), cast(NDArray[np.float32], means)

    def predict(self, sample: Sample) -> NDArray[np.uint8]:
        """Labels [B, side, side] uint8 of a sample drawn with features."""
        return self.label(sample.features, sample.class_ids)[0]

    def standardise(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Measure mean and deviation of every channel over batches of features."""
        sums: dict[str, Tensor] = {}
        count: dict[str, int] = {}
        for features in batches:
            for name in self.projections:
                x = features[name].double()
                moments = torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
                sums[name] = sums.get(name, torch.zeros(())) + moments
                count[name] = count.get(name, 0) + x.numel() // x.shape[1]
        for name, (total, squares) in sums.items():
            mean = total / count[name]
            deviation = (squares / count[name] - mean.square()).clamp_min(0).sqrt()
            getattr(self, f"mean_{name}").copy_(mean)
            getattr(self, f"scale_{name}").copy_(1 / (deviation + 1e-3))

    def add_projections(self, group: str, width: int, side: int) -> None:
        """Add a convolution to `width` channels per block of a group; blocks finer than `side` in patches."""
        for name, channels, block_side in self.config.blocks:
            if name in self.groups[group]:
                patch = max(1, block_side // side)
                self.projections[name] = nn.Conv2d(channels, width, patch, stride=patch)

    def project(self, names: Iterable[str], features: Mapping[str, Tensor], side: int) -> Tensor:
        """Sum of these blocks' projections at `side`; resizing comes last, which is the same and cheaper."""
        return reduce(Tensor.add_, (resize(self._project(name, features[name]), side) for name in names))

    def _project(self, name: str, x: Tensor) -> Tensor:
        kernel, offset = self.projections[name].parameters()
        mean, scale = getattr(self, f"mean_{name}"), getattr(self, f"scale_{name}")

        def standardised() -> tuple[Tensor, Tensor]:
            weight = kernel * scale[:, None, None]
            return weight, offset - weight.sum((2, 3)) @ mean

        weight, bias = self.folded(name, (kernel, offset, mean, scale), standardised)
        if not autocasts(x):
            x = x.to(weight.dtype)
        return F.conv2d(x, weight, bias, weight.shape[2:])


def largest(scores: Tensor) -> Tensor:
    """Index of the largest score, [B, K, ...] -> [B, ...] uint8; on a CPU far faster than argmax(1)."""
    best, index = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for k in range(1, scores.shape[1]):
        if k > 1:
            best = torch.maximum(best, scores[:, k - 1])
        index.masked_fill_(scores[:, k] > best, k)
    return index


def resize(x: Tensor, side: int) -> Tensor:
    """Resize bilinearly, [..., H, W] -> [..., side, side]; x itself if it has that size."""
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
