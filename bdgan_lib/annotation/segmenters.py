"""Click to segment: a mask from clicks on the object and on the background, from a box, or from both."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Box, Mask

Click = tuple[
    float, float, bool
]  # x, y in pixels as in `assist`; True on the object, False on the background


class Clicks(Protocol):
    """What a segmenter keeps of one image. It holds no clicks: each call gets them all."""

    def predict(self, points: Sequence[Click], box: Box | None = None) -> tuple[Mask, NDArray[np.float32]]:
        """Segment the object at these points or in this box.

        The same arguments give the same result. The pixel at every click is as the click says; of two on one
        pixel the later counts. Outside the box there is no object; a click on the object outside the box
        widens the box. Without a box and without a click on the object the mask is empty.

        Args:
            points: (x, y, is_object), 0 <= x <= W and 0 <= y <= H.
            box: around the object; what is outside the image is cut off.

        Returns:
            The mask [H, W] and how unsure each pixel is, [H, W] in [0, 1].

        Raises:
            BdganError: neither point nor box, a point outside the image, or a box without a pixel of it.
        """


class Segmenter(Protocol):
    """A tool that turns clicks into masks. The caller keeps what `start` returns while the image is open."""

    @property
    def name(self) -> str:
        """Of the tool, as strokes record it: "grabcut", "own" or "promptable"."""

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """Compute ahead what clicks on this image will need.

        Args:
            id: of the item.
            image: [H, W, 3].

        Raises:
            BdganError: the image is not uint8 [H, W, 3], or the segmenter does not know the item.
        """
