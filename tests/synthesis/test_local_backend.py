"""Whoever makes the shards, however often they are stopped: the same bytes."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bdgan_lib.core.io import as_path
from bdgan_lib.core.precision import bf16_is_fast
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import write_card
from bdgan_lib.datasets.iterable import LabelledShards
from bdgan_lib.datasets.shards import LOG
from bdgan_lib.datasets.validate import validate
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.synthesis.filters import Models, calibrate_filters
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.shard import make_shard
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec


def tree_hash(folder: Path) -> str:
    digest = sha256()
    for path in sorted(folder.iterdir()):
        if path.name != LOG:
            digest.update(path.name.encode() + sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@pytest.fixture
def models(biggan) -> Models:
    generator = BigGANDeep(biggan, "tiny", tuple(f"class {k}" for k in range(12)), "a" * 64)
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head = build_head(HeadConfig(blocks, 12, architecture=Architecture(members=3, widths=(8, 8, 8))))
    return Models(generator, head.eval())


@pytest.fixture
def spec(models) -> SynthesisSpec:
    filters = calibrate_filters(models, (0, 5), Sampling(), 1, 0.8, samples=40, batch_size=4)
    return SynthesisSpec.for_models(models, (0, 5), 12, Sampling(), filters, batch_size=4, shard_size=5)


def test_the_number_of_workers_changes_no_byte(models, spec, tmp_path):
    found = {n: tree_hash(synthesize(spec, models, tmp_path / str(n), n, False).folder) for n in (1, 2, 4)}
    assert len(set(found.values())) == 1


def test_neither_does_any_order_of_stops(models, spec, tmp_path):
    expected = tree_hash(synthesize(spec, models, tmp_path / "whole", progress=False).folder)
    for schedule in range(20):
        folder, noise = tmp_path / f"stopped{schedule}", random.Random(schedule)
        while True:
            batches = iter(range(noise.randrange(1, 6)))

            def advance(drawn, kept, batches=batches):
                if next(batches, None) is None:
                    raise KeyboardInterrupt

            try:
                for k in noise.sample(range(spec.num_shards), 2):
                    make_shard(spec, k, models, _made(folder), advance)
            except KeyboardInterrupt:
                pass
            if noise.random() < 0.5:
                break
        assert tree_hash(synthesize(spec, models, folder, progress=False).folder) == expected


@pytest.mark.parametrize(("workers", "writers"), [(1, 1), (1, 3), (2, 2)])
def test_the_card_is_that_of_a_full_read_for_any_workers_and_interruptions(
    tmp_path, models, spec, workers, writers
):
    whole = tree_hash(synthesize(spec, models, tmp_path / "whole", progress=False).folder)
    for schedule in range(4 if workers == 1 else 1):
        folder, noise = tmp_path / f"{schedule}", random.Random(schedule)
        folder.mkdir()
        for k in noise.sample(range(spec.num_shards), noise.randrange(1, 4)):
            make_shard(spec, k, models, folder)
        data = synthesize(spec, models, folder, workers, progress=False, writers=writers)
        assert tree_hash(folder) == whole
        write_card(data.folder, progress=False)
        assert tree_hash(folder) == whole and validate(folder, progress=False) == []


def test_an_object_store_gets_the_same_bytes_and_a_run_goes_on_there(models, spec, tmp_path):
    here = synthesize(spec, models, tmp_path / "here", progress=False)
    there = as_path("memory://bucket/set")
    make_shard(spec, 1, models, _made(there))
    found = synthesize(spec, models, "memory://bucket/set", progress=False)
    assert tree_hash(found.folder) == tree_hash(here.folder)
    assert validate(there, progress=False) == []
    assert [s.id for s, _ in LabelledShards(found)] == [s.id for s, _ in here]
    first = there / found.shards[0]["name"]
    first.write_bytes(first.read_bytes()[:-512])
    assert "is damaged" in validate(there, progress=False)[0]
    assert tree_hash(synthesize(spec, models, there, progress=False).folder) == tree_hash(here.folder)


def test_bfloat16_changes_few_labels_and_is_part_of_the_specification(models, spec, tmp_path):
    if not bf16_is_fast("cpu"):
        with pytest.raises(BdganError, match="does not compute in bfloat16"):
            make_shard(replace(spec, bf16=True), 0, models, tmp_path)
        return
    plain, fast = replace(spec, filters=Filters()), replace(spec, filters=Filters(), bf16=True)
    assert plain.hash() != fast.hash()
    _, masks, _ = synthesize(plain, models, tmp_path / "plain", progress=False).arrays()
    _, found, _ = synthesize(fast, models, tmp_path / "fast", progress=False).arrays()
    assert (masks == found).mean() > 0.98  # of a head that was never trained, unsure everywhere


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    kills = os.environ.get("BDGAN_KILLS", "60")  # 200: see killed.py
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), kills]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    counts = json.loads(done.stdout)
    assert counts["kills"] == int(kills) and counts["whole"] > 0
    assert counts["different"] == counts["invalid"] == 0
