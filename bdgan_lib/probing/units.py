"""Which unit (channel) of a block fires on which label: network dissection."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import UNLABELLED, BdganError


def join_batches(
    masks: NDArray[np.uint8], names: Sequence[Sequence[str]]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Give masks [N, H, W] whose labels have names image by image one numbering; returns them and its names.

    Labels of one name become one label, in order of appearance; 255 (unlabelled) stays.

    Raises:
        BdganError: a label has no name, or there are more than 255 names.
    """
    check_count(len(names), masks)
    every = tuple(dict.fromkeys(name for its_names in names for name in its_names))
    if len(every) > UNLABELLED:
        raise BdganError(
            f"expected at most {UNLABELLED} names of labels, got {len(every)}; give fewer classes"
        )
    numbers = {name: k for k, name in enumerate(every)}
    joined = np.empty_like(masks)
    for mask, its_names, new in zip(masks, names, joined, strict=True):
        table = np.full(256, UNLABELLED)
        table[: len(its_names)] = [numbers[name] for name in its_names]
        new[:] = table[mask]
        if ((new == UNLABELLED) & (mask != UNLABELLED)).any():
            raise BdganError(
                f"a mask holds label {mask[mask != UNLABELLED].max()}, its names are {list(its_names)}"
            )
    return joined, every


def thresholds(features: Tensor, masks: NDArray[np.uint8], shares: Sequence[float]) -> Tensor:
    """The thresholds [C, S] that units reach on these shares of the labelled pixels.

    A threshold is the (1 - share) quantile of the unit's values. It lies above the smallest of them, so a
    unit that does not vary fires nowhere.

    Args:
        features: [N, C, h, w] of C units.
        masks: [N, H, W]; 255 is unlabelled.
        shares: S numbers in (0, 1].

    Raises:
        BdganError: a share is out of range, no pixel is labelled, or masks and images differ in number.
    """
    check_count(len(features), masks)
    if not all(0 < share <= 1 for share in shares):
        raise BdganError(f"expected shares above 0 and at most 1, got {list(shares)}")
    rows = features.permute(1, 0, 2, 3).flatten(1)[:, _labelled(masks, features)].float()
    if not rows.numel():
        raise BdganError("the masks have no labelled pixel; give masks with labels")
    counts = [max(1, round(share * rows.shape[1])) for share in shares]
    ranked = rows.topk(max(counts), 1).values
    smallest = rows.min(1, keepdim=True).values
    return ranked[:, [count - 1 for count in counts]].maximum(smallest.nextafter(torch.tensor(torch.inf)))


def firing(features: Tensor, threshold: Tensor, size: tuple[int, int]) -> Tensor:
    """Where units fire, [N, C, H, W] bool: where maps [N, C, h, w], resized, reach their thresholds [C]."""
    return resized(features, size) >= threshold[:, None, None]


def unit_label_iou(
    features: Tensor, masks: NDArray[np.uint8], labels: Sequence[int], share: float | None = None
) -> Tensor:
    """How well every unit alone outlines every label: IoU over all images, [C, labels], in [0, 1].

    Takes 40 bytes per unit and pixel of one mask: give masks of 64 x 64 (`nearest_pixels`) for large images.

    Args:
        features: [N, C, h, w] of one block.
        masks: [N, H, W]; unlabelled (255) pixels do not count.
        labels: to compare with.
        share: of the pixels on which a unit fires, where it is highest (Bau et al., "Network dissection",
            2017: 0.005). None: on as many as the label has, so that small and large parts can be compared.

    Raises:
        BdganError: no pixel has one of the labels, or as of `thresholds`.
    """
    areas = np.array([(masks == label).sum() for label in labels])
    if not areas.all():
        raise BdganError(f"no pixel has label {labels[int(areas.argmin())]}; give labels that occur")
    order = np.argsort(-areas, kind="stable")  # a larger label lets a unit fire lower
    shares = areas[order] / (masks != UNLABELLED).sum() if share is None else [share] * len(labels)
    levels = thresholds(features, masks, shares)  # [C, labels], ascending
    channels, count = levels.shape
    place = np.full(256, count)
    place[np.asarray(labels)[order]] = np.arange(count)
    counted = torch.zeros(channels * (count + 1) * (count + 1), dtype=torch.int64)
    rows = torch.arange(channels)[:, None] * (count + 1)
    for features_of_one, mask in zip(features, masks, strict=True):
        seen = torch.from_numpy(mask != UNLABELLED)
        maps = resized(features_of_one[None], mask.shape)[0][:, seen]  # [C, pixels]
        passed = torch.searchsorted(levels, maps, right=True)  # how many levels a pixel reaches
        which = torch.from_numpy(place[mask])[seen]
        counted += torch.bincount(((rows + passed) * (count + 1) + which).flatten(), minlength=len(counted))
    # [C, levels, labels]: pixels of a label that reach a level
    reached = counted.view(channels, count + 1, count + 1).flip(1).cumsum(1).flip(1)[:, 1:]
    both = reached.diagonal(dim1=1, dim2=2)
    scores = torch.empty(channels, count)
    scores[:, order] = both / (reached.sum(2) + torch.from_numpy(areas[order]) - both)
    return scores


def resized(features: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps [N, C, h, w] at another size (H, W), bilinear, averaged where it is smaller."""
    if features.shape[2:] == size:
        return features.float()
    return F.interpolate(features.float(), size=tuple(size), mode="bilinear", antialias=True)


def nearest_pixels(masks: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Masks [N, H, W] at [N, side, side]: the label at the middle of every pixel."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in masks.shape[1:])
    return masks[:, rows[:, None], columns]


def check_count(images: int, masks: NDArray[np.uint8]) -> None:
    """Raise BdganError unless there are as many masks as images."""
    if images != len(masks):
        raise BdganError(f"expected a mask for each image, got {images} images and {len(masks)} masks")


def _labelled(masks: NDArray[np.uint8], features: Tensor) -> Tensor:
    """Which of a block's pixels are labelled for the most part, [N h w] bool."""
    share = torch.from_numpy(masks != UNLABELLED)[:, None].float()
    return F.interpolate(share, size=features.shape[2:], mode="area").flatten() > 0.5
