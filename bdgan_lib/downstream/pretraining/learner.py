"""The base of all methods: a backbone with a loss on two views, and for some a momentum encoder."""

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
    frames: Tensor  # [2, B, 2, 3], see `views.Views`
    class_ids: Tensor | None  # [B]; methods without labels do not read them
    stream: torch.Generator  # for the method's own random draws


class Learner(nn.Module):
    """A method; only its backbone is kept after the training."""

    learning_rate = 2e-3  # peak, AdamW; the papers use SGD or LARS and a rate per method

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def loss(self, batch: Batch) -> Tensor:
        """The scalar loss of a batch; here 0, which leaves the random initialisation."""
        return batch.views.new_zeros(())

    def update_momentum(self, progress: float) -> None:
        """Update the momentum encoder if there is one; progress in (0, 1] = share of steps done."""


class MomentumLearner(Learner):
    """A method with a momentum encoder, whose weights are a moving average (EMA) of the encoder's.

    Args:
        backbone: what is trained.
        head: makes a head of the encoders; called for each of them, because weight norm forbids deepcopy.
        momentum: of the moving average.
    """

    cosine = False  # whether the momentum rises to 1

    def __init__(self, backbone: Backbone, head: Callable[[], nn.Module], momentum: float) -> None:
        super().__init__(backbone)
        self.encoder = Encoder(backbone, head())
        self.momentum_encoder = Encoder(deepcopy(backbone), head()).requires_grad_(False)
        self.momentum_encoder.load_state_dict(self.encoder.state_dict())
        self.momentum = momentum

    def update_momentum(self, progress: float) -> None:
        """EMA update of the momentum encoder, after a step; progress in (0, 1] = share of steps done."""
        from lightly.models.utils import update_momentum

        momentum = cosine_momentum(self.momentum, progress) if self.cosine else self.momentum
        update_momentum(self.encoder, self.momentum_encoder, momentum)


class Encoder(nn.Module):
    """A backbone and a head on its pooled features: images -> projections [B, D] in float32."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Projections [B, D] of images [B, 3, H, W] in [-1, 1]."""
        return self.head(pooled(feature_maps(self.backbone, images)))


def feature_maps(backbone: Backbone, images: Tensor) -> list[Tensor]:
    """The backbone's maps in float32, computed in bfloat16 where that is fast."""
    with autocast(images.device):
        maps = backbone(images.contiguous(memory_format=torch.channels_last))
    return [x.float() for x in maps]


def pooled(maps: list[Tensor]) -> Tensor:
    """Global average pooling of the coarsest map: [B, C]."""
    return maps[-1].mean((2, 3))


def cosine_momentum(momentum: float, progress: float) -> float:
    """Cosine schedule from `momentum` at progress 0 to 1 at progress 1 (BYOL, section 3.3)."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2


@torch.no_grad()
def shuffle_batch_norm(
    encode: Callable[..., tuple[Tensor, ...]], stream: torch.Generator, *inputs: Tensor, groups: int = 4
) -> tuple[Tensor, ...]:
    """Shuffle-BN: encode inputs [B, ...] in random groups and restore their order (MoCo, section 3.3).

    Batch statistics shared by a query and its key would give the pair away.
    """
    order = torch.randperm(len(inputs[0]), generator=stream).to(inputs[0].device)
    parts = [encode(*part) for part in zip(*(x[order].chunk(groups) for x in inputs), strict=True)]
    return tuple(torch.cat(pieces)[order.argsort()] for pieces in zip(*parts, strict=True))


def keep_queue(bank: nn.Module) -> None:
    """Add lightly's queue to the state dict, because a resumed training needs it."""
    for name in ("bank", "bank_ptr"):
        bank.register_buffer(name, bank.get_buffer(name), persistent=True)
