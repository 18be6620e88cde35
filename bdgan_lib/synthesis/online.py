"""Online synthesis: labelled samples drawn while a network trains on them (paper section 4)."""

from collections.abc import Iterator
from itertools import chain, count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import Generator
from bdgan_lib.synthesis.filters import Labeler


class Batch(NamedTuple):
    """B labelled samples."""

    images: NDArray[np.uint8]  # [B, H, W, 3]
    masks: NDArray[np.uint8]  # [B, H, W] label ids
    class_ids: NDArray[np.int64]  # [B]


class OnlineSynthesis(IterableDataset[list[Batch]]):
    """An endless stream of groups of batches; `batches` yields the batches themselves.

    Sample n is of class class_ids[n % K] and has seed first_seed + n. With W workers each draws every W-th
    group; apart from rounding, the stream is the same for any number of them.

    Args:
        generator: draws the samples.
        head: labels them.
        class_ids: K classes, which take turns.
        sampling: how latents are drawn.
        batch_size: images per batch.
        ahead: batches per group, which are drawn at once because that is cheaper.
        first_seed: seed of sample 0.

    Raises:
        BdganError: no class, or batch_size, ahead or first_seed out of range.
    """

    def __init__(
        self,
        generator: Generator,
        head: Labeler,
        class_ids: tuple[int, ...],
        sampling: Sampling,
        batch_size: int = 32,
        ahead: int = 4,
        first_seed: int = GENERATOR["online"].first,  # far from the seeds of stored sets
    ) -> None:
        if not class_ids or batch_size < 1 or ahead < 1 or first_seed < 0:
            raise BdganError(
                "expected 1 or more classes, batch_size and ahead, and a first_seed from 0, got "
                f"{len(class_ids)} classes, batch_size {batch_size}, ahead {ahead}, first_seed {first_seed}"
            )
        self.generator, self.head, self.class_ids, self.sampling = generator, head, class_ids, sampling
        self.batch_size, self.ahead, self.first_seed = batch_size, ahead, first_seed

    def __iter__(self) -> Iterator[list[Batch]]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        return map(self.draw, count(start, step))

    def draw(self, n: int) -> list[Batch]:
        """Draw the n-th group of batches."""
        size = self.batch_size * self.ahead
        numbers = range(n * size, (n + 1) * size)
        ids = torch.tensor([self.class_ids[i % len(self.class_ids)] for i in numbers])
        sample = self.generator.sample(ids, torch.arange(size) + self.first_seed + n * size, self.sampling)
        images, masks = to_uint8(sample.images), self.head.predict_with_uncertainty(sample)[0]
        parts = (slice(k, k + self.batch_size) for k in range(0, size, self.batch_size))
        return [Batch(images[part], masks[part], ids[part].numpy()) for part in parts]

    def batches(self, workers: int = 0) -> Iterator[Batch]:
        """Yield the batches, drawn by so many worker processes; 0: by this process, on demand."""
        groups = DataLoader(self, batch_size=None, num_workers=workers, collate_fn=_unchanged)
        return chain.from_iterable(groups)


def _unchanged(group: list[Batch]) -> list[Batch]:
    return group
