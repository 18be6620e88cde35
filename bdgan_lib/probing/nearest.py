"""Nearest features: the pixels of other images whose features are most like a given pixel's."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.probing.units import check_count, nearest_pixels, resized


def unit_vectors(blocks: Iterable[Tensor], side: int) -> Tensor:
    """Blocks [N, C_k, h_k, w_k] as one map of vectors of length 1, [N, sum of C_k, side, side].

    Every channel is standardised over all images, and every block's vectors have the same length, so that the
    dot product of two pixels is the mean over the blocks of their cosines.
    """
    vectors = []
    for features in blocks:
        x = resized(features, (side, side))
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.std((0, 2, 3), keepdim=True) + 1e-6)
        vectors.append(F.normalize(x, dim=1))
    return torch.cat(vectors, 1) / len(vectors) ** 0.5


def similarity(vectors: Tensor, image: int, point: tuple[int, int]) -> Tensor:
    """Cosine of the vector at `point` (x, y) of one image with those of all images, [N, h, w], in [-1, 1]."""
    x, y = point
    return torch.einsum("nchw,c->nhw", vectors, vectors[image, :, y, x])


def peaks(maps: Tensor) -> list[tuple[int, int]]:
    """Where each of the maps [N, h, w] is highest, (x, y)."""
    width = maps.shape[2]
    return [(place % width, place // width) for place in maps.flatten(1).argmax(1).tolist()]


def deepest(region: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel (x, y) of a region [H, W] that lies farthest from its border."""
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return int(x), int(y)


def correspondence(
    vectors: Tensor, masks: NDArray[np.uint8], labels: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often the nearest pixel of another image has the same label, and by chance: [labels] each.

    The query is the deepest pixel of the label in each image that has it. The nearest pixel is taken in each
    other image that has the label, among the pixels that are not unlabelled (255).

    Args:
        vectors: of `unit_vectors`, [N, C, h, w].
        masks: [N, H, W], read at the resolution of the vectors.
        labels: to measure.

    Raises:
        BdganError: a label is in fewer than two images, or masks and images differ in number.
    """
    check_count(len(vectors), masks)
    masks = nearest_pixels(masks, vectors.shape[-1])
    keys = vectors.flatten(2)  # [N, C, pixels]
    hit_rates, chance = [], []
    for label in labels:
        holds = np.flatnonzero((masks == label).any((1, 2)))
        if len(holds) < 2:
            raise BdganError(f"expected two or more images with label {label}, got {len(holds)}")
        flat = masks[holds].reshape(len(holds), -1)
        asked = [deepest(masks[n] == label) for n in holds]
        queries = torch.stack([vectors[n, :, y, x] for n, (x, y) in zip(holds, asked, strict=True)])
        hits = []
        for k, n in enumerate(holds):
            scores = (queries @ keys[n]).masked_fill(torch.from_numpy(flat[k] == UNLABELLED), -2)
            hit = flat[k][scores.argmax(1).numpy()] == label
            hits.append(np.delete(hit, k))
        hit_rates.append(np.mean(hits))
        chance.append(np.mean((flat == label).sum(1) / (flat != UNLABELLED).sum(1)))
    return np.array(hit_rates), np.array(chance)
