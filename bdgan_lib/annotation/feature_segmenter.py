"""Click to segment samples of a generator by its features: without labels at first, then with those given."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

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
LABEL_WEIGHT = 64  # a labelled sample weighs as much in the regression as so many others
MOST_LABELLED = 32  # samples of a class that are learnt from
MLP_STEPS = 300


class FeatureSegmenter:
    """Knows from the generator's features what belongs to the object of a class, before the first click.

    A class is learnt once, from other samples of it, without labels. Their features are clustered; clusters
    that are rare at the image's rim are the object (see `rim_clusters`). GrabCut moves these masks to the
    images' edges, and a ridge regression learns the result from the features, twice. On an image, the mean of
    both scores is the mean of a Gaussian process that the clicks correct; they also weigh one score against
    the other (see `posterior`).

    What the annotator has finished is learnt from (`learn`): it enters the regression, and a small MLP is
    trained on it alone, whose score counts as much as the other two.
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
        self._labelled: dict[tuple[int, Sampling], list[Annotation]] = {}

    def learn(self, labelled: Iterable[Annotation]) -> None:
        """Learn from these samples and no others, whatever was learnt before.

        Args:
            labelled: samples of this generator with masks [H, W]; label 0 is not the object, 255 is ignored.
                Those of a class teach nothing if all show the object alone, or none.
        """
        self._labelled = {}
        for annotation in labelled:
            self._labelled.setdefault((annotation.class_id, annotation.sampling), []).append(annotation)

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """As `Segmenter.start`. It takes longer when there is more to learn of the image's class."""
        if id not in self._items:
            raise BdganError(f"{id} is none of the {len(self._items)} items; make the segmenter with it")
        item = self._items[id]
        key = item.class_id, item.sampling
        if key not in self._classes:
            self._classes[key] = self._learnt(*key)
        others = [a for a in self._labelled.get(key, ()) if a.id != id and (a.mask != 255).any()]
        self._classes[key].learn(others[-MOST_LABELLED:], self._labels_of)
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

    def _labels_of(self, annotation: Annotation) -> tuple[list[Floats], NDArray[np.uint8], NDArray[np.uint8]]:
        """Blocks, image and mask of a sample."""
        (sample,) = samples_of(self._generator, [annotation])
        size = (self._side, self._side)
        mask = cv2.resize(annotation.mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return self._stacked(sample.features), self._shrunk(to_uint8(sample.images)[0]), np.asarray(mask)

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
        self._moments = moments
        for _ in range(rounds):
            masks = [
                snap_to_image(image, 1 / (1 + np.exp(-x)), confident=0.731)  # |score| 1
                for image, x in zip(images, score, strict=True)
            ]
            sides = 2 * np.stack(masks).reshape(-1).astype(np.float32) - 1
            self._response = design.T @ sides
            self._weights = np.linalg.solve(moments, self._response)
            score = 2 * (design @ self._weights).reshape(shape)
        self._unlabelled_weights, self._learnt = self._weights, list[tuple[str, bytes]]()
        self._mlp: Callable[[Floats], Floats] | None = None

    def learn(
        self,
        labelled: Sequence[Annotation],
        read: Callable[[Annotation], tuple[list[Floats], NDArray[np.uint8], NDArray[np.uint8]]],
    ) -> None:
        """Learn from these samples of the class and no others; `read` gives blocks, image and mask of one."""
        contents = [(a.id, a.mask.tobytes()) for a in labelled]
        if contents == self._learnt:
            return
        self._weights, self._mlp = self._unlabelled_weights, None
        if labelled:
            moments, response = self._moments.astype(np.float64), self._response.astype(np.float64)
            inputs, targets = [], []
            for blocks, image, mask in map(read, labelled):
                flat, known = self._standard(blocks), mask.ravel() != 255
                design = self._design(flat, flat @ self._basis, image[None])[known]
                target = (mask.ravel()[known] > 0).astype(np.float32)
                moments += LABEL_WEIGHT * design.T @ design
                response += LABEL_WEIGHT * design.T @ (2 * target - 1)
                inputs.append(_mlp_inputs(flat, image)[known])
                targets.append(target)
            sides = np.concatenate(targets)
            if 0 < sides.sum() < len(sides):  # else every pixel would be the object, or none
                self._weights = np.linalg.solve(moments, response).astype(np.float32)
                self._mlp = _trained_mlp(np.concatenate(inputs), sides)
        self._learnt = contents

    def read(self, blocks: list[Floats], image: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
        """For the clicks on an image.

        Returns:
            The score before any click, [side, side] in [-2, 2]; how far the scores it is the mean of differ;
            the features that clicks compare, [side, side, D].
        """
        flat, shape = self._standard(blocks), image.shape[:2]
        components = flat @ self._basis
        fitted = np.clip(2 * (self._design(flat, components, image[None]) @ self._weights), -2, 2)
        clustered = np.clip(cluster_score(components, self._clusters), -2, 2)
        score = (fitted + clustered) / np.float32(2)
        if self._mlp is not None:
            score = (score + np.clip(self._mlp(_mlp_inputs(flat, image)) / 2, -2, 2)) / np.float32(2)
        features = (components / self._size).reshape(*shape, -1)
        return score.reshape(shape), (clustered - fitted).reshape(shape), features

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


def _mlp_inputs(flat: Floats, image: NDArray[np.uint8]) -> Floats:
    """Features, colours and place of an image's pixels, [P, D]."""
    colours = image.astype(np.float32) / 255
    rows, columns = np.indices(image.shape[:2], np.float32) * (2 / len(image)) - 1
    colours = np.concatenate([colours, cv2.GaussianBlur(colours, (0, 0), 1.0)], 2).reshape(len(flat), 6)
    return np.concatenate([flat, colours, rows.reshape(-1, 1), columns.reshape(-1, 1)], 1)


def _trained_mlp(inputs: Floats, targets: Floats, batch: int = 768) -> Callable[[Floats], Floats]:
    """Train a network on inputs [P, D] and targets [P] in {0, 1}; it maps inputs to logits [P]."""
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-3 * inputs.std()
    x, y = torch.from_numpy((inputs - mean) / spread), torch.from_numpy(targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
            nn.Linear(64, 1),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=MLP_STEPS)
        for _ in range(MLP_STEPS):
            rows = torch.randint(len(x), (batch,))
            loss = F.binary_cross_entropy_with_logits(network(x[rows])[:, 0], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()

    def logits(inputs: Floats) -> Floats:
        with torch.inference_mode():
            return network(torch.from_numpy((inputs - mean) / spread))[:, 0].numpy()

    return logits


class _FeatureClicks:
    """One sample's clicks for `FeatureSegmenter`."""

    def __init__(
        self,
        image: NDArray[np.uint8],
        small: NDArray[np.uint8],
        prior: Floats,
        unsure: Floats,
        features: Floats,
    ) -> None:
        self._image, self._small, self._features = image, small, features
        self._prior, self._unsure = prior, unsure

    def predict(self, points: Sequence[Click], box: Box | None = None) -> tuple[Mask, Floats]:
        """As `Clicks.predict`."""
        height, width = self._image.shape[:2]
        pixels, limits = checked_clicks(points, box, height, width)
        if box is None and not any(pixels.values()):
            return np.zeros((height, width), bool), np.ones((height, width), np.float32)
        rows, columns = self._prior.shape
        here = {(int(y * rows / height), int(x * columns / width)): on for (y, x), on in pixels.items()}
        score = posterior(self._prior, self._features, here, 0.5, 12 / 64, 1.0, self._unsure, margin=0.7)
        return obeying(sharpened(self._image, self._small, score, radius=2), pixels, limits)
