"""A data set as a stream for torch's DataLoader, split over workers and ranks."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.sample_checks import decode_sample
from bdgan_lib.datasets.shards import Labelled, ShardedSet


class LabelledShards(IterableDataset[Labelled]):
    """The samples of a set, each once per epoch, however many ranks and workers share them.

        loader = DataLoader(LabelledShards(ShardedSet(folder), seed=0), batch_size=None, num_workers=4)
        loader.dataset.epoch = 3

    Each worker of each rank reads one part of the epoch and opens only the shards of that part. Lengths of
    parts differ by one sample at most.

    Args:
        data: the set.
        seed: shuffle the shards, and the samples within a window, differently in each epoch; None = in order.
        window: samples held in memory for shuffling.
        rank: of this process.
        ranks: number of processes.

    Raises:
        BdganError: the rank or the window is out of range.
    """

    def __init__(
        self, data: ShardedSet, seed: int | None = None, window: int = 1_000, rank: int = 0, ranks: int = 1
    ) -> None:
        if not 0 <= rank < ranks or window < 1:
            raise BdganError(
                f"expected 0 <= rank < ranks and window >= 1, got rank {rank} of {ranks} and window {window}"
            )
        self.data, self.seed, self.window, self.rank, self.ranks = data, seed, window, rank, ranks
        self.epoch = 0

    def __iter__(self) -> Iterator[Labelled]:
        worker = get_worker_info()
        id, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return self.part(self.rank * workers + id, self.ranks * workers)

    def part(self, k: int, parts: int) -> Iterator[Labelled]:
        """Yield the samples of part k of `parts` in this epoch.

        Raises:
            BdganError: a shard is damaged.
        """
        total = len(self.data)
        stretch = self._stretch(k * total // parts, (k + 1) * total // parts)
        if self.seed is None:
            yield from stretch
            return
        rng, held = np.random.default_rng([self.seed, self.epoch, k]), list(islice(stretch, self.window))
        for sample in stretch:
            i = int(rng.integers(len(held)))
            yield held[i]
            held[i] = sample
        for i in rng.permutation(len(held)).tolist():
            yield held[i]

    def _stretch(self, start: int, end: int) -> Iterator[Labelled]:
        shards, first = self.data.shards, 0
        order = range(len(shards))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(len(shards)).tolist()
        for shard in (shards[i] for i in order):
            low, high = max(start - first, 0), min(end - first, shard["count"])
            if low < high:
                for i, stored in enumerate(self.data.stored(shard)):
                    if low <= i < high:
                        yield decode_sample(stored, self.data.manifest)
            first += shard["count"]
