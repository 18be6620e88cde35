"""Block diagrams: boxes, arrows and pictures on one sheet."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray

from bdgan_lib.visualization.plots import INK

Place = tuple[float, float, float, float]  # left, bottom, width, height, in the sheet's units


class Diagram:
    """A blank sheet of `width` x `height` inches to draw boxes, pictures and arrows on."""

    def __init__(self, width: float, height: float, title: str = "") -> None:
        self.figure: Figure
        self.axes: Axes
        self.figure, self.axes = plt.subplots(figsize=(width, height))
        self.axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axes.set_title(title, fontsize=10)
        self.axes.axis("off")
        self.figure.tight_layout()

    def box(self, place: Place, text: str, color: str = "#FFFFFF") -> Place:
        """A rounded box with a text in its middle."""
        left, bottom, width, height = place
        style = "round,pad=0,rounding_size=0.08"
        box = FancyBboxPatch((left, bottom), width, height, style)
        box.set(facecolor=color, edgecolor=INK, linewidth=0.8)
        self.axes.add_patch(box)
        self.text(left + width / 2, bottom + height / 2, text)
        return place

    def pictures(
        self, place: Place, images: Sequence[NDArray[np.uint8]], columns: int, text: str = ""
    ) -> Place:
        """Pictures [H, W, 3] of one size, row by row, as large as fit; a text below them."""
        left, bottom, width, height = place
        rows = -(-len(images) // columns)
        step = min(width / columns, height / rows)
        for i, image in enumerate(images):
            x, y = left + i % columns * step, bottom + height - (i // columns + 1) * step
            extent = x, x + 0.94 * step, y, y + 0.94 * step
            self.axes.imshow(image, extent=extent, interpolation="nearest", zorder=2)
        if text:
            self.text(left + columns * step / 2, bottom + height - rows * step - 0.1, text, "top")
        return left, bottom + height - rows * step, columns * step, rows * step

    def arrow(self, start: Place, end: Place, text: str = "", way: str = "right") -> None:
        """An arrow from `start`, leaving it to the right, down or up (`way`), to the facing side of `end`."""
        a, b = _side(start, way), _side(end, {"right": "left", "down": "up", "up": "down"}[way])
        arrow = FancyArrowPatch(a, b, arrowstyle="-|>", mutation_scale=10, color=INK, linewidth=0.9)
        self.axes.add_patch(arrow)
        if text:
            self.text((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.06, text, "bottom")

    def text(self, x: float, y: float, text: str, vertical: str = "center") -> None:
        """A text centred at x."""
        self.axes.text(x, y, text, ha="center", va=vertical, fontsize=8, color=INK)


def _side(place: Place, way: str) -> tuple[float, float]:
    left, bottom, width, height = place
    x = {"left": left, "right": left + width}.get(way, left + width / 2)
    y = {"down": bottom, "up": bottom + height}.get(way, bottom + height / 2)
    return x, y
