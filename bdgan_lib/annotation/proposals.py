"""Masks proposed by a small ensemble that is trained on what has been labelled so far."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.annotation.assist import snap_to_image
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator
from bdgan_lib.heads.base import Architecture, HeadConfig, largest
from bdgan_lib.heads.ensemble import image_divergence, mean_and_divergence
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head
from bdgan_lib.heads.training_data import TrainingData, collect_training_data, in_sampling_order, samples_of


class Proposer:
    """An ensemble of label heads on the features of samples that are being labelled.

    The features of all candidates are sampled once and kept in memory or, if they do not fit, in a folder; if
    neither has room they are sampled again each time. The first `fit` starts
    from random weights, each later one from the last weights with fewer steps. The same fits in the same
    order give the same proposals.
    """

    def __init__(
        self,
        generator: Generator,
        candidates: Iterable[Annotation],
        parts: bool = False,
        members: int = 4,
        steps: int = 120,
        warm_steps: int = 60,
        folder: Path | None = None,
        seed: int = 0,
    ) -> None:
        """Collect the candidates' features and build an untrained ensemble.

        Args:
            generator: draws the candidates.
            candidates: all samples that may be labelled; of their masks only the size matters here.
            parts: propose every label of a sample's `classes`; else foreground and background.
            members: of the ensemble.
            steps: training steps of the first fit.
            warm_steps: training steps of each later fit.
            folder: where features go that do not fit into memory (see `collect_training_data`).
            seed: of the weights and the order of training samples.
        """
        self._generator, self._parts, self._seed = generator, parts, seed
        self._steps, self._warm_steps = steps, warm_steps
        self._candidates = [replace(a, mask=np.zeros_like(a.mask)) for a in in_sampling_order(candidates)]
        self._index = {a.id: i for i, a in enumerate(self._candidates)}
        self._data = collect_training_data(generator, self._candidates, parts, folder=folder)
        self._images: dict[str, NDArray[np.uint8]] = {}  # of the candidates proposed for
        blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
        names = ("background", *(f"part {k}" for k in range(1, max(map(self._labels, self._candidates)))))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            architecture = Architecture(members=members)
            self._head = build_head(HeadConfig(blocks, len(generator.classes), names, architecture))
        self._fits = 0
        self.labels = 0  # number of masks it was trained on

    def fit(self, annotations: Iterable[Annotation]) -> int:
        """Train on the labelled annotations (not skipped, some pixel drawn) and return their number.

        Raises:
            BdganError: none is labelled, one is not a candidate, or a mask has another size.
        """
        labelled = [a for a in annotations if not a.skipped and ((a.mask > 0) & (a.mask != UNLABELLED)).any()]
        if not labelled:
            raise BdganError("nothing is labelled yet; label one sample or more, then ask for proposals")
        rows, shape = self._rows([a.id for a in labelled]), self._data.masks.shape[1:]
        for a in labelled:
            if a.mask.shape != shape:
                raise BdganError(
                    f"annotation {a.id}: its mask is {list(a.mask.shape)}, the candidates' are "
                    f"{list(shape)}; annotate again"
                )
        masks = torch.from_numpy(np.stack([a.mask for a in labelled]))
        if not self._parts:
            masks = torch.where(masks == UNLABELLED, UNLABELLED, (masks > 0).to(torch.uint8))
        data = TrainingData(lambda i: self._data.batch(rows[i]), self._data.class_ids[rows], masks)
        steps = self._warm_steps if self._fits else self._steps
        seed = self._seed + self._fits  # another order of samples in each fit
        fit_head(self._head, data, HeadTraining(steps=steps, parts=self._parts, seed=seed))
        self._fits += 1
        self.labels = len(labelled)
        return self.labels

    def propose(self, id: str) -> NDArray[np.uint8]:
        """The mask [H, W] that the ensemble predicts for a candidate, its outline snapped to image edges."""
        ((rows, mean, _),) = self._read([id])
        candidate = self._candidates[int(rows[0])]
        if id not in self._images:
            (sample,) = samples_of(self._generator, [candidate], features=False)
            self._images[id] = to_uint8(sample.images)[0]
        probs = mean[0, : self._labels(candidate)]  # [K, H, W]; other classes may have more labels
        foreground = snap_to_image(self._images[id], (1 - probs[0] / probs.sum(0)).numpy())
        return np.where(foreground, 1 + largest(probs[None, 1:])[0].numpy(), 0).astype(np.uint8)

    def divergence(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """The ensemble's mean JS divergence over each candidate's pixels, [N] nats, in [0, ln members]."""
        batches = [image_divergence(divergence.numpy()) for _, _, divergence in self._read(ids)]
        return np.concatenate([np.zeros(0, np.float32), *batches])

    @torch.inference_mode()
    def _read(self, ids: Sequence[str]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield batches: rows [B] of the data, mean probabilities [B, K, H, W], divergence [B, H, W]."""
        if not self._fits:
            raise BdganError("nothing has been learnt yet; label one sample or more and call `fit` first")
        for rows in self._rows(ids).split(20):
            odds = self._head.log_odds(self._data.batch(rows), self._data.class_ids[rows])
            yield rows, *mean_and_divergence(odds)

    def _labels(self, candidate: Annotation) -> int:
        """Number of labels its mask may hold."""
        return len(candidate.classes) if self._parts else 2

    def _rows(self, ids: Sequence[str]) -> Tensor:
        strangers = [id for id in ids if id not in self._index]
        if strangers:
            raise BdganError(
                f"{strangers[0]} is none of the {len(self._index)} candidates; add it to them first"
            )
        return torch.tensor([self._index[id] for id in ids], dtype=torch.int64)
