"""Training a label head on a handful of annotated samples, all pixels at once, on one device or several."""

from __future__ import annotations  # Fabric is named in types alone: it takes seconds to import

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator
from bdgan_lib.heads.base import Architecture, Head, HeadConfig
from bdgan_lib.heads.cost import head_cost
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training_data import TrainingData, collect_training_data, feature_bytes, place_features
from bdgan_lib.training.checkpoint import Checkpoint
from bdgan_lib.training.loop import train

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class HeadTraining:
    """How a label head is trained; a step is one batch."""

    steps: int = 500  # paper: 5_000
    batch_size: int = 4  # over all devices, as in the paper
    learning_rate: float = 5e-3  # peak of a one-cycle schedule; paper: 1e-3 constant
    weight_decay: float = 1e-4
    parts: bool = False  # learn every label of the masks; else foreground against ground
    pixel_share: float = 1.0  # of a batch's pixels that the loss reads; DatasetGAN samples pixels
    member_share: float = 0.5  # of a batch that each member of an ensemble learns from, its own draw
    save_every: int = 100  # steps between checkpoints
    seed: int = 0


def launched(accelerator: str = "cpu", devices: int = 1, precision: str = "32-true") -> Fabric:
    """The devices to train on; with several, this program runs on each. BdganError if they are not there."""
    from lightning_fabric import Fabric

    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    except (RuntimeError, ValueError) as error:
        raise BdganError(
            f"{devices} x {accelerator} in {precision} cannot be had ({error}); use --accelerator cpu"
        ) from error
    fabric.launch()
    return fabric


def fit_head(
    head: Head,
    examples: TrainingData,
    config: HeadTraining,
    fabric: Fabric | None = None,
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> list[float]:
    """Train a head in place with pixel-wise cross-entropy; returns the loss (nats) of each step.

    The head's standardisation is measured on the examples first. The same seed, settings and devices give
    the same weights, interrupted or not: a batch is a function of seed and step.

    Args:
        fabric: the devices and the precision, launched; default one CPU device in float32.
        checkpoint: a file that is written every `save_every` steps, gone on from if it stands there, and left
            behind when training stops early.

    BdganError when the loss stops being finite, before the weights take it, and for a checkpoint of another
    training.
    """
    fabric = fabric or launched()
    if min(config.batch_size, len(examples)) < fabric.world_size:
        raise BdganError(
            f"batches of {min(config.batch_size, len(examples))} came for {fabric.world_size} devices; "
            "raise batch_size or take fewer devices"
        )
    head.standardise(examples.batches())
    head.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)
    saved = checkpoint and Checkpoint(
        checkpoint,
        _fingerprint(head, examples, config),
        {"head": head, "optimizer": optimizer, "schedule": schedule},
    )
    model, optimizer = fabric.setup(head, optimizer)  # a checkpoint is read after this, onto the device
    losses = train(
        lambda step: _loss(model, examples, config, step, fabric, head.config.architecture.members),
        optimizer, config.steps, schedule,
        checkpoint=saved, save_every=config.save_every, fabric=fabric, progress=progress,
    )  # fmt: skip
    head.eval()
    return losses


def train_head(
    generator: Generator,
    annotations: Iterable[Annotation],
    config: HeadTraining = HeadTraining(),
    architecture: Architecture = Architecture(),  # noqa: B008
    fabric: Fabric | None = None,
    folder: Path | None = None,
    keep: str = "auto",
    progress: str | None = "label head",
) -> tuple[Head, list[float]]:
    """A label head for this generator from annotated samples, and its loss at each step (paper section 3.2).

    folder: for checkpoints and, where memory is short, features.
    keep: where features go, see `collect`. With progress the cost is printed before anything is paid.
    BdganError as of `collect` and `fit_head`.
    """
    found, fabric = list(annotations), fabric or launched()
    labels: tuple[str, ...] = ("background", "foreground")
    if config.parts:
        masks = np.concatenate([a.mask[a.mask != UNLABELLED] for a in found] or [np.zeros(1, np.uint8)])
        labels = ("background", *(f"part {k}" for k in range(1, max(2, int(masks.max()) + 1))))
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head_config = HeadConfig(blocks, len(generator.classes), labels, architecture)
    cache = folder and folder / "features"
    needed = feature_bytes(generator.blocks, len(found))
    if keep == "auto":
        keep = place_features(needed, cache)
    if progress is not None and fabric.is_global_zero:
        cost = head_cost(head_config, min(config.batch_size, max(1, len(found))))
        where = {"fresh": "sampled at every step"}.get(keep, f"kept in {keep}")
        print(f"{architecture.variant} head: {cost}", flush=True)
        print(f"features of {len(found)} samples: {needed / 1e6:,.0f} MB, {where}", flush=True)
    with fabric.rank_zero_first():  # one device writes the files that all read
        examples = collect_training_data(generator, found, config.parts, keep, cache)
    torch.manual_seed(config.seed)
    head = build_head(head_config)
    checkpoint = folder / "checkpoint.pt" if folder else None
    return head, fit_head(head, examples, config, fabric, checkpoint, progress)


def _loss(
    model: torch.nn.Module,
    examples: TrainingData,
    config: HeadTraining,
    step: int,
    fabric: Fabric,
    members: int,
) -> Tensor:
    """Mean cross-entropy of this device's share of the batch of a step."""
    noise = np.random.default_rng([config.seed, step])
    size = min(config.batch_size, len(examples))
    chosen = noise.choice(len(examples), size, replace=False)
    mirror = noise.random() < 0.5
    # an ensemble's members see the same features, each at its own samples: different data orders
    weights = np.ones((size, 1)) if members == 1 else noise.random((size, members)) < config.member_share
    mine = slice(fabric.global_rank, None, fabric.world_size)
    indices = torch.from_numpy(chosen[mine])
    features = {
        block: x.to(fabric.device, memory_format=torch.channels_last)
        for block, x in examples.batch(indices).items()
    }
    masks = examples.masks[indices].long()
    if config.pixel_share < 1:
        hidden = noise.random((size, *masks.shape[1:]))[mine] >= config.pixel_share
        masks[torch.from_numpy(hidden)] = UNLABELLED
    masks = masks.to(fabric.device)
    if mirror:  # features of a mirrored image, to good approximation
        features, masks = {block: x.flip(3) for block, x in features.items()}, masks.flip(2)
    logits = model(features, examples.class_ids[indices].to(fabric.device)).flatten(0, 1)
    if logits.shape[-1] != masks.shape[-1]:  # features of another network may be coarser than its images
        logits = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
    wanted = masks.repeat_interleave(members, 0)
    each = F.cross_entropy(logits, wanted, ignore_index=UNLABELLED, reduction="none")
    weight = torch.from_numpy(weights[mine]).to(each).flatten()
    labelled = (wanted != UNLABELLED).sum((1, 2))
    return (each.sum((1, 2)) * weight).sum() / (weight * labelled).sum().clamp_min(1)


def _fingerprint(head: Head, examples: TrainingData, config: HeadTraining) -> str:
    """Of everything a training depends on but the devices."""
    settings = json.dumps([asdict(config), head.config.to_json()])
    labels = examples.class_ids.numpy().tobytes() + examples.masks.numpy().tobytes()
    return sha256(settings.encode() + labels).hexdigest()
