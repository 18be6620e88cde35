"""Detection and instance segmentation: fine-tunes a backbone in Faster or Mask R-CNN, scored by COCO's AP."""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from tqdm import tqdm

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.labelled_arrays import Detected
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.transfer.detectors import PAPER_DETECTOR, POCKET_DETECTOR, DetectorConfig, detector
from bdgan_lib.downstream.transfer.samples import in_order, shuffled
from bdgan_lib.metrics.detection import AveragePrecision, Detections
from bdgan_lib.training.logs import Logger
from bdgan_lib.training.loop import train


@dataclass(frozen=True)
class DetectConfig:
    """Settings of a detector's training; a step is one batch."""

    detector: DetectorConfig = POCKET_DETECTOR
    steps: int = 300  # paper: see COCO_1X, COCO_2X, VOC_07_12
    batch_size: int = 8  # paper: 16
    optimizer: str = "adamw"  # one-cycle schedule; paper: "sgd", with a rate that falls at the milestones
    learning_rate: float = 3e-3  # peak; paper: 0.02
    weight_decay: float = 1e-4
    milestones: tuple[int, ...] = ()  # steps at which SGD's rate is divided by 10
    flip: bool = True
    workers: int = 0  # processes that prefetch images
    seed: int = 0


COCO_1X = DetectConfig(PAPER_DETECTOR, 90_000, 16, "sgd", 0.02, 1e-4, (60_000, 80_000), workers=8)
COCO_2X = replace(COCO_1X, steps=180_000, milestones=(120_000, 160_000))
_VOC_DETECTOR = replace(PAPER_DETECTOR, num_classes=20, masks=False)
VOC_07_12 = replace(COCO_1X, detector=_VOC_DETECTOR, steps=24_000, milestones=(18_000, 22_000))
_WARM_UP = 1_000  # steps of SGD's linear warm-up


def train_and_score(
    backbone: Backbone,
    train_pictures: Sequence[Detected],
    test: Sequence[Detected],
    config: DetectConfig = DetectConfig(),
    device: str = "cpu",
    progress: str | None = None,
    evaluation_steps: Collection[int] = (),
    logger: Logger | None = None,
) -> dict[str, float]:
    """Fine-tune a copy of the backbone and return its AP on `test` (see `AveragePrecision.scores`).

    The same seed, backbone, data and device give the same scores.

    Args:
        backbone: copied, not changed.
        train_pictures: the images to train on.
        test: the images to score on.
        config: the settings.
        device: where to train.
        progress: label of the progress bar; None for no bar.
        evaluation_steps: steps after which to score as well, with keys such as "ap_box after 100".
        logger: receives loss and learning rate of each step (see `Logger`); None for none.

    Returns:
        The scores, and "loss": the mean of the last 20 steps.

    Raises:
        BdganError: there are no images, or they lack the masks that the detector needs.
    """
    if not (len(train_pictures) and len(test)):
        raise BdganError(
            f"expected pictures to train on and to score, got {len(train_pictures)} and {len(test)}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = detector(copy.deepcopy(backbone), config.detector).to(device)
        scores_after: dict[str, float] = {}

        def after_step(steps: int) -> None:
            if steps in evaluation_steps:
                scores = _score(network, test, config, device, progress)
                scores_after.update({f"{key} after {steps}": value for key, value in scores.items()})
                network.train()

        losses = _train(network, train_pictures, config, device, progress, after_step, logger)
    scores = _score(network, test, config, device, progress)
    return {**scores, **scores_after, "loss": sum(losses[-20:]) / max(1, len(losses[-20:]))}


def _train(
    network: nn.Module,
    pictures: Sequence[Detected],
    config: DetectConfig,
    device: str,
    progress: str | None,
    after_step: Callable[[int], object],
    logger: Logger | None,
) -> list[float]:
    """Train in place; return the loss of every step."""
    flips = np.random.default_rng([config.seed, 1])
    batches = iter(shuffled(pictures, config.steps, config.batch_size, config.seed, config.workers))
    optimizer, schedule = _optimizer(network, config)
    network.train()

    def loss_of(step: int) -> Tensor:
        batch = next(batches)
        mirrored = flips.random(len(batch)) < (0.5 if config.flip else 0)
        pairs = [_target(item, m, config) for item, m in zip(batch, mirrored.tolist(), strict=True)]
        images = [x.to(device) for x, _ in pairs]
        parts = network(images, [{k: v.to(device) for k, v in target.items()} for _, target in pairs])
        return torch.stack(list(parts.values())).sum()

    return train(
        loss_of, optimizer, config.steps, schedule, max_norm=10.0,
        after_step=after_step, progress=progress, logger=logger,
    )  # fmt: skip


def _target(item: Detected, mirrored: bool, config: DetectConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """An image [3, H, W] and its target for torchvision's detectors, without ignored objects."""
    used = ~item.ignored
    x, boxes = from_uint8(item.image)[0], torch.from_numpy(item.boxes[used])
    target = {"labels": torch.from_numpy(item.class_ids[used] + 1)}
    if mirrored:
        x = x.flip(-1)
        left, top, right, bottom = boxes.unbind(1)
        boxes = torch.stack([x.shape[-1] - right, top, x.shape[-1] - left, bottom], 1)
    if config.detector.masks:
        if item.masks is None:
            raise BdganError("a picture has no masks; train Faster R-CNN (masks=False) on it")
        masks = torch.from_numpy(item.masks[used]).byte()
        target["masks"] = masks.flip(-1) if mirrored else masks
    return x, {**target, "boxes": boxes}


def _optimizer(network: nn.Module, config: DetectConfig) -> tuple[Optimizer, LRScheduler]:
    used = [p for p in network.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        adamw = AdamW(used, config.learning_rate, weight_decay=config.weight_decay)
        return adamw, OneCycleLR(adamw, config.learning_rate, config.steps, pct_start=0.15)
    if config.optimizer != "sgd":
        raise BdganError(f"expected optimizer 'adamw' or 'sgd', got {config.optimizer!r}")
    sgd = SGD(used, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay)
    rate = lambda step: min(1, (step + 1) / _WARM_UP) * 0.1 ** sum(step >= m for m in config.milestones)
    return sgd, LambdaLR(sgd, rate)


@torch.inference_mode()
def _score(
    network: nn.Module, test: Sequence[Detected], config: DetectConfig, device: str, progress: str | None
) -> dict[str, float]:
    metric = AveragePrecision(config.detector.num_classes, config.detector.masks)
    network.eval()
    batches = in_order(test, config.batch_size, config.workers)
    for batch in tqdm(batches, desc=progress, disable=progress is None, leave=False):
        outs = network([from_uint8(item.image)[0].to(device) for item in batch])
        for item, out in zip(batch, outs, strict=True):
            masks = out["masks"][:, 0].cpu().numpy() > 0.5 if config.detector.masks else None
            arrays = [out[key].cpu().numpy() for key in ("boxes", "labels", "scores")]
            metric.add(item, Detections(arrays[0], arrays[1] - 1, arrays[2], masks))
    return metric.scores()
