"""Training a label head on a handful of annotated samples, all pixels at once, on one device or several."""

from __future__ import annotations  # Devices names Fabric, which takes seconds to import

import json
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

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
from bdgan_lib.heads.settings import HeadTraining
from bdgan_lib.heads.training_data import TrainingData, collect_training_data, feature_bytes, place_features
from bdgan_lib.training.checkpoint import Checkpoint, Stateful
from bdgan_lib.training.devices import Devices, SingleCPU
from bdgan_lib.training.logs import Logger
from bdgan_lib.training.loop import train

CHECKPOINT = "checkpoint.pt"  # of a training that is not finished


def launch_fabric(accelerator: str = "cpu", devices: int = 1, precision: str = "32-true") -> Devices:
    """Set up the devices to train on; with several, this program runs once on each.

    Raises:
        BdganError: the devices or the precision are not available.
    """
    if (accelerator, devices, precision) == ("cpu", 1, "32-true"):
        return SingleCPU()
    from lightning_fabric import Fabric

    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    except Exception as error:  # each kind of device has errors of its own
        raise BdganError(
            f"{devices} x {accelerator} in {precision} is not available ({error!s:.200}); "
            "use --accelerator cpu"
        ) from error
    fabric.launch()
    return fabric


def fit_head(
    head: Head,
    training_data: TrainingData,
    config: HeadTraining,
    fabric: Devices | None = None,
    checkpoint: Path | None = None,
    progress: str | None = None,
    logger: Logger | None = None,
) -> list[float]:
    """Train a head in place with pixel-wise cross-entropy and return the loss (nats) of each step.

    The head's standardisation is measured on the training data first. The same seed, settings and devices
    give the same weights, interrupted or not, because a batch is a function of seed and step.

    Args:
        head: the head to train.
        training_data: features and labels.
        config: how to train.
        fabric: the devices and the precision, launched; None for one CPU device in float32.
        checkpoint: a file written every `save_every` steps. If it exists, training continues from it; it is
            kept if training stops early.
        progress: name on a progress bar; None for no bar.
        logger: receives loss and learning rate of each step (see `Logger`); None for none.

    Raises:
        BdganError: the batch is smaller than the number of devices, the loss is not finite (the weights have
            not taken it), or the checkpoint belongs to another training.
    """
    fabric, size = fabric or SingleCPU(), min(config.batch_size, len(training_data))
    if size < fabric.world_size:
        raise BdganError(
            f"expected batches of {fabric.world_size} or more, one sample per device, got {size}; raise "
            "batch_size or use fewer devices"
        )
    head.standardise(training_data.batches())
    head.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)
    saved = None
    if checkpoint:
        parts: dict[str, Stateful] = {"head": head, "optimizer": optimizer, "schedule": schedule}
        saved = Checkpoint(checkpoint, _fingerprint(head, training_data, config), parts)
    model, optimizer = fabric.setup(head, optimizer)  # a checkpoint is read after this, onto the device
    losses = train(
        lambda step: _loss(model, training_data, config, step, fabric, head.config.architecture.members),
        optimizer, config.steps, schedule,
        checkpoint=saved, save_every=config.save_every, fabric=fabric, progress=progress, logger=logger,
    )  # fmt: skip
    head.eval()
    return losses


def train_head(
    generator: Generator,
    annotations: Iterable[Annotation],
    config: HeadTraining = HeadTraining(),  # noqa: B008
    architecture: Architecture = Architecture(),  # noqa: B008
    fabric: Devices | None = None,
    folder: Path | None = None,
    feature_cache: str = "auto",
    progress: str | None = "label head",
    logger: Logger | None = None,
) -> tuple[Head, list[float]]:
    """Train a label head for a generator on annotated samples (paper section 3.2).

    With progress, the cost is printed before anything is computed.

    Args:
        generator: it gives the features.
        annotations: samples of this generator with their masks.
        config: how to train.
        architecture: the kind of head.
        fabric: the devices and the precision, launched; None for one CPU device in float32.
        folder: where checkpoints and, if memory is short, features are written; None for nowhere.
        feature_cache: where features are kept, see `collect_training_data`.
        progress: name on the progress bar; None for no output.
        logger: receives loss and learning rate of each step (see `Logger`); None for none.

    Returns:
        The head, and its loss (nats) at each step.

    Raises:
        BdganError: as for `collect_training_data` and `fit_head`.
    """
    samples, fabric = list(annotations), fabric or SingleCPU()
    labels: tuple[str, ...] = ("background", "foreground")
    if config.parts:
        masks = np.concatenate([a.mask[a.mask != UNLABELLED] for a in samples] or [np.zeros(1, np.uint8)])
        labels = ("background", *(f"part {k}" for k in range(1, max(2, int(masks.max()) + 1))))
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head_config = HeadConfig(blocks, len(generator.classes), labels, architecture)
    cache_folder = folder and folder / "features"
    needed = feature_bytes(generator.blocks, len(samples))
    if feature_cache == "auto":
        feature_cache = place_features(needed, cache_folder)
    if progress is not None and fabric.is_global_zero:
        cost = head_cost(head_config, min(config.batch_size, max(1, len(samples))))
        where = "recomputed at every step" if feature_cache == "recompute" else f"kept in {feature_cache}"
        print(f"{architecture.variant} head: {cost}", flush=True)
        print(f"features of {len(samples)} samples: {needed / 1e6:,.0f} MB, {where}", flush=True)
    with fabric.rank_zero_first():  # one device writes the files that all read
        data = collect_training_data(generator, samples, config.parts, feature_cache, cache_folder)
    torch.manual_seed(config.seed)
    head = build_head(head_config)
    checkpoint = folder / CHECKPOINT if folder else None
    return head, fit_head(head, data, config, fabric, checkpoint, progress, logger)


def _loss(
    model: torch.nn.Module, data: TrainingData, config: HeadTraining, step: int, fabric: Devices, members: int
) -> Tensor:
    """Mean cross-entropy of this device's share of the batch of a step."""
    noise = np.random.default_rng([config.seed, step])
    size = min(config.batch_size, len(data))
    chosen = noise.choice(len(data), size, replace=False)
    mirror = noise.random() < 0.5
    # the members of an ensemble share the features, but each learns from its own samples
    weights = np.ones((size, 1)) if members == 1 else noise.random((size, members)) < config.member_share
    mine = slice(fabric.global_rank, None, fabric.world_size)
    indices = torch.from_numpy(chosen[mine])
    features = {
        block: x.to(fabric.device, memory_format=torch.channels_last)
        for block, x in data.batch(indices).items()
    }
    masks = data.masks[indices].long()
    if config.pixel_share < 1:
        hidden = noise.random((size, *masks.shape[1:]))[mine] >= config.pixel_share
        masks[torch.from_numpy(hidden)] = UNLABELLED
    masks = masks.to(fabric.device)
    if mirror:  # about the features of the mirrored image
        features, masks = {block: x.flip(3) for block, x in features.items()}, masks.flip(2)
    logits = model(features, data.class_ids[indices].to(fabric.device)).flatten(0, 1)
    if logits.shape[-1] != masks.shape[-1]:  # features of another network may be coarser than its images
        logits = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
    targets = masks.repeat_interleave(members, 0)
    losses = F.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="none")
    weight = torch.from_numpy(weights[mine]).to(losses).flatten()
    labelled = (targets != UNLABELLED).sum((1, 2))
    return (losses.sum((1, 2)) * weight).sum() / (weight * labelled).sum().clamp_min(1)


def _fingerprint(head: Head, data: TrainingData, config: HeadTraining) -> str:
    """A sha256 of everything that a training depends on except the devices."""
    settings = json.dumps([asdict(config), head.config.to_json()])
    labels = data.class_ids.numpy().tobytes() + data.masks.numpy().tobytes()
    return sha256(settings.encode() + labels).hexdigest()
