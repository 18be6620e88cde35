"""Click to segment: a mask from clicks on the object and on the background, from a box, or from both."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Box, Mask, snap_to_image
from bdgan_lib.annotation.click_scores import (
    Floats,
    Pixels,
    cluster_score,
    obeying,
    posterior,
    rim_clusters,
    sharpened,
    shrunk,
)
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation

PRIOR_SHARE = 0.39  # colours alone never settle a pixel: GrabCut decides where |score| is below 0.8

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
        """Of the tool, as strokes record it: "grabcut", "features" or "promptable"."""

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """Compute ahead what clicks on this image will need.

        Args:
            id: of the item.
            image: [H, W, 3].

        Raises:
            BdganError: the image is not uint8 [H, W, 3], or the segmenter does not know the item.
        """


@runtime_checkable
class LearningSegmenter(Segmenter, Protocol):
    """A segmenter that learns from what was labelled; a session calls `learn` before each `start`."""

    def learn(self, labelled: Iterable[Annotation]) -> None:
        """Learn from these finished annotations and no others, whatever was learnt before."""


class GrabCutSegmenter:
    """Colours and contrast of one image alone: clusters, a Gaussian process of the clicks, and a minimal cut.

    Colours that are common at the rim (with a box: around it) are background to begin with. Each click is an
    observation that carries to pixels of like colour nearby, and GrabCut moves the outline to the edges. The
    work is done on a copy of `side` x `side` pixels or fewer, for a small object a second time on a crop.
    """

    name = "grabcut"

    def __init__(self, side: int = 128) -> None:
        self._side = side

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """As `Segmenter.start`; any id will do."""
        return _ColourClicks(checked_image(image), self._side)


class _ColourClicks:
    """One image's clicks for `GrabCutSegmenter`; keeps the crops it has prepared."""

    def __init__(self, image: NDArray[np.uint8], side: int) -> None:
        self._image, self._side = image, side
        self._crops: dict[tuple[int, ...], tuple[NDArray[np.uint8], Floats, Floats]] = {}

    def predict(self, points: Sequence[Click], box: Box | None = None) -> tuple[Mask, Floats]:
        """As `Clicks.predict`."""
        height, width = self._image.shape[:2]
        pixels, limits = checked_clicks(points, box, height, width)
        if box is None and not any(pixels.values()):
            return np.zeros((height, width), bool), np.ones((height, width), np.float32)
        region = _widened(limits, 0.25, height, width) if box is not None else (0, 0, width, height)
        score = self._score(region, limits, pixels)
        if box is None and (around := self._detail(score > 0, pixels, region)) is not None:
            score = np.full((height, width), -1, np.float32)
            region = around
            x0, y0, x1, y1 = region
            score[y0:y1, x0:x1] = self._score(region, limits, pixels)[y0:y1, x0:x1]
        return obeying(score, pixels, limits)

    def _detail(
        self, mask: Mask, pixels: Pixels, region: tuple[int, ...]
    ) -> tuple[int, int, int, int] | None:
        """The part of the region to work on at a finer scale; None if it is fine or full enough."""
        x0, y0, x1, y1 = region
        rows, columns = np.nonzero(mask)
        if (x1 - x0) * (y1 - y0) <= self._side**2 or not rows.size:
            return None
        ys, xs = ([at[k] for at, is_object in pixels.items() if is_object] for k in (0, 1))
        tight = (
            min(*xs, columns.min()), min(*ys, rows.min()),
            max(*xs, columns.max()) + 1, max(*ys, rows.max()) + 1,
        )  # fmt: skip
        around = _widened(tight, 0.35, *mask.shape)
        area = (around[2] - around[0]) * (around[3] - around[1])
        return around if 2 * area < (x1 - x0) * (y1 - y0) else None

    def _score(self, region: tuple[int, ...], limits: tuple[int, ...], pixels: Pixels) -> Floats:
        """Above 0 on the object, [H, W]; -1 outside the region."""
        x0, y0, x1, y1 = region
        small, features, prior = self._prepared(region, limits)
        height, width = prior.shape
        down, right = height / (y1 - y0), width / (x1 - x0)
        here = {
            (int((y - y0 + 0.5) * down), int((x - x0 + 0.5) * right)): on
            for (y, x), on in pixels.items()
            if y0 <= y < y1 and x0 <= x < x1
        }
        score = posterior(prior, features, here, length=0.25, reach=0.2)
        inside = np.zeros(prior.shape, bool)
        top, left = int((limits[1] - y0) * down), int((limits[0] - x0) * right)
        inside[
            max(0, top) : int(np.ceil((limits[3] - y0) * down)),
            max(0, left) : int(np.ceil((limits[2] - x0) * right)),
        ] = True
        score[~inside] = -2
        cut = snap_to_image(small, 1 / (1 + np.exp(-np.clip(score, -9, 9))), confident=0.69)  # |score| 0.8
        _, parts = cv2.connectedComponents(cut.astype(np.uint8), connectivity=4)
        seeds = [parts[at] for at, on in here.items() if on and parts[at]]
        cut = np.isin(parts, seeds) if seeds else cut
        score = np.where(cut, np.maximum(score, 0.3), np.minimum(score, -0.3)).astype(np.float32)
        whole = np.full(self._image.shape[:2], -2, np.float32)
        whole[y0:y1, x0:x1] = sharpened(self._image[y0:y1, x0:x1], small, score, radius=2)
        return whole

    def _prepared(
        self, region: tuple[int, ...], limits: tuple[int, ...]
    ) -> tuple[NDArray[np.uint8], Floats, Floats]:
        """A region's small copy, its features [h, w, 6], and the score [h, w] before any click."""
        key = (*region, *limits)
        if key not in self._crops:
            x0, y0, x1, y1 = region
            small = shrunk(self._image[y0:y1, x0:x1], self._side)
            lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / np.array(
                [100, 60, 60], np.float32
            )
            features = np.concatenate([lab, cv2.GaussianBlur(lab, (0, 0), np.sqrt(lab[..., 0].size) / 64)], 2)
            height, width = small.shape[:2]
            rim = np.ones((height, width), bool)
            if limits == (0, 0, *self._image.shape[1::-1]):
                edge = max(1, round(0.02 * min(height, width)))
                rim[edge:-edge, edge:-edge] = False
            else:
                down, right = height / (y1 - y0), width / (x1 - x0)
                rim[
                    int((limits[1] - y0) * down) : int(np.ceil((limits[3] - y0) * down)),
                    int((limits[0] - x0) * right) : int(np.ceil((limits[2] - x0) * right)),
                ] = False
            flat = features.reshape(-1, features.shape[2])
            prior = PRIOR_SHARE * cluster_score(flat, rim_clusters(flat, rim.ravel(), (4, 6, 8, 12, 16), 0.5))
            while len(self._crops) >= 4:
                self._crops.pop(next(iter(self._crops)))
            self._crops[key] = small, features, prior.reshape(height, width)
        return self._crops[key]


def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image; BdganError if it is not uint8 [H, W, 3] or has no pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BdganError(f"expected a uint8 image [H, W, 3], got {image.dtype} {list(image.shape)}")
    return image


def checked_clicks(
    points: Sequence[Click], box: Box | None, height: int, width: int
) -> tuple[Pixels, tuple[int, int, int, int]]:
    """The clicked pixels, of two clicks on one pixel the later, and the box x0, y0, x1, y1 in whole pixels.

    Raises:
        BdganError: as `Clicks.predict`.
    """
    if box is None and not len(points):
        raise BdganError("expected a point or a box, got neither; click on the object")
    pixels: Pixels = {}
    for x, y, is_object in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise BdganError(f"the point {x:.0f}, {y:.0f} is outside the image; click inside")
        pixels[min(int(y), height - 1), min(int(x), width - 1)] = bool(is_object)
    if box is None:
        return pixels, (0, 0, width, height)
    (x0, x1), (y0, y1) = np.clip(box[::2], 0, width), np.clip(box[1::2], 0, height)
    if not (x0 < x1 and y0 < y1):
        raise BdganError(
            f"the box has no pixel of the {width} x {height} image; drag it from one corner of the object "
            "to the opposite one"
        )
    rows, columns = ([at[k] for at, is_object in pixels.items() if is_object] for k in (0, 1))
    return pixels, (
        min([int(x0), *columns]), min([int(y0), *rows]),
        max([int(np.ceil(x1)), *(c + 1 for c in columns)]), max([int(np.ceil(y1)), *(r + 1 for r in rows)]),
    )  # fmt: skip


def _widened(box: tuple[int, ...], share: float, height: int, width: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = map(int, box)
    margin = max(2, round(share * (x1 - x0))), max(2, round(share * (y1 - y0)))
    return (
        max(0, x0 - margin[0]), max(0, y0 - margin[1]),
        min(width, x1 + margin[0]), min(height, y1 + margin[1]),
    )  # fmt: skip
