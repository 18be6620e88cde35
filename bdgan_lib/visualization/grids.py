"""Images of one size in a grid."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError
from bdgan_lib.visualization.colors import checked_image

T = TypeVar("T")


def evenly_spaced(items: Sequence[T]) -> Sequence[T]:
    """All of a dozen items or fewer; of more a dozen, evenly spaced: as many as a figure can show."""
    return items if len(items) <= 12 else [items[i * len(items) // 12] for i in range(12)]


def grid(
    images: Sequence[NDArray[np.uint8]], columns: int, pad: int = 2, scale: int = 1
) -> NDArray[np.uint8]:
    """Images of one size, row by row, on white: uint8 [rows * (scale * H + pad) + pad, ..., 3].

    scale: whole-number enlargement, pixels stay square and sharp. An incomplete last row ends in white.

    Raises:
        BdganError: there is no image, they differ in size, or a number is out of range.
    """
    pictures = [checked_image(image) for image in images]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1 or columns < 1 or pad < 0 or scale < 1:
        raise BdganError(
            f"expected one image or more of one size, columns and scale from 1, pad from 0, got "
            f"{len(pictures)} images of sizes {sorted(sizes)}, columns {columns}, scale {scale}, pad {pad}"
        )
    height, width = (scale * side + pad for side in pictures[0].shape[:2])  # one cell
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height + pad, columns * width + pad, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = (i // columns) * height + pad, (i % columns) * width + pad
        sheet[y : y + height - pad, x : x + width - pad] = picture.repeat(scale, 0).repeat(scale, 1)
    return sheet
