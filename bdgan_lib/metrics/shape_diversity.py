"""Shapes of masks: their diversity and their typical shapes."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.mask_geometry import Labels, boxes, foreground

CANVAS = 64  # pixels of the square that shapes are compared in


def mask_diversity(masks: Labels, class_ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean 1 - IoU over all pairs of one class's foreground masks, [number of classes], in [0, 1].

    Classes are those that occur, in order. Two empty masks have the same shape.

    Args:
        masks: [N, H, W], foreground where > 0 except 255.
        class_ids: [N].

    Raises:
        BdganError: a class has a single mask, or the masks are not integers or booleans [N, H, W].
    """
    shown, diversities = foreground(masks), []
    for class_id in np.unique(class_ids):
        of_class = shown[class_ids == class_id]
        if len(of_class) < 2:
            raise BdganError(f"class {class_id} has a single mask; give two or more of each class")
        flat = of_class.reshape(len(of_class), -1).astype(np.float32)
        both = flat @ flat.T
        either = flat.sum(1)[:, None] + flat.sum(1)[None] - both
        same = np.divide(both, either, out=np.ones_like(both), where=either > 0)
        pairs = np.triu_indices(len(flat), 1)
        diversities.append(float(1 - same[pairs].mean(dtype=np.float64)))
    return np.array(diversities)


def aligned(masks: Labels) -> NDArray[np.bool_]:
    """Each mask's foreground, cropped, scaled to a side of CANVAS, centred: [M, CANVAS, CANVAS], M ≤ N.

    This removes position and size (the longer side becomes CANVAS). Masks without foreground are left out.
    """
    shown = foreground(masks)
    canvases = []
    for mask, (left, top, right, bottom) in zip(shown, boxes(shown), strict=True):
        if right > left:
            cut = mask[top:bottom, left:right].astype(np.uint8)
            height, width = (max(1, round(CANVAS * n / max(cut.shape))) for n in cut.shape)
            canvas = np.zeros((CANVAS, CANVAS), bool)
            y, x = (CANVAS - height) // 2, (CANVAS - width) // 2
            scaled = cv2.resize(cut, (width, height), interpolation=cv2.INTER_NEAREST)
            canvas[y : y + height, x : x + width] = scaled
            canvases.append(canvas)
    return np.array(canvases, bool).reshape(-1, CANVAS, CANVAS)


def chamfer_diversity(masks: Labels, class_ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """SD of Table 1: mean Chamfer distance over all pairs of a class's shapes, [number of classes].

    Of two `aligned` shapes: the mean distance from a border pixel of one to the nearest of the other,
    averaged over both directions, in lengths of the object's longer side. A sum over pairs of (border of a) ·
    (distance to the border of b) is the product of two sums, so time and memory grow with N, not with N².
    Classes are those that occur, in order.

    Raises:
        BdganError: a class has fewer than two shapes.
    """
    diversities = []
    for class_id in np.unique(class_ids):
        shapes = aligned(masks[class_ids == class_id]).astype(np.uint8)
        if len(shapes) < 2:
            raise BdganError(f"class {class_id} has {len(shapes)} shapes; give two or more of each class")
        border, distance = np.zeros((2, CANVAS, CANVAS))
        for shape in shapes:
            edge = shape - cv2.erode(shape, np.ones((3, 3), np.uint8), borderValue=0)
            border += edge / edge.sum()
            distance += cv2.distanceTransform(1 - edge, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        pairs = len(shapes) * (len(shapes) - 1)  # a shape is at distance 0 from itself
        diversities.append(float((border * distance).sum() / pairs / CANVAS))
    return np.array(diversities)


def mean_shapes(
    masks: Labels, clusters: int = 5, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """k-means of one class's `aligned` shapes: means [clusters, CANVAS, CANVAS] in [0, 1], and their sizes.

    The largest cluster comes first (the paper's figure of mean shapes).

    Raises:
        BdganError: there are fewer shapes than clusters.
    """
    shapes = aligned(masks).reshape(-1, CANVAS * CANVAS).astype(np.float64)
    if len(shapes) < clusters:
        raise BdganError(f"expected {clusters} shapes or more, one for each cluster, got {len(shapes)}")
    means, labels = kmeans2(shapes, clusters, iter=20, minit="++", rng=seed, missing="warn")
    sizes = np.bincount(labels, minlength=clusters)
    order = np.argsort(-sizes, kind="stable")
    return means[order].reshape(-1, CANVAS, CANVAS), sizes[order]
