"""Position and outline of masks: the per-image columns of the paper's Table 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from bdgan_lib.core.polygons import outline, simplified, smooth
from bdgan_lib.core.types import UNLABELLED, BdganError

Labels = NDArray[np.integer[Any]] | NDArray[np.bool_]  # [N, H, W]
SPECK = 1 / 256  # share of an image below which a connected piece is no instance
TOLERANCE = 0.01  # of Douglas-Peucker, in image sides
COLUMNS = {  # name -> what it is; the paper names them, the definitions are ours where it gives none
    "IN": "instances: connected pieces of at least 1/256 of the image (8 neighbours)",
    "MI": "mask area / image area",
    "BI": "area of the foreground's tight box / image area",
    "MB": "mask area / tight box area",
    "PL": "polygon length: of all outlines after Douglas-Peucker at 1% of the image side, in image sides",
    "SC": "shape complexity: vertices of these polygons",
}
_FLAT = np.zeros((3, 3, 3), int)
_FLAT[1] = 1  # pieces are connected within their image, not across images


def foreground(masks: Labels) -> NDArray[np.bool_]:
    """Foreground pixels of masks [N, H, W]: labels above 0 except unlabelled.

    Raises:
        BdganError: the masks have another shape or type.
    """
    if masks.ndim != 3 or masks.dtype.kind not in "bui":
        raise BdganError(f"expected masks of labels [N, H, W], got {masks.dtype} {list(masks.shape)}")
    return (masks > 0) & (masks != UNLABELLED)


def mask_statistics(masks: Labels, batch_size: int = 500) -> dict[str, NDArray[np.float64]]:
    """Position and outline of each mask (paper Table 1): an array [N] for each name in COLUMNS.

    Without any foreground IN, MI and BI are 0 and the others NaN.

    Args:
        masks: [N, H, W], foreground where > 0 except 255.
        batch_size: masks computed at once; memory grows with it alone.

    Raises:
        BdganError: the masks are not integers or booleans [N, H, W].
    """
    statistics: dict[str, list[NDArray[np.float64]]] = {name: [] for name in COLUMNS}
    for first in range(0, len(masks), batch_size):
        shown = foreground(masks[first : first + batch_size])
        for name, values in zip(COLUMNS, (_instances(shown), *_areas(shown), *_polygons(shown)), strict=True):
            statistics[name].append(values)
    return {name: np.concatenate(values) if values else np.zeros(0) for name, values in statistics.items()}


def centres(masks: Labels) -> NDArray[np.float64]:
    """Centre of mass of each mask's foreground, (x, y) in pixels [N, 2]; NaN without any."""
    shown = foreground(masks)
    y, x = (np.arange(side) + 0.5 for side in shown.shape[1:])
    area = shown.sum((1, 2))
    with np.errstate(invalid="ignore"):
        return np.stack([(shown.sum(1) * x).sum(1) / area, (shown.sum(2) * y).sum(1) / area], 1)


def boxes(masks: Labels) -> NDArray[np.int64]:
    """Tight box of each mask's foreground: left, top, right, bottom [N, 4], ends excluded; 0 without any."""
    shown = foreground(masks)
    lines = [shown.max(1), shown.max(2)]  # columns and rows with any
    spans = [(s.argmax(1), s.shape[1] - s[:, ::-1].argmax(1)) for s in lines]
    corners = np.stack([spans[0][0], spans[1][0], spans[0][1], spans[1][1]], 1)
    return np.where(lines[0].any(1)[:, None], corners, 0)


def _instances(shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    pieces, count = label(shown, _FLAT)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    large = sizes >= SPECK * shown[0].size
    large[0] = False
    firsts = np.unique(pieces, return_index=True)[1]  # one pixel of each piece tells its image
    return np.bincount(firsts[large] // shown[0].size, minlength=len(shown)).astype(float)


def _areas(shown: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    left, top, right, bottom = boxes(shown).T
    mask, box, image = shown.sum((1, 2)), (right - left) * (bottom - top), shown[0].size
    with np.errstate(invalid="ignore"):
        return mask / image, box / image, mask / box


def _polygons(shown: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    side = max(shown.shape[1:])
    length, vertices = np.full((2, len(shown)), np.nan)
    for i, mask in enumerate(shown):
        rings = simplified([smooth(ring) for ring in outline(mask)], TOLERANCE * side)
        if rings:
            sides = [np.linalg.norm(ring - np.roll(ring, 1, 0), axis=1).sum() for ring in rings]
            length[i], vertices[i] = sum(sides) / side, sum(map(len, rings))
    return length, vertices
