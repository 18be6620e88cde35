"""What every method is: a backbone with a loss on two views, and maybe a moving average of it."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdgan_lib.core.precision import autocast
from bdgan_lib.downstream.backbones import Backbone


@dataclass(frozen=True)
class Batch:
    """Two views of each of B images."""

    views: Tensor  # [2, B, 3, S, S] in [-1, 1]
    frames: Tensor  # [2, B, 2, 3], see views.Views
    class_ids: Tensor | None  # [B]; methods without labels never read them
    stream: torch.Generator  # for what a method draws itself


class Learner(nn.Module):
    """A method: its backbone is what is kept, all else is thrown away afterwards."""

    learning_rate = 2e-3  # peak, AdamW; the papers have SGD or LARS, and a rate for each method

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def loss(self, batch: Batch) -> Tensor:
        """A scalar to descend; here nothing is learned: a random initialisation."""
        return batch.views.new_zeros(())

    def update_momentum(self, progress: float) -> None:
        """Move the twin towards the weights, after a step; progress in (0, 1] is the share of steps done."""


class Encoder(nn.Module):
    """A backbone and a head on its pooled features: images -> projections [B, D] in float32."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(pooled(feature_maps(self.backbone, images)))


def feature_maps(backbone: Backbone, images: Tensor) -> list[Tensor]:
    """The backbone's maps in float32, computed in bfloat16 where that is fast; heads and losses are not."""
    with autocast(images.device):
        maps = backbone(images.contiguous(memory_format=torch.channels_last))
    return [x.float() for x in maps]


def pooled(maps: list[Tensor]) -> Tensor:
    """[B, C]: the mean of the coarsest map."""
    return maps[-1].mean((2, 3))


def momentum_encoder(encoder: Encoder, head: nn.Module) -> Encoder:
    """A copy that no gradient reaches; `head` is a fresh one of its kind: weight norm forbids deepcopy."""
    key_encoder = Encoder(deepcopy(encoder.backbone), head)
    key_encoder.load_state_dict(encoder.state_dict())
    return key_encoder.requires_grad_(False)


def cosine_momentum(momentum: float, progress: float) -> float:
    """From `momentum` to 1 along half a cosine (BYOL, section 3.3)."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2


@torch.no_grad()
def shuffle_batch_norm(
    encode: Callable[..., tuple[Tensor, ...]], stream: torch.Generator, *inputs: Tensor, groups: int = 4
) -> tuple[Tensor, ...]:
    """Encode [B, ...] in random groups: statistics of one batch would betray pairs (MoCo, section 3.3)."""
    order = torch.randperm(len(inputs[0]), generator=stream).to(inputs[0].device)
    parts = [encode(*part) for part in zip(*(x[order].chunk(groups) for x in inputs), strict=True)]
    return tuple(torch.cat(pieces)[order.argsort()] for pieces in zip(*parts, strict=True))


def keep_queue(bank: nn.Module) -> None:
    """Have lightly's queue saved with the weights: a resumed training needs it."""
    for name in ("bank", "bank_ptr"):
        bank.register_buffer(name, bank.get_buffer(name), persistent=True)
