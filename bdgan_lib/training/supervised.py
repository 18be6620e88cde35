"""Supervised training of classifiers and segmentation networks, on one device or several, and prediction."""

from __future__ import annotations  # Devices names Fabric, which takes seconds to import

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.precision import autocast
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.training.devices import Devices
from bdgan_lib.training.logs import Logger
from bdgan_lib.training.loop import train

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FitConfig:
    """Settings of a supervised training with AdamW; a step is one batch."""

    steps: int = 450
    batch_size: int = 32
    learning_rate: float = 3e-3  # peak of a one-cycle schedule
    weight_decay: float = 1e-4
    flip: bool = True
    brightness: float = 0.15  # contrast +-15%, offset +-0.1
    seed: int = 0


def fit(
    network: nn.Module,
    images: NDArray[np.uint8],
    targets: NDArray[np.integer],
    config: FitConfig = FitConfig(),
    device: str = "cpu",
    progress: str | None = None,
    fabric: Devices | None = None,
    logger: Logger | None = None,
) -> float:
    """Train a network in place with cross-entropy and return the mean loss (nats) of the last 20 steps.

    The same seed, data and device give the same weights.

    Args:
        network: maps images [B, 3, H, W] in [-1, 1] to logits.
        images: [N, H, W, 3] uint8.
        targets: [N] class ids or [N, H, W] labels; 255 is ignored, and a batch of nothing else has loss 0.
        config: the settings.
        device: where to train.
        progress: label of the progress bar; None for no bar.
        fabric: several devices that share each batch, and their precision, launched; replaces `device`.
        logger: receives loss and learning rate of each step (see `Logger`); None for none.

    Raises:
        BdganError: the loss is not finite.
    """
    chosen = (epoch_batch(len(images), step, config) for step in range(config.steps))
    batches = ((images[indices], targets[indices]) for indices in chosen)
    return fit_batches(network, batches, config, device, progress, fabric, logger)


def fit_batches(
    network: nn.Module,
    batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.integer]]],
    config: FitConfig = FitConfig(),
    device: str = "cpu",
    progress: str | None = None,
    fabric: Devices | None = None,
    logger: Logger | None = None,
) -> float:
    """Train as `fit` does, on config.steps batches (images [B, H, W, 3] uint8, targets) from an iterable.

    Batches are read one at a time, so they may be sampled on the fly; config.batch_size is not used.

    Raises:
        BdganError: the iterable ends before the last step.
    """
    stream = torch.Generator().manual_seed(config.seed)
    target = fabric.device if fabric else torch.device(device)
    network.to(target).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    rate, decay = config.learning_rate, config.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, config.steps, pct_start=0.15)
    model: nn.Module = network
    if fabric:
        model, optimizer = fabric.setup(network, optimizer)  # type: ignore[assignment]
    mine = slice(fabric.global_rank, None, fabric.world_size) if fabric else slice(None)
    iterator = iter(batches)

    def loss_of(step: int) -> Tensor:
        batch = next(iterator, None)
        if batch is None:
            raise BdganError(f"the batches ended after {step}; expected {config.steps}, one for each step")
        images, targets = batch
        x = from_uint8(images, torch.channels_last)
        x, y = _augment(x, torch.from_numpy(targets.astype(np.int64)), config, stream)
        reduction = (
            "mean" if (y[mine] != UNLABELLED).any() else "sum"
        )  # the mean of no pixel is NaN, the sum 0
        x, y = x[mine].to(target, memory_format=torch.channels_last), y[mine].to(target)
        with nullcontext() if fabric else autocast(target):
            logits = model(x)
        return F.cross_entropy(logits.float(), y, ignore_index=UNLABELLED, reduction=reduction)

    losses = train(
        loss_of, optimizer, config.steps, schedule, fabric=fabric, progress=progress, logger=logger
    )
    network.eval()
    return sum(losses[-20:]) / len(losses[-20:])


@torch.inference_mode()
def predict(
    network: nn.Module, images: NDArray[np.uint8], batch_size: int = 100, device: str = "cpu"
) -> Tensor:
    """Logits of images [N, H, W, 3] uint8, as float32 on the CPU; the network is left in eval mode."""
    network.to(device).to(memory_format=torch.channels_last).eval()
    logits = []
    for first in range(0, len(images), batch_size):
        x = from_uint8(images[first : first + batch_size], torch.channels_last).to(device)
        with autocast(device):
            logits.append(network(x).float().cpu())
    return torch.cat(logits)


def seeded(network: Callable[[], Network], seed: int) -> Network:
    """Build a network whose initial weights depend on the seed; torch's global generator is reseeded."""
    torch.manual_seed(seed)
    return network()


def epoch_batch(count: int, step: int, config: FitConfig) -> NDArray[np.int64]:
    """Indices of a step's batch; each epoch has its own permutation, a function of the seed and the epoch."""
    positions = np.arange(step * config.batch_size, (step + 1) * config.batch_size)
    return np.array([_shuffled(count, config.seed, p // count)[p % count] for p in positions.tolist()])


@lru_cache(2)  # a batch ends one epoch and begins the next
def _shuffled(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _augment(x: Tensor, y: Tensor, config: FitConfig, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    contrast, offset, flips = torch.rand(3, len(x), generator=stream)
    amount = config.brightness
    x *= (1 + amount * (2 * contrast - 1))[:, None, None, None]
    x += (amount * (2 * offset - 1) * 2 / 3)[:, None, None, None]
    if config.flip:
        flip = flips < 0.5
        x[flip] = x[flip].flip(3)
        if y.dim() > 1:
            y[flip] = y[flip].flip(2)
    return x, y
