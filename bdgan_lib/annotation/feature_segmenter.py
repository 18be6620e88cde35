"""Click to segment samples of a generator by its features; nothing it learns from was labelled by anyone."""

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.annotation.assist import Box, Mask, snap_to_image
from bdgan_lib.annotation.click_scores import (
    Floats,
    cluster_score,
    obeying,
    posterior,
    rim_clusters,
    sharpened,
)
from bdgan_lib.annotation.segmenters import Click, Clicks, checked_clicks, checked_image
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator
from bdgan_lib.heads.training_data import batch_that_fits, samples_of

FIRST_SEED = GENERATOR["click features"].first  # of the samples that a class is learnt from
COMPONENTS = 24  # principal components of the features that clicks are compared in
PRODUCTS = 12  # of these, products of the first enter the regression


class FeatureSegmenter:
    """Knows from the generator's features what belongs to the object of a class, before the first click.

    A class is learnt once, from other samples of it, without labels. Their features are clustered; clusters
    that are rare at the image's rim are the object (see `rim_clusters`). GrabCut moves these masks to the
    images' edges, and a ridge regression learns the result from the features, twice. On an image, the mean of
    both scores is the mean of a Gaussian process that the clicks correct; they also weigh one score against
    the other (see `posterior`).
    """

    name = "features"

    def __init__(
        self, generator: Generator, items: Iterable[Annotation], count: int = 32, side: int = 64
    ) -> None:
        """Nothing is computed before the first `start`.

        Args:
            generator: drew the items.
            items: samples that may be clicked on; their masks are not read.
            count: samples that a class is learnt from.
            side: features are compared at this size, or at the image's if that is less.
        """
        self._generator, self._count, self._side = generator, count, min(side, generator.image_size)
        self._items = {item.id: item for item in items}
        blocks = [name for name, (_, size) in generator.blocks.items() if size <= self._side]
        self._blocks = blocks[-4:] or [*generator.blocks][:1]
        self._classes: dict[tuple[int, Sampling], _ClassModel] = {}

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """As `Segmenter.start`. The first image of a class takes longer, since the class is learnt then."""
        if id not in self._items:
            raise BdganError(f"{id} is none of the {len(self._items)} items; make the segmenter with it")
        item = self._items[id]
        key = item.class_id, item.sampling
        if key not in self._classes:
            self._classes[key] = self._learnt(*key)
        (sample,) = samples_of(self._generator, [item])
        small = self._shrunk(checked_image(image))
        return _FeatureClicks(image, small, *self._classes[key].read(self._stacked(sample.features), small))

    def _learnt(self, class_id: int, sampling: Sampling) -> "_ClassModel":
        """What samples of a class teach, drawn in batches that fit into memory."""
        blocks: list[list[Floats]] = [[] for _ in self._blocks]
        images: list[NDArray[np.uint8]] = []
        seeds = torch.arange(self._count) + FIRST_SEED
        for batch in seeds.split(batch_that_fits(self._generator.blocks)):
            sample = self._generator.sample(torch.full_like(batch, class_id), batch, sampling)
            images += [self._shrunk(x) for x in to_uint8(sample.images)]
            for parts, x in zip(blocks, self._stacked(sample.features), strict=True):
                parts.append(x)
        return _ClassModel([np.concatenate(parts) for parts in blocks], np.stack(images))

    def _stacked(self, features: Mapping[str, Tensor]) -> list[Floats]:
        """The blocks at one size: [N, side, side, C] each."""
        size = (self._side, self._side)
        resized = (F.interpolate(features[b].float().cpu(), size=size, mode="bilinear") for b in self._blocks)
        return [x.permute(0, 2, 3, 1).numpy() for x in resized]

    def _shrunk(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.shape[:2] == (self._side, self._side):
            return image
        return cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_AREA)


class _ClassModel:
    """What is learnt of a class from features of N samples and their images [N, side, side, 3]."""

    def __init__(self, blocks: list[Floats], images: NDArray[np.uint8], rounds: int = 2) -> None:
        self._scales = [(x.mean((0, 1, 2)), np.sqrt(x.var((0, 1, 2)).sum()) + 1e-6) for x in blocks]
        flat = self._standard(blocks)
        basis = np.linalg.eigh(np.cov(flat[::9].T))[1][:, ::-1][:, :COMPONENTS]
        self._basis = basis.astype(np.float32)
        components = flat @ self._basis
        self._spread = components[:, :PRODUCTS].std(0) + 1e-6
        self._size = float(np.sqrt((components**2).sum(1).mean())) + 1e-6
        shape = images.shape[:3]
        rim = np.ones(shape, bool)
        rim[:, 2:-2, 2:-2] = False
        counts = (6, 8, 10, 12, 14, 16, 20, 24)
        self._clusters = rim_clusters(components, rim.ravel(), counts, 0.3, every=7)
        score = cluster_score(components, self._clusters).reshape(shape)
        design = self._design(flat, components, images)
        moments = design.T @ design
        moments[np.diag_indices(len(moments))] += 1e-4 * np.trace(moments) / len(moments)
        for _ in range(rounds):
            masks = [
                snap_to_image(image, 1 / (1 + np.exp(-x)), confident=0.731)  # |score| 1
                for image, x in zip(images, score, strict=True)
            ]
            sides = 2 * np.stack(masks).reshape(-1).astype(np.float32) - 1
            self._weights = np.linalg.solve(moments, design.T @ sides)
            score = 2 * (design @ self._weights).reshape(shape)

    def read(self, blocks: list[Floats], image: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
        """Two scores before any click [side, side] in [-2, 2], and the features that clicks compare."""
        flat, shape = self._standard(blocks), image.shape[:2]
        components = flat @ self._basis
        fitted = 2 * (self._design(flat, components, image[None]) @ self._weights)
        clustered = cluster_score(components, self._clusters)
        fitted, clustered = (np.clip(x, -2, 2).reshape(shape) for x in (fitted, clustered))
        return fitted, clustered, (components / self._size).reshape(*shape, -1)

    def _standard(self, blocks: list[Floats]) -> Floats:
        """Centred pixels [P, C] in which each block has the same variance."""
        flat = [(x - m) / s for x, (m, s) in zip(blocks, self._scales, strict=True)]
        return np.concatenate(flat, -1).reshape(-1, sum(x.shape[-1] for x in flat)).astype(np.float32)

    def _design(self, flat: Floats, components: Floats, images: NDArray[np.uint8]) -> Floats:
        """What the regression is linear in: features, products, colours, one; [P, D]."""
        first = components[:, :PRODUCTS] / self._spread
        i, j = np.triu_indices(first.shape[1])
        colours = images.astype(np.float32) / 255
        smooth = np.stack([cv2.GaussianBlur(x, (0, 0), 1.0) for x in colours])
        colours = np.concatenate([colours, smooth], -1).reshape(-1, 6)
        ones = np.ones((len(flat), 1), np.float32)
        return np.concatenate([flat, 0.02 * first[:, i] * first[:, j], 0.1 * colours, 0.1 * ones], 1)


class _FeatureClicks:
    """One sample's clicks for `FeatureSegmenter`."""

    def __init__(
        self,
        image: NDArray[np.uint8],
        small: NDArray[np.uint8],
        fitted: Floats,
        clustered: Floats,
        features: Floats,
    ) -> None:
        self._image, self._small, self._features = image, small, features
        self._prior, self._unsure = ((fitted + clustered) / np.float32(2)), clustered - fitted

    def predict(self, points: Sequence[Click], box: Box | None = None) -> tuple[Mask, Floats]:
        """As `Clicks.predict`."""
        height, width = self._image.shape[:2]
        pixels, limits = checked_clicks(points, box, height, width)
        if box is None and not any(pixels.values()):
            return np.zeros((height, width), bool), np.ones((height, width), np.float32)
        rows, columns = self._prior.shape
        here = {(int(y * rows / height), int(x * columns / width)): on for (y, x), on in pixels.items()}
        score = posterior(self._prior, self._features, here, 0.5, 12 / 64, 1.0, self._unsure)
        return obeying(sharpened(self._image, self._small, score, radius=2), pixels, limits)
