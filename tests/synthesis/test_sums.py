"""The end of a run is a sum over the records of its shards, and it is what reading every shard would give."""

import io
import json
import re
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets import shards as shards_module
from bdgan_lib.datasets.card import CARD, CROISSANT, ShardStatistics, write_card
from bdgan_lib.datasets.shards import MANIFEST, read_manifest, write_manifest
from bdgan_lib.datasets.validate import validate
from bdgan_lib.synthesis import folder as folder_module
from bdgan_lib.synthesis import job
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.shard import make_shard
from bdgan_lib.synthesis.spec import Filters

from .killed import MODELS, SPEC
from .test_job import content

PLAIN = replace(SPEC, filters=Filters())


def counted(shard: Path) -> dict:
    """The sums over a shard, by other packages from its members."""
    images, area, sizes, scores, versions = Counter(), Counter(), Counter(), [], set()
    with tarfile.open(shard) as file:
        members = {member.name: file.extractfile(member).read() for member in file}
    for name, data in members.items():
        if name.endswith(".json"):
            record = json.loads(data)
            mask = np.asarray(Image.open(io.BytesIO(members[name[:-5] + ".mask.png"])))
            images[record["class_name"]] += 1
            area[record["class_name"]] += np.mean((mask > 0)[mask < 255])
            sizes["{} × {}".format(*mask.shape)] += 1
            scores.append(record["divergence"])
            versions.add(record["bdgan_lib"])
    return {
        "images": dict(images), "area": pytest.approx(dict(area)), "sizes": dict(sizes),
        "scores": {"divergence": pytest.approx(sum(scores))} if scores else {},
        "scored": {"divergence": len(scores)} if scores else {},
        "metadata": {"bdgan_lib": sorted(versions), "device": ["cpu"]} if scores else {},
    }  # fmt: skip


def make(folder: Path, spec=SPEC, **settings):
    return synthesize(spec, MODELS, folder, progress=False, **settings)


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    return content(make(tmp_path / "whole").folder)


def unreadable(*arguments: object) -> None:
    raise AssertionError("a shard is read")


@pytest.mark.parametrize("spec", [SPEC, PLAIN], ids=["filters", "plain"])
def test_each_record_holds_the_sums_of_its_shard(tmp_path, spec):
    for k in range(spec.num_shards):
        _, statistics = make_shard(spec, k, MODELS, tmp_path, writers=1 + k % 3)
        record = read_manifest(tmp_path / f"shard_{k:05d}.json")
        assert record["statistics"] == statistics == counted(tmp_path / f"shard_{k:05d}.tar")
        assert ShardStatistics.from_json(statistics).to_json() == statistics


def test_no_shard_is_read_at_the_end(tmp_path, whole, monkeypatch):
    note = job.Job._note

    def overwrite(self, shard):
        note(self, shard)
        if len(self._entries) == SPEC.num_shards:
            for path in tmp_path.glob("set/*.tar"):
                path.write_bytes(b"x" * path.stat().st_size)

    monkeypatch.setattr(job.Job, "_note", overwrite)
    make(tmp_path / "set")
    for name in (MANIFEST, CARD, CROISSANT):
        assert (tmp_path / "set" / name).read_bytes() == whole[name]


def test_of_an_older_version_s_shards_alone_the_sums_are_counted(tmp_path, whole, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    for k in range(5):
        make_shard(SPEC, k, MODELS, folder)
    for k in (1, 3):
        path = folder / f"shard_{k:05d}.json"
        record = read_manifest(path)
        about = {k: v for k, v in record.items() if k not in ("statistics", "shards", "count", "sha256")}
        write_manifest(path, record["shards"], about)
    opened, read = [], job.stored_samples
    monkeypatch.setattr(job, "stored_samples", lambda path: opened.append(path.name) or read(path))
    make(folder)
    assert content(folder) == whole and opened == ["shard_00001.tar", "shard_00003.tar"]


def test_a_run_killed_between_manifest_and_card_reads_no_shard_either(tmp_path, whole, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, "complete_cards", stop)
        make(tmp_path / "set")
    assert (tmp_path / "set" / MANIFEST).exists() and not (tmp_path / "set" / CARD).exists()
    monkeypatch.setattr(job, "stored_samples", unreadable)
    assert content(make(tmp_path / "set").folder) == whole


def test_a_run_that_goes_on_hashes_each_shard_once_and_reads_its_record_twice(tmp_path, monkeypatch):
    for k in range(4):
        make_shard(SPEC, k, MODELS, tmp_path)
    hashed, records = Counter(), Counter()
    for module in (job, shards_module):
        hash = module.sha256_of
        monkeypatch.setattr(module, "sha256_of", lambda p, hash=hash: hashed.update([p.name]) or hash(p))
    read = folder_module.read_manifest
    monkeypatch.setattr(folder_module, "read_manifest", lambda p: records.update([p.name]) or read(p))
    make(tmp_path)
    tars = {name: n for name, n in hashed.items() if name.endswith(".tar")}
    assert tars == {f"shard_{k:05d}.tar": 1 for k in range(4)}
    assert records == {f"shard_{k:05d}.json": 2 for k in range(4)}  # checked, and added


def test_sums_wait_only_for_shards_before_them(tmp_path, whole, monkeypatch):
    names = [f"shard_{k:05d}.tar" for k in range(SPEC.num_shards)]
    folder = tmp_path / "set"
    folder.mkdir()
    make_shard(SPEC, 1, MODELS, folder)
    note, waiting = job.Job._note, []

    def noted(self, shard):
        note(self, shard)
        finished = set(self._entries)
        first = next((k for k, name in enumerate(names) if name not in finished), len(names))
        assert set(self._waiting) == finished.difference(names[:first], [names[1]])
        waiting.append(len(self._waiting))

    monkeypatch.setattr(job.Job, "_note", noted)
    with job.started_job(SPEC, MODELS, folder, progress=False) as one:
        order = one.missing[1:3] + one.missing[:1] + one.missing[3:]
        one.complete(make_shard(SPEC, k, MODELS, folder) for k in order)
    assert content(folder) == whole and waiting == [1, 2, *[0] * (len(order) - 2)]


@pytest.mark.parametrize("statistics", [{}, [], {"images": 3}, "mean"])
def test_a_record_without_right_sums_is_told(statistics):
    with pytest.raises(BdganError, match="expected the sums over a shard"):
        ShardStatistics.from_json(statistics)


@pytest.mark.parametrize("name", [CARD, CROISSANT])
def test_validation_counts_again(tmp_path, whole, name):
    folder = tmp_path / "whole"
    count = read_manifest(folder / MANIFEST)["count"]
    text, changes = re.subn(rf"\b{count}( synthetic| in )", rf"{count + 1}\1", whole[name].decode())
    assert changes == 1
    (folder / name).write_text(text, "utf-8")
    (line,) = validate(folder, progress=False)
    assert f"{name} states other figures than the shards have; run `bdgan describe`" in line
    write_card(folder, progress=False)
    assert validate(folder, progress=False) == []


@pytest.mark.parametrize("where", ["shard", "set"])
def test_validation_counts_what_was_dropped(tmp_path, whole, where):
    folder = tmp_path / "whole"
    manifest = read_manifest(folder / MANIFEST)
    about = {key: value for key, value in manifest.items() if key not in ("shards", "count", "sha256")}
    counts = manifest["shards"][0]["dropped"] if where == "shard" else about["counts"]
    counts["divergence"] += 1
    write_manifest(folder / MANIFEST, manifest["shards"], about)
    for name in (CARD, CROISSANT):
        (folder / name).unlink()
    (line,) = validate(folder, progress=False)
    assert "as dropped, " in line and ("shard_00000.dropped.jsonl lists" in line) == (where == "shard")
