"""A data set as a stream for torch's DataLoader, dealt out to workers and ranks."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import Labelled, ShardedSet, read_shard


class LabelledShards(IterableDataset[Labelled]):
    """The samples of a set: once each per epoch, however many ranks and workers share them.

    The epoch's order is cut into as many stretches as there are workers on all ranks, equal but for one
    sample; each opens only the shards that its stretch touches. With a seed every epoch has another order of
    shards and, in a window of `window` samples, of samples.

        loader = DataLoader(LabelledShards(ShardedSet(folder), seed=0), batch_size=None, num_workers=4)
        loader.dataset.epoch = 3
    """

    def __init__(
        self, data: ShardedSet, seed: int | None = None, window: int = 1_000, rank: int = 0, ranks: int = 1
    ) -> None:
        if not 0 <= rank < ranks or window < 1:
            raise BdganError(
                f"rank {rank} of {ranks} and window {window} came; wanted 0 <= rank < ranks, 1 or more"
            )
        self.data, self.seed, self.window, self.rank, self.ranks = data, seed, window, rank, ranks
        self.epoch = 0

    def __iter__(self) -> Iterator[Labelled]:
        worker = get_worker_info()
        own, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return self.part(self.rank * workers + own, self.ranks * workers)

    def part(self, k: int, parts: int) -> Iterator[Labelled]:
        """The k-th of so many stretches of this epoch; BdganError naming a damaged shard."""
        total = len(self.data)
        stretch = self._stretch(k * total // parts, (k + 1) * total // parts)
        if self.seed is None:
            yield from stretch
            return
        noise, held = np.random.default_rng([self.seed, self.epoch, k]), list(islice(stretch, self.window))
        for sample in stretch:
            i = int(noise.integers(len(held)))
            yield held[i]
            held[i] = sample
        for i in noise.permutation(len(held)).tolist():
            yield held[i]

    def _stretch(self, start: int, end: int) -> Iterator[Labelled]:
        shards, first = self.data.shards, 0
        order = range(len(shards))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(len(shards)).tolist()
        for shard in (shards[i] for i in order):
            low, high = max(start - first, 0), min(end - first, shard["count"])
            if low < high:
                yield from islice(read_shard(self.data.verified(shard)), low, high)
            first += shard["count"]
