"""Images with something drawn on them: outlined regions, heat maps, marked points."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
YELLOW = (240, 228, 66)  # colour-blind-safe (Okabe and Ito)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def outlined(image: Image, region: NDArray[np.bool_], scale: int = 3) -> Image:
    """The image [H, W, 3], enlarged `scale` times, the region [H, W] outlined and the rest dimmed."""
    large, inside = _enlarged(image, scale), _enlarged(region.astype(np.uint8), scale)
    dimmed = np.where(inside[..., None] > 0, large, large * 0.6).astype(np.uint8)
    rings, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(dimmed), rings, -1, YELLOW, max(1, scale // 2))


def heated(
    image: Image, values: NDArray[np.floating], point: tuple[float, float] | None = None, scale: int = 3
) -> Image:
    """The image [H, W, 3] in grey under a heat map of values [h, w].

    Args:
        image: uint8 [H, W, 3].
        values: 0 leaves the grey, 1 is the brightest heat; others are clipped.
        point: (x, y) in pixels of `values`, marked by a ring.
        scale: enlargement.
    """
    height, width = (scale * side for side in image.shape[:2])
    heat = cv2.resize(values.astype(np.float32).clip(0, 1), (width, height)).clip(0, 1)
    grey = 0.8 * _enlarged(image, scale).mean(2, keepdims=True)
    colours = 255 * plt.get_cmap("inferno")(heat)[..., :3]
    heatmap = np.rint(grey + heat[..., None] * (colours - grey)).astype(np.uint8)
    if point is None:
        return heatmap
    return marked(heatmap, ((point[0] + 0.5) / values.shape[1], (point[1] + 0.5) / values.shape[0]))


def marked(image: Image, point: tuple[float, float]) -> Image:
    """A copy of the image [H, W, 3] with a ring round the point (x, y), in fractions of width and height."""
    centre = round(point[0] * image.shape[1]), round(point[1] * image.shape[0])
    radius, copy = max(3, image.shape[1] // 16), np.ascontiguousarray(image.copy())
    for colour, thickness in ((_BLACK, 4), (_WHITE, 2)):
        cv2.circle(copy, centre, radius, colour, thickness, cv2.LINE_AA)
    return copy


def _enlarged(image: Image, scale: int) -> Image:
    return image.repeat(scale, 0).repeat(scale, 1)
