"""Colours of labels: a palette for colour-blind readers, coloured masks, overlays."""

import colorsys

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import UNLABELLED, BdganError

# Okabe & Ito, "Color Universal Design" (2008): distinct for all common kinds of colour vision.
_OKABE_ITO = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178),
              (213, 94, 0), (204, 121, 167))  # fmt: skip
_GREY = (128, 128, 128)  # unlabelled


def palette(n: int) -> NDArray[np.uint8]:
    """Colours of n labels, [n, 3] uint8: 0 is black, and a palette begins with every shorter one.

    The first eight stay apart for colour-blind readers; later ones differ in lightness as well as in hue.

    Raises:
        BdganError: n is below 1.
    """
    if n < 1:
        raise BdganError(f"a palette of {n} colours was asked for; ask for at least 1")
    colours = list(_OKABE_ITO[:n])
    for k in range(len(colours), n):
        hue = (k * 0.6180339887) % 1.0  # golden-ratio steps never come back to the same hue
        colour = colorsys.hls_to_rgb(hue, (0.3, 0.7, 0.5, 0.8, 0.4)[k % 5], (0.95, 0.65, 0.8)[k % 3])
        red, green, blue = (round(255 * c) for c in colour)
        colours.append((red, green, blue))
    return np.array(colours, dtype=np.uint8)


def colour_mask(mask: NDArray[np.uint8], n: int | None = None) -> NDArray[np.uint8]:
    """Colours of a mask of label ids: uint8 [H, W] -> uint8 [H, W, 3]; 255 (unlabelled) is grey.

    Args:
        mask: label ids.
        n: number of labels; None for any.

    Raises:
        BdganError: the mask is not uint8 [H, W], or holds a label of n or more other than 255.
    """
    mask = checked_mask(mask)
    if n is not None and np.any((mask >= n) & (mask != UNLABELLED)):
        raise BdganError(f"expected labels 0 to {n - 1} or 255, got {mask[mask != UNLABELLED].max()}")
    table = palette(256)
    table[UNLABELLED] = _GREY
    return table[mask]


def overlay(image: NDArray[np.uint8], mask: NDArray[np.uint8], alpha: float = 0.5) -> NDArray[np.uint8]:
    """The image [H, W, 3] with its labelled pixels tinted by alpha (0 image, 1 colour); label 0 is clear.

    Raises:
        BdganError: the sizes differ, a type is not uint8, or alpha is not in [0, 1].
    """
    image, mask = checked_image(image), checked_mask(mask)
    if image.shape[:2] != mask.shape:
        raise BdganError(
            f"expected image and mask of one size, got {list(image.shape)} and {list(mask.shape)}"
        )
    if not 0.0 <= alpha <= 1.0:
        raise BdganError(f"alpha is {alpha}; give a number from 0 to 1")
    tint = alpha * (mask > 0)[..., None]
    return np.rint((1 - tint) * image + tint * colour_mask(mask)).astype(np.uint8)


def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image itself; BdganError unless it is uint8 [H, W, 3]."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BdganError(f"expected an image uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    return image


def checked_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask itself; BdganError unless it is uint8 [H, W]."""
    mask = np.asarray(mask)
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise BdganError(f"expected a mask uint8 [H, W], got {mask.dtype} {list(mask.shape)}")
    return mask
