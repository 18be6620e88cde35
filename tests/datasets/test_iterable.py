"""Laws of reading: each sample once per epoch, whoever reads along."""

from itertools import chain

import numpy as np
import pytest
from torch.utils.data import DataLoader

from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.iterable import LabelledShards
from bdgan_lib.datasets.shards import ShardedSet, write_manifest, write_shard

COUNTS = (5, 1, 0, 7, 3)


@pytest.fixture
def data(tmp_path) -> ShardedSet:
    shards, seed = [], 0
    for k, count in enumerate(COUNTS):
        samples = []
        for _ in range(count):
            image = np.full((4, 4, 3), seed, np.uint8)
            samples.append(
                (LabelledSample(image, image[..., 0] % 2, 0, seed, f"a_{seed:08d}"), {"class_name": "a"})
            )
            seed += 1
        shards.append(write_shard(tmp_path / f"shard_{k:05d}.tar", samples))
    write_manifest(tmp_path / "manifest.json", shards, {"classes": ["a"]})
    return ShardedSet(tmp_path)


def seeds(samples) -> list[int]:
    return [sample.seed for sample, _ in samples]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 16, 20])
@pytest.mark.parametrize("seed", [None, 4])
def test_each_sample_comes_once_whatever_the_split(data, parts, seed):
    shards = LabelledShards(data, seed, window=3)
    for shards.epoch in (0, 1):
        found = [seeds(shards.part(k, parts)) for k in range(parts)]
        assert sorted(chain.from_iterable(found)) == list(range(16))
        assert max(map(len, found)) - min(map(len, found)) <= 1


def test_without_a_seed_the_order_is_that_of_the_set(data):
    assert seeds(LabelledShards(data)) == list(range(16))


def test_an_epoch_has_an_order_of_its_own_and_the_same_again(data):
    shards = LabelledShards(data, seed=1, window=8)
    first = seeds(shards)
    assert seeds(shards) == first != list(range(16))
    shards.epoch = 1
    assert seeds(shards) != first


def test_a_loader_s_workers_on_two_ranks_share_the_set(data):
    found = []
    for rank in range(2):
        shards = LabelledShards(data, seed=0, rank=rank, ranks=2)
        found += seeds(DataLoader(shards, batch_size=None, num_workers=2, collate_fn=list))
    assert sorted(found) == list(range(16))


def test_a_damaged_shard_is_named_and_a_rank_beyond_is_refused(data):
    path = data.folder / "shard_00003.tar"
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(BdganError, match=r"shard_00003\.tar is damaged"):
        seeds(LabelledShards(data))
    with pytest.raises(BdganError, match="rank 2 of 2"):
        LabelledShards(data, rank=2, ranks=2)
