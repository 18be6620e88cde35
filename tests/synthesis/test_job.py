"""Laws of synthesis: what a data set is depends on its specification alone, and stopping it costs nothing."""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT
from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.shards import LOG, MANIFEST, ShardedSet, read_shard
from bdgan_lib.datasets.validate import validate
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.shard import make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec


class TinyGenerator:
    """Four pixels' worth of generator; like a real network, its last bits depend on who shares the batch."""

    name, sha256, classes, image_size = "tiny", "g", ("robin", "blue jay", "mug"), 8
    blocks = {"low": (3, 8)}  # noqa: RUF012 (a stand-in)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def sample(self, class_ids, seeds, sampling=Sampling(), features=True) -> Sample:  # noqa: B008
        self.batches.append(len(seeds))
        z = latents_from_seeds(seeds, 3 * 64, sampling).reshape(-1, 3, 8, 8)
        images = (z / 2 + class_ids.reshape(-1, 1, 1, 1) / 8 + 0.05 * z.mean()).clamp(-1, 1)
        return Sample(images, {"low": z} if features else {}, class_ids, seeds, sampling)


class TinyHead:
    sha256, labels = "h", ("background", "foreground")

    def predict_with_uncertainty(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        x = sample.features["low"].mean(1)
        return (x > 0).to(torch.uint8).numpy(), x.mean((1, 2)).abs().numpy()


class BrokenHead(TinyHead):
    def __init__(self, masks) -> None:
        self.masks = masks

    def predict_with_uncertainty(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        return self.masks, np.zeros(len(self.masks), np.float32)


SPEC = SynthesisSpec("g", "h", (0, 2), 7, Sampling(truncation=0.8), batch_size=4, shard_size=6)  # 14 samples


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOG}


def pixels(samples) -> dict[str, tuple[bytes, bytes]]:
    return {sample.id: (sample.image.tobytes(), sample.mask.tobytes()) for sample, _ in samples}


@pytest.fixture
def whole(tmp_path) -> ShardedSet:
    return synthesize(SPEC, Models(TinyGenerator(), TinyHead()), tmp_path / "whole", progress=False)


def test_the_stand_in_is_a_generator():
    generator: Generator = TinyGenerator()
    assert generator.sample(torch.tensor([1]), torch.tensor([5])).images.shape == (1, 3, 8, 8)


def test_a_set_has_every_class_equally_often_and_seeds_from_a_counter(whole):
    assert len(whole) == SPEC.count == 14 and whole.manifest["spec_sha256"] == SPEC.hash()
    found = [(sample.class_id, sample.seed) for sample, _ in whole]
    assert found == [((0, 2)[n % 2], 1_000_000 + n) for n in range(14)]
    shards = {f"shard_{k:05d}.tar" for k in range(3)}
    assert (
        set(content(whole.folder)) == {MANIFEST, CARD, CROISSANT, *shards}
        and validate(whole.folder, False) == []
    )


def test_every_sample_tells_its_origin(whole):
    for sample, record in whole:
        assert record["sampling"] == {"truncation": 0.8, "z_std": None}
        assert (record["generator_sha256"], record["head_sha256"], record["batch_size"]) == ("g", "h", 4)
        assert record["class_name"] == ("robin", "blue jay", "mug")[sample.class_id]
        assert record["bdgan_lib"] and record["id"] == sample.id


def test_its_origin_brings_a_sample_back(whole):
    """Pixel by pixel, in the batch of its neighbours."""
    for n, (sample, record) in enumerate(whole):
        batch = [n // 4 * 4 + i for i in range(4)]
        made = TinyGenerator().sample(
            torch.tensor([(0, 2)[m % 2] for m in batch]),
            torch.tensor([record["seed"] - n + m for m in batch]),
            Sampling.from_json(record["sampling"]),
        )
        assert np.array_equal(to_uint8(made.images)[n % 4], sample.image)
        assert np.array_equal(TinyHead().predict_with_uncertainty(made)[0][n % 4], sample.mask)


def test_order_and_repetition_of_shards_do_not_matter(whole, tmp_path):
    for k in (2, 0, 1, 2):
        entry, _ = make_shard(SPEC, k, Models(TinyGenerator(), TinyHead()), tmp_path)
        assert entry == whole.shards[k]
        assert (tmp_path / entry["name"]).read_bytes() == (whole.folder / entry["name"]).read_bytes()


@pytest.mark.parametrize("change", [{"shard_size": 5}, {"shard_size": 100}, {"images_per_class": 9}], ids=str)
def test_neither_shard_size_nor_the_size_of_the_whole_changes_a_pixel(whole, tmp_path, change):
    spec = replace(SPEC, **change)
    found = pixels(synthesize(spec, Models(TinyGenerator(), TinyHead()), tmp_path / "other", progress=False))
    assert all(found[id] == data for id, data in pixels(whole).items())


def test_every_batch_is_whole(tmp_path):
    generator = TinyGenerator()
    synthesize(SPEC, Models(generator, TinyHead()), tmp_path, progress=False)
    assert set(generator.batches) == {SPEC.batch_size}


@pytest.mark.parametrize("stop_after", range(5))
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(whole, tmp_path, stop_after):
    class Stopped(TinyHead):
        calls = 0

        def predict_with_uncertainty(self, sample):
            Stopped.calls += 1
            if Stopped.calls > stop_after:
                raise KeyboardInterrupt
            return super().predict_with_uncertainty(sample)

    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        synthesize(SPEC, Models(TinyGenerator(), Stopped()), folder, progress=False)
    finished = len(list(folder.glob("*.tar")))
    assert not any(path.suffix == ".tmp" for path in folder.iterdir())
    with pytest.raises(BdganError, match="not finished"):
        ShardedSet(folder)

    generator = TinyGenerator()
    synthesize(SPEC, Models(generator, TinyHead()), folder, progress=False)
    assert content(folder) == content(whole.folder)
    assert len(generator.batches) == 5 - 2 * finished  # shards take 2, 2 and 1 batches


def test_a_finished_set_is_not_made_again(whole):
    generator = TinyGenerator()
    before = content(whole.folder)
    synthesize(SPEC, Models(generator, TinyHead()), whole.folder, progress=False)
    assert generator.batches == [] and content(whole.folder) == before


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_shard_alone_is_made_again(whole, damage):
    before = content(whole.folder)
    path = whole.folder / "shard_00001.tar"
    data = bytearray(before[path.name])
    data[700] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:600])
    generator = TinyGenerator()
    synthesize(SPEC, Models(generator, TinyHead()), whole.folder, progress=False)
    assert content(whole.folder) == before
    assert len(generator.batches) == 2  # samples 6..11 lie in two batches of four


def test_a_full_disk_keeps_what_was_finished(whole, tmp_path, monkeypatch):
    folder, calls, fsync = tmp_path / "full", [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        synthesize(SPEC, Models(TinyGenerator(), TinyHead()), folder, progress=False)
    monkeypatch.undo()
    found = content(folder)
    assert MANIFEST not in found and not any(name.endswith(".tmp") for name in found)
    assert len(list(read_shard(folder / "shard_00000.tar"))) == 6
    synthesize(SPEC, Models(TinyGenerator(), TinyHead()), folder, progress=False)
    assert content(folder) == content(whole.folder)


def test_a_folder_of_another_set_is_left_alone(whole):
    before = content(whole.folder)
    with pytest.raises(BdganError, match="other settings; choose another folder"):
        synthesize(
            replace(SPEC, first_seed=0), Models(TinyGenerator(), TinyHead()), whole.folder, progress=False
        )
    assert content(whole.folder) == before


def test_a_foreign_shard_in_the_folder_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "mine.tar").write_bytes(b"x")
    with pytest.raises(BdganError, match=r"mine\.tar is no shard of this data set"):
        synthesize(SPEC, Models(TinyGenerator(), TinyHead()), tmp_path, progress=False)
    assert list(content(tmp_path)) == ["mine.tar"]


@pytest.mark.parametrize(
    ("change", "names_it"),
    [
        ({"generator_sha256": "x"}, "generator is not .* got g"),
        ({"head_sha256": "x"}, "head is not .* got h"),
        ({"class_ids": (0, 3)}, "class id 3 is unknown to tiny"),
    ],
)
def test_the_wrong_generator_head_or_class_stops_before_anything_is_written(tmp_path, change, names_it):
    with pytest.raises(BdganError, match=names_it):
        synthesize(
            replace(SPEC, **change), Models(TinyGenerator(), TinyHead()), tmp_path / "new", progress=False
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"class_ids": ()},
        {"class_ids": (1, 1)},
        {"class_ids": (-1,)},
        {"images_per_class": 0},
        {"batch_size": 0},
        {"shard_size": 0},
        {"first_seed": -1},
    ],
    ids=str,
)
def test_a_specification_of_nothing_is_refused(change):
    with pytest.raises(BdganError, match="give"):
        replace(SPEC, **change)


def test_a_shard_beyond_the_end_is_named(tmp_path):
    with pytest.raises(BdganError, match=r"0\.\.2 .* got shard 3"):
        make_shard(SPEC, 3, Models(TinyGenerator(), TinyHead()), tmp_path)


@pytest.mark.parametrize(
    "masks", [np.zeros((4, 8, 8)), np.zeros((4, 8, 7), np.uint8), np.zeros((8, 8), np.uint8)]
)
def test_masks_of_the_wrong_kind_are_refused(tmp_path, masks):
    with pytest.raises(BdganError, match="expected the head's masks"):
        make_shard(SPEC, 0, Models(TinyGenerator(), BrokenHead(masks)), tmp_path)
    assert content(tmp_path) == {}


def test_each_setting_changes_the_hash():
    changes = [
        {"generator_sha256": "x"}, {"head_sha256": "x"}, {"class_ids": (2, 0)}, {"images_per_class": 8},
        {"sampling": Sampling(z_std=0.8)}, {"batch_size": 5}, {"shard_size": 7}, {"first_seed": 1},
    ]  # fmt: skip
    hashes = {replace(SPEC, **change).hash() for change in changes} | {SPEC.hash()}
    assert len(hashes) == len(changes) + 1
    assert replace(SPEC, class_ids=[0, 2]).hash() == SPEC.hash()


def test_a_long_job_says_first_what_it_costs(tmp_path, capsys):
    synthesize(SPEC, Models(TinyGenerator(), TinyHead()), tmp_path, progress=True)
    out, err = capsys.readouterr()
    assert "14 images of 8 × 8 in 3 shards" in out and "MB on the disk" in out
    assert "14/14" in err and "image/s" in err
    promised = float(re.search(r"at most ([\d.]+) MB on the disk", out).group(1))
    assert sum(map(len, content(tmp_path).values())) <= promised * 1e6 + 5e5  # it is rounded to whole MB


def test_a_finished_set_is_not_even_touched(whole):
    before = {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()}
    synthesize(SPEC, Models(TinyGenerator(), TinyHead()), whole.folder, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in whole.folder.iterdir()} == before


def test_a_set_of_jpegs_is_whole_read_and_exported(tmp_path):
    models = Models(TinyGenerator(), TinyHead())
    found = synthesize(replace(SPEC, jpeg=90), models, tmp_path / "set", progress=False)
    plain = synthesize(SPEC, models, tmp_path / "plain", progress=False)
    assert validate(found.folder, progress=False) == []
    for (sample, _), (expected, _) in zip(found, plain):
        assert sample.id == expected.id and np.array_equal(sample.mask, expected.mask)
    export_set(found, tmp_path / "out", "folder", progress=False)
    assert len(list((tmp_path / "out/images").glob("*.jpg"))) == len(found)
