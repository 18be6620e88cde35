"""Semantic segmentation: fine-tunes a backbone in FCN, DeepLabv3 or a U-Net, scored by mean IoU."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.segmentation import Segmenter, segmenter
from bdgan_lib.downstream.transfer.cityscapes import CITYSCAPES_LABELS
from bdgan_lib.downstream.transfer.samples import shuffled
from bdgan_lib.downstream.transfer.voc import VOC_CLASSES
from bdgan_lib.metrics.segmentation import confusion, iou
from bdgan_lib.training.logs import Logger
from bdgan_lib.training.supervised import FitConfig, fit_batches, predict

_PIXELS = 2**19  # predicted at a time, or one image if it is larger
POCKET_FIT = FitConfig(steps=480, batch_size=8)


@dataclass(frozen=True)
class SegmentConfig:
    """Settings of a segmentation training, with AdamW and a one-cycle schedule (paper: SGD)."""

    labels: tuple[str, ...]  # names of the labels, from 0
    head: str = "unet"  # paper: "fcn"
    fit: FitConfig = POCKET_FIT  # paper: see VOC_FCN, CITYSCAPES_FCN
    frozen: bool = False  # whether the backbone, with its batch statistics, is frozen
    crop: int | None = None  # pixels per side, a multiple of 32; None = whole images
    scales: tuple[float, float] = (1.0, 1.0)  # range of a random resize before the crop; paper: 0.5 to 2
    workers: int = 0  # processes that prefetch images


# the paper's steps and batches, its crops of 513 and 769 rounded; a rate for AdamW (SGD's: 3e-3 and 1e-2)
VOC_FCN = SegmentConfig(
    ("background", *VOC_CLASSES), "fcn", FitConfig(30_000, 16, 1e-4), crop=512, scales=(0.5, 2.0), workers=8
)
CITYSCAPES_FCN = replace(VOC_FCN, labels=CITYSCAPES_LABELS, fit=FitConfig(90_000, 16, 1e-4), crop=768)


def train_and_score(
    backbone: Backbone,
    train: Sequence[Segmented],
    test: Sequence[Segmented],
    config: SegmentConfig,
    device: str = "cpu",
    progress: str | None = None,
    logger: Logger | None = None,
) -> dict[str, float]:
    """Fine-tune a copy of the backbone on `train` and score it on the whole images of `test`.

    The same seed, backbone, data and device give the same scores. `logger` receives loss and learning rate.

    Returns:
        "iou LABEL" in [0, 1], NaN for a label that neither side has; "miou", the mean of the others; "loss".

    Raises:
        BdganError: there are no images, or they differ in size without a crop.
    """
    if not (len(train) and len(test)):
        raise BdganError(f"expected pictures to train on and to score, got {len(train)} and {len(test)}")
    with torch.random.fork_rng():
        torch.manual_seed(config.fit.seed)
        plain = segmenter(copy.deepcopy(backbone), len(config.labels), config.head)
        network = Frozen(plain) if config.frozen else plain
        loss = fit_batches(network, _batches(train, config), config.fit, device, progress, logger=logger)
    pairs = _labelled(network, test, device)
    counts = sum(confusion(labels, item.labels, len(config.labels)) for item, labels in pairs)
    scores = iou(np.asarray(counts))
    by_label = {f"iou {name}": float(score) for name, score in zip(config.labels, scores, strict=True)}
    return {"miou": float(np.nanmean(scores)), **by_label, "loss": loss}


class Frozen(nn.Module):
    """A segmentation network whose backbone, with its batch statistics, does not change in training."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network
        network.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "Frozen":
        """Set the mode of the head; the backbone stays in eval mode."""
        super().train(mode)
        self.network.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, num_labels, H, W]."""
        return self.network(images)


def _batches(
    train: Sequence[Segmented], config: SegmentConfig
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.integer]]]:
    noise = np.random.default_rng([config.fit.seed, 1])
    fit = config.fit
    for batch in shuffled(train, fit.steps, fit.batch_size, fit.seed, config.workers):
        if config.crop is not None:
            batch = [_cropped(item, config.crop, config.scales, noise) for item in batch]
        sizes = {item.labels.shape for item in batch}
        if len(sizes) > 1:
            raise BdganError(f"a batch has pictures of {sorted(sizes)}; give a crop, or use `resized`")
        yield np.stack([item.image for item in batch]), np.stack([item.labels for item in batch])


def _cropped(
    item: Segmented, side: int, scales: tuple[float, float], noise: np.random.Generator
) -> Segmented:
    """A random square of the resized image; beyond its border it is black and unlabelled."""
    scale = float(np.exp(noise.uniform(*np.log(scales))))
    size = [max(1, round(n * scale)) for n in item.labels.shape[::-1]]
    image = cv2.resize(item.image, size, interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(item.labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    y, x = (int(noise.integers(max(0, n - side) + 1)) for n in labels.shape)
    image, labels = image[y : y + side, x : x + side], labels[y : y + side, x : x + side]
    below, beside = side - labels.shape[0], side - labels.shape[1]
    labels = np.pad(labels, ((0, below), (0, beside)), constant_values=UNLABELLED)
    return Segmented(np.pad(image, ((0, below), (0, beside), (0, 0))), labels)


def _labelled(
    network: nn.Module, test: Sequence[Segmented], device: str
) -> Iterator[tuple[Segmented, NDArray[np.int64]]]:
    """Each image with its predicted labels; consecutive small images of one size are predicted together."""
    run: list[Segmented] = []
    for k in range(len(test) + 1):
        item = test[k] if k < len(test) else None
        full = sum(r.labels.size for r in run) > _PIXELS
        if run and (item is None or full or item.labels.shape != run[0].labels.shape):
            height, width = run[0].labels.shape
            below, beside = -height % 32, -width % 32  # sides must be multiples of the networks' strides
            images = np.stack([np.pad(r.image, ((0, below), (0, beside), (0, 0)), "edge") for r in run])
            predictions = predict(network, images, device=device).argmax(1).numpy()
            yield from zip(run, predictions[:, :height, :width], strict=True)
            run = []
        if item is not None:
            run.append(item)
