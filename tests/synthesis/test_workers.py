"""Whoever makes the shards, however often they are stopped: the same bytes."""

import json
import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from bdgan_lib.data.shards import LOG
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.synthesis.filters import Models, calibrated
from bdgan_lib.synthesis.run import make_shard, synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec
from bdgan_lib.types import Sampling


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
    filters = calibrated(models, (0, 5), Sampling(), 1, 0.8, samples=40, batch_size=4)
    return SynthesisSpec(
        models.generator.sha256, models.head.sha256, (0, 5), 12, Sampling(), 4, 5, filters=filters
    )


def test_the_number_of_workers_changes_no_byte(models, spec, tmp_path):
    found = {n: tree_hash(synthesize(spec, models, tmp_path / str(n), n, False).folder) for n in (1, 2, 4)}
    assert len(set(found.values())) == 1


def test_neither_does_any_order_of_stops(models, spec, tmp_path):
    wanted = tree_hash(synthesize(spec, models, tmp_path / "whole", progress=False).folder)
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
        assert tree_hash(synthesize(spec, models, folder, progress=False).folder) == wanted


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    kills = os.environ.get("BDGAN_KILLS", "60")  # 200: see killed.py
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), kills]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    told = json.loads(done.stdout)
    assert told["kills"] == int(kills) and told["whole"] > 0
    assert told["different"] == told["invalid"] == 0
