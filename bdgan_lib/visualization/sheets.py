"""Figures of images in a grid: labelled images, uncertainty maps, best and worst predictions."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bdgan_lib.visualization.colors import overlay
from bdgan_lib.visualization.grids import grid

Images = NDArray[np.uint8]


def sheet(
    images: Sequence[Images], columns: int, title: str = "", rows: Sequence[str] = (), scale: int = 1
) -> Figure:
    """Images of one size [H, W, 3] in a grid, with a title and row names."""
    picture = grid(images, columns, scale=scale)
    inches = min(11.0, picture.shape[1] / 80)
    figure, axes = plt.subplots(figsize=(inches, inches * picture.shape[0] / picture.shape[1] + 0.3))
    axes.imshow(picture)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    step = picture.shape[0] / max(1, len(rows))
    axes.set_yticks([(i + 0.5) * step for i in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.tight_layout()
    return figure


def labelled_sheet(
    images: Images, masks: NDArray[np.uint8], columns: int, title: str = "", alpha: float = 0.5
) -> Figure:
    """Rows of images, each followed by the same row with its masks overlaid.

    Args:
        images: [N, H, W, 3].
        masks: [N, H, W].
        columns: images per row.
        title: of the figure.
        alpha: opacity of the masks; 1 hides the image below.
    """
    pictures: list[Images] = []
    columns = min(columns, len(images))
    for first in range(0, len(images), columns):
        row = slice(first, first + columns)
        white = [np.full_like(images[0], 255)] * (first + columns - len(images))  # ends an unfinished row
        tinted = [overlay(image, mask, alpha) for image, mask in zip(images[row], masks[row], strict=True)]
        pictures += [*images[row], *white, *tinted, *white]
    return sheet(pictures, columns, title)


def most_uncertain(
    images: Images, masks: NDArray[np.uint8], divergence: NDArray[np.floating], title: str = ""
) -> Figure:
    """A column per image: the image, its labels, its JS divergence [N, H, W] (nats, 0 to ln 2)."""
    heat = plt.get_cmap("magma")(np.clip(divergence / np.log(2), 0, 1) ** 0.5)[..., :3]
    tinted = [overlay(image, mask) for image, mask in zip(images, masks, strict=True)]
    pictures = [*images, *tinted, *(heat * 255).round().astype(np.uint8)]
    return sheet(pictures, len(images), title, ("image", "labels", "uncertainty"))


def best_and_worst(
    images: Images,
    predictions: NDArray[np.uint8],
    targets: NDArray[np.uint8],
    scores: NDArray[np.floating],
    count: int = 5,
) -> Figure:
    """The `count` best and worst predictions: image, prediction, truth (paper: five best and five worst)."""
    order, count = np.argsort(-scores, kind="stable"), max(1, min(count, len(scores) // 2))
    chosen = [*order[:count], *order[-count:]]
    pictures = list(images[chosen])
    for masks in (predictions, targets):
        pictures += [overlay(images[i], masks[i], 0.7) for i in chosen]
    title = f"{count} best (left) and {count} worst (right) predictions"
    return sheet(pictures, 2 * count, title, ("image", "prediction", "truth"))
