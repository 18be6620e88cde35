"""The images of this folder for torch: Pascal VOC's layout, with real data if you have some.

A mask holds the numbers of the classes, of which 0 is the background, and 255 where nobody has labelled.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

HERE = Path(__file__).parent
NAMES: list[str] = json.loads((HERE / "recipe.json").read_text("utf-8"))["classes"]  # by number
IGNORE = 255
LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
WORKERS = min(4, os.cpu_count() or 1)  # processes that read images


def image_size(multiple: int = 1) -> int:
    """The longer side of the first image, rounded up to a multiple."""
    longest = max(VOCSegmentation(HERE, image_set="train")[0][0].size)
    return -(-longest // multiple) * multiple


def loader(
    split: str, size: int, batch: int, workers: int = WORKERS, real: Path | None = None, times: int = 1
) -> DataLoader:
    """Batches of images [B, 3, size, size] and masks [B, size, size]; flipped and scaled if they train.

    Args:
        split: "train" or "val".
        size: pixels of a side.
        batch: images per batch.
        workers: processes that read images; 0: this one.
        real: a folder with VOCdevkit/VOC2012 of real data, whose masks hold the same numbers.
        times: how often an epoch shows each real image.
    """
    if real and not (listed := real / LIST).is_file():
        raise SystemExit(f"error: --real expects a folder with {LIST}, but {listed} does not exist")
    train = split == "train"
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE}  # what a scaled image leaves free has no label
    change = [v2.RandomHorizontalFlip(), v2.RandomAffine(0, scale=(0.75, 1.25), fill=fill)]
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((size, size)),
            *change * train,
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64}, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            v2.Lambda(torch.squeeze, tv_tensors.Mask),  # [1, H, W] -> [H, W]
        ]
    )

    def images_of(root: Path) -> Dataset:
        return wrap_dataset_for_transforms_v2(VOCSegmentation(root, image_set=split, transforms=transform))

    data = ConcatDataset([images_of(HERE), *([images_of(real)] * times if real and train else [])])
    batch = min(batch, len(data))
    # a last batch of one image breaks batch norm
    return DataLoader(data, batch, shuffle=train, drop_last=train, num_workers=workers)


def count(counts: Tensor, predicted: Tensor, masks: Tensor) -> None:
    """Add the labelled pixels of a batch to counts [classes, classes] of (true, predicted)."""
    known, classes = masks != IGNORE, len(counts)
    pairs = classes * masks[known] + predicted[known]
    counts += torch.bincount(pairs.flatten(), minlength=classes**2).view(classes, classes)


def print_scores(counts: Tensor) -> None:
    """Print the intersection over union of each class, and their mean; "-" is a class that is nowhere."""
    hits = counts.diag()
    ious = hits / (counts.sum(0) + counts.sum(1) - hits)
    for name, iou in zip(NAMES, ious.tolist()):
        print(f"  {name:<24} {'-' if iou != iou else f'{iou:.3f}'}")
    print(f"  mIoU {ious.nanmean():.3f}", flush=True)
