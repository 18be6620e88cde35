"""Pre-trains a backbone: all methods share images, views, steps and schedule, and differ in the loss."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import build_backbone
from bdgan_lib.downstream.pretraining.branch import Branch, Joint
from bdgan_lib.downstream.pretraining.files import Pretrained
from bdgan_lib.downstream.pretraining.learner import Batch, Learner
from bdgan_lib.downstream.pretraining.quality import deviation, effective_rank, pooled_features
from bdgan_lib.downstream.pretraining.views import ViewConfig, draw_views
from bdgan_lib.training.checkpoint import Checkpoint, Stateful
from bdgan_lib.training.logs import Logger
from bdgan_lib.training.loop import train

METHODS = (
    "random", "supervised", "supcon", "simclr", "moco-v2", "moco-v3", "byol", "densecl", "dino", "vader",
)  # fmt: skip
_LEAST_RANK = 4.0  # effective rank of features; about 12 in a random network, 8 to 15 in trained ones
Images = NDArray[np.uint8]  # [N, H, W, 3]
Ids = NDArray[np.integer] | None  # [N] class ids


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of a pre-training; in every method a step takes two views of each image of a batch."""

    backbone: str = "pocket-10"  # paper: resnet50
    steps: int = 400  # paper: 200 epochs of ImageNet and more
    batch_size: int = 64  # paper: 256 to 4096
    learning_rate: float | None = None  # peak; None: the method's own
    weight_decay: float = 1e-4
    views: ViewConfig = field(default_factory=ViewConfig)
    save_every: int = 100  # steps between checkpoints
    seed: int = 0


def build_learner(method: str, config: PretrainConfig, num_classes: int = 0) -> Learner:
    """A method with a new backbone, whose initial weights depend on the seed.

    Raises:
        BdganError: the method or the backbone is unknown.
    """
    from bdgan_lib.downstream.pretraining import contrastive, dense, distillation  # they need lightly

    if method not in METHODS:
        raise BdganError(f"expected a method of {', '.join(METHODS)}, got {method!r}")
    learners: dict[str, Callable[..., Learner]] = {
        "random": Learner,
        "supervised": lambda backbone: contrastive.Supervised(backbone, num_classes),
        "supcon": contrastive.SupCon,
        "simclr": contrastive.SimCLR,
        "moco-v2": contrastive.MoCoV2,
        "moco-v3": contrastive.MoCoV3,
        "byol": distillation.BYOL,
        "dino": distillation.DINO,
        "densecl": dense.DenseCL,
        "vader": dense.VADeR,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return learners[method](build_backbone(config.backbone))


def pretrain(
    method: str,
    images: Images,
    class_ids: Ids = None,
    config: PretrainConfig = PretrainConfig(),
    branch: Branch | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    progress: str | None = None,
    logger: Logger | None = None,
) -> Pretrained:
    """Pre-train a backbone on images.

    The same method, data, settings and device give the same weights, interrupted or not, because a batch and
    its views are functions of seed and step.

    Args:
        method: one of METHODS.
        images: [N, H, W, 3] uint8.
        class_ids: [N]; "supervised" and "supcon" need them, the others do not read them.
        config: the settings.
        branch: a segmentation branch in addition to the method's loss (paper section 4.3).
        device: where to train.
        checkpoint: a file that is written every `save_every` steps and resumed from if it exists.
        progress: label of the progress bar; None for no bar.
        logger: receives loss and learning rate of each step (see `Logger`); None for none.

    Raises:
        BdganError: the method is unknown, there are fewer than 8 images or no class ids where it needs them,
            steps is below 1 or batch_size below 8, the loss is not finite, or the checkpoint is of another
            training. Collapse is not an error: see `Pretrained.collapsed`.
    """
    class_ids = _checked(method, images, class_ids, config)
    learner = build_learner(method, config, 0 if class_ids is None else int(class_ids.max()) + 1)
    if branch and branch.config.weight > 0:  # a branch without weight must not affect the backbone
        learner = Joint(learner, branch, config.seed)
    losses: list[float] = []
    speed = 0.0
    if method != "random" or isinstance(learner, Joint):
        training = _fingerprint(method, images, class_ids, config, branch)
        losses, speed = _train(
            learner, images, class_ids, config, device, checkpoint, training, progress, logger
        )
    features = pooled_features(learner.backbone, images[:512])
    record = {
        "method": method,
        "branch": asdict(branch.config) if branch else None,
        "config": asdict(config),
        "images": len(images),
        "losses": [round(loss, 5) for loss in losses],
        "images_per_second": speed,
        "deviation": deviation(features),
        "rank": effective_rank(features),
        "collapsed": effective_rank(features) < _LEAST_RANK,
    }
    state = {key: value.detach().cpu().clone() for key, value in learner.backbone.state_dict().items()}
    return Pretrained(state, record)


def _train(
    learner: Learner,
    images: Images,
    class_ids: Ids,
    config: PretrainConfig,
    device: str,
    checkpoint: Path | None,
    training: str,
    progress: str | None,
    logger: Logger | None,
) -> tuple[list[float], float]:
    """Train in place; return the loss of every step and images per second."""
    learner.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    rate = config.learning_rate or learner.learning_rate
    weights = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, config.steps, pct_start=0.1)
    parts: dict[str, Stateful] = {"learner": learner, "optimizer": optimizer, "schedule": schedule}
    saved = None if checkpoint is None else Checkpoint(checkpoint, training, parts)
    start, steps_taken = time.monotonic(), 0

    def after_step(steps: int) -> None:
        nonlocal steps_taken
        steps_taken += 1
        learner.update_momentum(steps / config.steps)

    losses = train(
        lambda step: learner.loss(_batch(images, class_ids, config, step, device)),
        optimizer, config.steps, schedule,
        after_step=after_step, checkpoint=saved, save_every=config.save_every, progress=progress,
        logger=logger,
    )  # fmt: skip
    seen = steps_taken * min(config.batch_size, len(images))
    return losses, round(seen / max(time.monotonic() - start, 1e-9), 1)


def _batch(images: Images, class_ids: Ids, config: PretrainConfig, step: int, device: str) -> Batch:
    """The batch of a step, a function of the seed and the step."""
    noise = np.random.default_rng([config.seed, step])
    chosen = noise.choice(len(images), min(config.batch_size, len(images)), replace=False)
    stream = torch.Generator().manual_seed(int(noise.integers(2**62)))
    views = draw_views(from_uint8(images[chosen]).repeat(2, 1, 1, 1), config.views, stream)
    ids: Tensor | None = None
    if class_ids is not None:
        ids = torch.from_numpy(class_ids[chosen].astype(np.int64)).to(device)
    pairs, frames = (x.unflatten(0, (2, -1)).to(device) for x in (views.images, views.frames))
    return Batch(pairs, frames, ids, stream)


def _checked(method: str, images: Images, class_ids: Ids, config: PretrainConfig) -> Ids:
    """The class ids if the method needs them, else None."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) < 8:
        raise BdganError(
            f"expected 8 or more images, uint8 [N, H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    if config.steps < 1 or config.batch_size < 8:
        raise BdganError(
            f"expected steps from 1 and batch_size from 8, got {config.steps} and {config.batch_size}"
        )
    if method not in ("supervised", "supcon"):
        return None
    if class_ids is None or class_ids.shape != (len(images),) or class_ids.min() < 0:
        actual = "none" if class_ids is None else f"{list(class_ids.shape)}, least {class_ids.min()}"
        raise BdganError(f"{method} learns from class ids: expected one per image, from 0, got {actual}")
    return class_ids


def _fingerprint(
    method: str, images: Images, class_ids: Ids, config: PretrainConfig, branch: Branch | None
) -> str:
    """The sha256 of everything a training depends on except the device."""
    settings = [method, asdict(config), asdict(branch.config) if branch else None]
    digest = sha256(json.dumps(settings).encode())
    arrays = [images, class_ids, *((branch.training_set.images, branch.training_set.masks) if branch else ())]
    for array in arrays:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
