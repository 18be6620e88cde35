"""Scores of pixels from clusters and clicks, for the segmenters: above 0 on the object."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Mask

Floats = NDArray[np.float32]
Pixels = dict[tuple[int, int], bool]  # (row, column) -> whether it is on the object


def rim_clusters(
    features: Floats, rim: Mask, counts: Sequence[int], limit: float, every: int = 3
) -> list[tuple[Floats, Floats]]:
    """Clusters of pixels by their features, and how far each is from being background: no label is needed.

    Args:
        features: [N, D].
        rim: pixels at the rim, [N].
        counts: numbers of clusters.
        limit: share of the rim over share of all pixels at which a cluster scores 0; above it is background.
        every: clusters are found on each so many-th pixel.

    Returns:
        For each count the centres [K, D] and their scores [K] in [-2, 2].
    """
    sample = np.ascontiguousarray(features[:: every if len(features) > 100 * every else 1], np.float32)
    if len(sample) == 1:
        sample = np.repeat(sample, 2, 0)  # OpenCV reads one row as a column
    clusters = []
    for count in counts:
        cv2.setRNGSeed(count + 1)
        stop, count = (cv2.TERM_CRITERIA_MAX_ITER, 15, 0), min(count, len(sample))
        centres = cv2.kmeans(sample, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2]
        nearest = _nearest(features, centres)
        at_rim = np.bincount(nearest[rim], minlength=count) / max(1, rim.sum()) + 1e-4
        share = at_rim / (np.bincount(nearest, minlength=count) / len(nearest) + 1e-4)
        clusters.append((centres, (4 / (1 + (share / limit) ** 2) - 2).astype(np.float32)))
    return clusters


def cluster_score(features: Floats, clusters: list[tuple[Floats, Floats]]) -> Floats:
    """The mean score [N] of the clusters that pixels with these features [N, D] belong to."""
    scores = [score[_nearest(features, centres)] for centres, score in clusters]
    return np.mean(scores, 0, dtype=np.float32)


def _nearest(features: Floats, centres: Floats) -> NDArray[np.int64]:
    return ((centres**2).sum(1) - 2 * features @ centres.T).argmin(1)


def posterior(
    prior: Floats,
    features: Floats,
    pixels: Pixels,
    length: float,
    reach: float,
    radius: float = 1.5,
    unsure: Floats | None = None,
    margin: float = 1.0,
) -> Floats:
    """The mean of a Gaussian process with this mean before the clicks [H, W], above 0 on the object.

    A click says `margin` or -`margin` at its pixel, or what the prior says if that is more. It carries as far
    as features [H, W, D] are alike (standard deviation `length`) and nearby (`reach`, a share of the image's
    side). A dab of `radius` pixels is certain. Any multiple of `unsure` [H, W] may have to be added to the
    prior.
    """
    if not pixels:
        return prior.copy()
    rows, columns = np.indices(prior.shape, np.float32)
    kernels = np.empty((len(pixels), *prior.shape), np.float32)
    scale = np.float32(2 * reach**2 * prior.size)
    away = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in pixels]
    for kernel, (row, column), distance in zip(kernels, pixels, away, strict=True):
        unlike = ((features - features[row, column]) ** 2).sum(2)
        kernel[:] = np.exp(-unlike / (2 * length**2) - distance / scale)
    at = tuple(np.array(list(pixels)).T)
    if unsure is not None:
        kernels += np.float32(0.3) * unsure[at][:, None, None] * unsure
    signs = np.where(list(pixels.values()), 1, -1)
    residual = signs * np.maximum(0, margin - signs * prior[at])
    covariance = kernels[:, at[0], at[1]] + 0.05 * np.eye(len(pixels))
    score = prior + np.tensordot(np.linalg.solve(covariance, residual), kernels, 1)
    for distance, sign in zip(away, signs, strict=True):
        score[distance <= radius**2] = 5 * sign
    return score.astype(np.float32)


def sharpened(image: NDArray[np.uint8], small: NDArray[np.uint8], score: Floats, radius: int) -> Floats:
    """A score of a small copy [h, w], clipped to [-2, 2], at the image's size with the image's edges.

    The fast guided filter (He and Sun 2015): the score is locally linear in the colours of the small copy.
    """
    colours, clipped = small.astype(np.float32) / 255, np.clip(score, -2, 2)
    size = (2 * radius + 1,) * 2
    blur = lambda x: cv2.blur(x, size, borderType=cv2.BORDER_REFLECT)
    mean, mean_colour = blur(clipped), blur(colours)
    covariance = blur(colours * clipped[..., None]) - mean_colour * mean[..., None]
    products = [colours[..., a] * colours[..., b] for a in range(3) for b in range(3)]
    spread = np.stack([blur(p) for p in products], -1).reshape(*score.shape, 3, 3)
    spread = spread - mean_colour[..., None] * mean_colour[..., None, :] + 1e-3 * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0].astype(np.float32)
    offset = blur(mean - (slope * mean_colour).sum(2))
    slope, (height, width) = blur(slope), image.shape[:2]
    enlarged = lambda x: cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR)
    result = enlarged(offset)
    for channel in range(3):
        result += enlarged(slope[..., channel]) * (image[..., channel] * np.float32(1 / 255))
    return result


def shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A copy with at most about side x side pixels, of the same proportions; the image itself if it has."""
    height, width = image.shape[:2]
    scale = side / np.sqrt(height * width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def obeying(score: Floats, pixels: Pixels, limits: tuple[int, ...]) -> tuple[Mask, Floats]:
    """Mask and uncertainty of a score [H, W] above 0 on the object; box and clicks have the last word."""
    x0, y0, x1, y1 = limits
    mask, uncertainty = np.zeros(score.shape, bool), np.zeros(score.shape, np.float32)
    mask[y0:y1, x0:x1] = score[y0:y1, x0:x1] > 0
    uncertainty[y0:y1, x0:x1] = np.exp(-2 * np.abs(score[y0:y1, x0:x1]))
    for at, is_object in pixels.items():
        mask[at], uncertainty[at] = is_object, 0
    return mask, uncertainty
