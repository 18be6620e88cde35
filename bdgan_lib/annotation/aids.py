"""What is computed once for each picture that is being labelled: superpixels, and what clicks will need."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Image, Mask, superpixels
from bdgan_lib.annotation.segmenters import Clicks, LearningSegmenter, Segmenter
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation

LONGEST_SIDE = 384  # pixels; superpixels of larger pictures are found on a smaller copy
KEPT = 4  # pictures


class ImageAids:
    """The help of image and model for the pictures opened last.

    Args:
        picture: an item -> its image [H, W, 3] uint8.
        segmenters: what answers clicks; the first one is the default.
        labelled: an item -> the finished annotations that a segmenter may learn from for it.
    """

    def __init__(
        self,
        picture: Callable[[Annotation], NDArray[np.uint8]],
        segmenters: Sequence[Segmenter],
        labelled: Callable[[Annotation], list[Annotation]],
    ) -> None:
        self._picture, self._labelled = picture, labelled
        self.segmenters = {segmenter.name: segmenter for segmenter in segmenters}
        if len(self.segmenters) < len(segmenters):
            raise BdganError(f"expected segmenters of distinct names, got {[s.name for s in segmenters]}")
        self._kept: OrderedDict[tuple[str, str], Clicks | NDArray[np.int64]] = OrderedDict()

    def clicks(self, item: Annotation, name: str | None = None) -> Clicks:
        """What this segmenter, or the first one, knows of an item.

        Raises:
            BdganError: there is no such segmenter.
        """
        segmenter = self.segmenters.get(name or next(iter(self.segmenters), ""))
        if segmenter is None:
            raise BdganError(
                f"expected a segmenter of {', '.join(self.segmenters) or 'none'}, got {name!r:.40}"
            )

        def started(image: Image) -> Clicks:
            if isinstance(segmenter, LearningSegmenter):
                segmenter.learn(self._labelled(item))
            return segmenter.start(item.id, image)

        return self._once(item, segmenter.name, started)  # type: ignore[return-value]

    def learn_again(self) -> None:
        """Let segmenters that learn start anew on every item: more may be finished since they started."""
        for key in [*self._kept]:
            if isinstance(self.segmenters.get(key[1]), LearningSegmenter):
                del self._kept[key]

    def superpixel(self, item: Annotation, x: float, y: float) -> Mask:
        """The mask [H, W] of the superpixel at this point; BdganError for a point outside the image."""
        height, width = item.mask.shape
        if not (0 <= x < width and 0 <= y < height):
            raise BdganError(f"the point {x:.0f}, {y:.0f} is outside the image; click inside")
        regions = np.asarray(self._once(item, "superpixels", _small_superpixels))
        small = regions == regions[int(y * regions.shape[0] / height), int(x * regions.shape[1] / width)]
        if small.shape == (height, width):
            return small
        smooth = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(smooth > 0.5)

    def _once(
        self, item: Annotation, what: str, compute: Callable[[Image], Clicks | NDArray[np.int64]]
    ) -> Clicks | NDArray[np.int64]:
        key = item.id, what
        if key not in self._kept:
            self._kept[key] = compute(self._picture(item))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _small_superpixels(image: Image) -> NDArray[np.int64]:
    scale = LONGEST_SIDE / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return superpixels(image)
