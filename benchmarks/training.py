"""A training step of the downstream experiments' network: the plain loop beside the present one.

    python -m benchmarks.training            writes results/training.json
    python -m benchmarks.training --quick    fewer rounds; writes training_quick.json

The pocket's U-Net on pocket-10, 13 labels, batches of 16 at 64 pixels, on one thread. Both train in turns in
one process; `steps_speedup` is the median over the rounds of the ratio of their seconds.
"""

from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.precision import autocast, one_thread
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.downstream.segmentation import Segmenter, segmenter
from bdgan_lib.training.supervised import FitConfig, fit, seeded
from bdgan_lib.worlds.pocket import render_set
from benchmarks.command import command
from benchmarks.label_head import in_turns, ratio

IMAGES, LABELS = 600, 13
ROUNDS, STEPS = {"full": 15, "quick": 4}, 20  # steps of a round


def unet() -> Segmenter:
    return seeded(lambda: segmenter("pocket-10", LABELS), 0)


def plain_unet() -> Segmenter:
    """The same network, which standardises images that are standard."""
    network = unet()
    network.backbone._is_standard = False
    return network


def plain_fit(
    network: nn.Module, images: NDArray[np.uint8], masks: NDArray[np.uint8], config: FitConfig
) -> float:
    """What `fit` computes, as it is written without regard for time."""
    stream = torch.Generator().manual_seed(config.seed)
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    rate = config.learning_rate
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, config.steps, pct_start=0.15)
    losses = []
    for step in range(config.steps):
        x, y = plain_batch(images, masks, step, config, stream)
        with autocast("cpu"):
            logits = network(x.to(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y, ignore_index=255)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    return sum(losses[-20:]) / len(losses[-20:])


def plain_batch(
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    step: int,
    config: FitConfig,
    stream: torch.Generator,
) -> tuple[Tensor, Tensor]:
    positions = range(step * config.batch_size, (step + 1) * config.batch_size)
    order = [np.random.default_rng([config.seed, p // len(images)]) for p in (positions[0], positions[-1])]
    first, last = (noise.permutation(len(images)) for noise in order)
    epoch = positions[0] // len(images)
    chosen = [(first if p // len(images) == epoch else last)[p % len(images)] for p in positions]
    x, y = from_uint8(images[chosen]), torch.from_numpy(masks[chosen].astype(np.int64))
    contrast, offset, flips = torch.rand(3, len(x), generator=stream)
    x = x * (1 + config.brightness * (2 * contrast - 1))[:, None, None, None]
    x = x + (config.brightness * (2 * offset - 1) * 2 / 3)[:, None, None, None]
    flip = flips < 0.5
    x[flip], y[flip] = x[flip].flip(3), y[flip].flip(2)
    return x, y


@one_thread()
def measure(size: str) -> dict[str, object]:
    scenes = render_set(IMAGES, POCKET["benchmarks"].first, 64)
    data, config = (scenes.images, scenes.class_masks), FitConfig(STEPS, 16, 6e-3)
    plain, present = plain_unet(), unet()
    losses = plain_fit(plain, *data, config), fit(present, *data, config)
    assert abs(losses[0] - losses[1]) < 0.05, f"expected the same losses, got {losses}"
    contestants = {
        "plain": lambda: plain_fit(plain, *data, config),
        "present": lambda: fit(present, *data, config),
    }
    seconds = in_turns(contestants, ROUNDS[size])
    return {
        "steps_speedup": round(ratio(seconds, "plain", "present"), 3),
        "steps_per_second": round(STEPS / median(seconds["present"]), 2),
        "plain_steps_per_second": round(STEPS / median(seconds["plain"]), 2),
    }


if __name__ == "__main__":
    command("training", __doc__, measure, "within a minute")
