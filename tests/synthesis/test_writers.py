"""Writer threads change no byte, hold so much memory and no more, and leave nothing behind when one fails."""

import errno
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.io import as_path
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import MANIFEST, ShardFile, write_shard
from bdgan_lib.synthesis import writers as module
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.shard import make_shards
from bdgan_lib.synthesis.spec import MOST_WRITERS
from bdgan_lib.synthesis.writers import Writers, queue_bytes, writer_count

from .test_job import SPEC, TinyGenerator, TinyHead, content

MB = 1 << 20


def models() -> Models:
    return Models(TinyGenerator(), TinyHead())


def make(folder, writers: int = 2):
    return synthesize(SPEC, models(), folder, progress=False, writers=writers)


def sample(n: int, side: int = 16) -> tuple[LabelledSample, dict]:
    rng = np.random.default_rng(n)
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8), rng.integers(0, 2, (side, side), np.uint8)
    return LabelledSample(*pixels, 0, n, f"a_{n:08d}"), {"n": n}


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert running() == []


@pytest.fixture
def whole(tmp_path) -> dict[str, bytes]:
    return content(make(tmp_path / "whole", 1).folder)


@pytest.mark.parametrize("writers", [1, 2, 7])
@pytest.mark.parametrize("limit", [1, 64 * MB], ids=["one sample waits", "all wait"])
def test_shards_are_those_of_one_thread(tmp_path, writers, limit, monkeypatch):
    encode = module.encode_sample

    def uneven(sample, *rest):  # later samples are done first
        time.sleep(0.002 * (-sample.seed % 3))
        return encode(sample, *rest)

    monkeypatch.setattr(module, "encode_sample", uneven)
    groups = [range(0, 9), range(9, 9), range(9, 10), range(10, 24)]
    expected = [write_shard(tmp_path / f"a{i}.tar", map(sample, group)) for i, group in enumerate(groups)]
    found = []
    with Writers(writers, limit) as pool:
        for i, group in enumerate(groups):
            shard = pool.new_shard(tmp_path / f"b{i}.tar", 0, lambda entry: entry)
            for n in group:
                shard.add(*sample(n))
            shard.close()
            found += pool.results(wait=False)
        found += pool.results(wait=True)
    by_name = {entry["name"]: entry for entry in found}
    for i, entry in enumerate(expected):
        assert by_name[f"b{i}.tar"] == {**entry, "name": f"b{i}.tar"}
        assert (tmp_path / f"b{i}.tar").read_bytes() == (tmp_path / f"a{i}.tar").read_bytes()


def test_the_generator_goes_on_until_the_queue_is_full_and_no_further(tmp_path, monkeypatch):
    """While the first shard is being sent to a slow store."""
    slow, drawn = threading.Event(), Counter()
    close = ShardFile.close

    def send(self):
        slow.wait(30)
        return close(self)

    monkeypatch.setattr(ShardFile, "close", send)
    size = 16 * 16 * 4 + module._RECORD

    def draw():
        with Writers(1, 5 * size) as pool:
            for k in range(4):
                shard = pool.new_shard(tmp_path / f"{k}.tar", 0, lambda entry: entry)
                for n in range(3):
                    shard.add(*sample(3 * k + n))
                    drawn["samples"] += 1
                shard.close()
            drawn["shards"] = len([*pool.results(wait=True)])

    thread = threading.Thread(target=draw)
    thread.start()
    deadline = time.monotonic() + 20
    while drawn["samples"] < 3 + 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert drawn["samples"] == 3 + 5, "three of the shard that is sent, and five that wait"
    slow.set()
    thread.join(30)
    assert drawn == {"samples": 12, "shards": 4}


def test_a_sample_larger_than_the_queue_is_written(tmp_path):
    with Writers(2, 100) as pool:
        shard = pool.new_shard(tmp_path / "a.tar", 0, lambda entry: entry)
        for n in range(3):
            shard.add(*sample(n))
        shard.close()
        assert [entry["count"] for entry in pool.results(wait=True)] == [3]


def test_the_queue_takes_an_eighth_of_the_free_memory_at_most(monkeypatch):
    free = type("Memory", (), {"available": 80 * MB})
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: free)
    assert queue_bytes(MOST_WRITERS) == 10 * MB
    free.available = 1 << 50
    assert queue_bytes(1) == module.QUEUE and queue_bytes(3) == 3 * module.QUEUE


@pytest.mark.parametrize("writers", [-1, MOST_WRITERS + 1, 10**12])
def test_absurd_numbers_of_writers_are_refused_before_anything_is_written(tmp_path, writers):
    with pytest.raises(BdganError, match=f"expected 0 to {MOST_WRITERS} writers, got {writers}; give"):
        make(tmp_path / "set", writers)
    assert not (tmp_path / "set").exists()


def test_the_number_of_writers_follows_the_cores(monkeypatch):
    for cores, expected in ((6, 6), (None, 1), (9_000, MOST_WRITERS)):
        monkeypatch.setattr(module.os, "cpu_count", lambda cores=cores: cores)
        assert writer_count(0) == expected
    assert writer_count(0, processes=4) == 1 and writer_count(3, processes=4) == 3


def test_threads_that_cannot_be_started_are_told(tmp_path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(BdganError, match=r"cannot be started .* use fewer writers"):
        make(tmp_path, 4)
    assert not any(path.suffix in (".tar", ".tmp") for path in tmp_path.iterdir())


class Refusal(Exception):
    """As object stores raise them."""


@pytest.mark.parametrize("writers", [1, 2, 4])
@pytest.mark.parametrize("at", ["encode_sample", "_write", "close"])
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "No space left"),
        (BdganError("a bad sample"), BdganError, "a bad sample"),
    ],
    ids=["disk full", "bad sample"],
)
def test_a_failure_in_the_middle_keeps_what_was_finished(
    tmp_path, whole, monkeypatch, writers, at, error, kind, text
):
    owner, calls = (module if at == "encode_sample" else ShardFile), Counter()
    function, lock = getattr(owner, at), threading.Lock()
    first = {"encode_sample": 6, "_write": 7, "close": 1}[at]  # so many calls make the first shard

    def fail(*arguments):
        with lock:
            calls["all"] += 1
            if calls["all"] > first:
                raise error
        return function(*arguments)

    monkeypatch.setattr(owner, at, fail)
    folder = tmp_path / "set"
    with pytest.raises(kind, match=text):
        make(folder, writers)
    monkeypatch.undo()
    names = {path.name for path in folder.iterdir()}
    assert not any(name.endswith(".tmp") for name in names) and MANIFEST not in names
    tars = {name for name in names if name.endswith(".tar")}
    assert len(tars) <= 1 and all((folder / name).read_bytes() == whole[name] for name in tars)
    assert {Path(name).with_suffix(".json").name for name in tars} == {
        n for n in names if n.endswith("json")
    } - {"log.jsonl"}
    if writers == 1:
        assert tars == {"shard_00000.tar"}
    assert content(make(folder, writers).folder) == whole


@pytest.mark.parametrize("writers", [1, 3])
def test_a_store_that_refuses_in_the_middle_keeps_what_it_took(whole, monkeypatch, writers):
    folder, calls = as_path(f"memory://bucket/refusing{writers}"), Counter()
    put = type(folder.fs).put_file

    def refuse(self, here, there, *arguments, **settings):
        calls[Path(there).suffix] += there.endswith(".tar")
        if calls[".tar"] > 1:
            raise Refusal("403")
        return put(self, here, there, *arguments, **settings)

    monkeypatch.setattr(type(folder.fs), "put_file", refuse)
    with pytest.raises(
        BdganError, match=r"shard_0000\d\.tar cannot be written \(Refusal\('403'\)\); run the same"
    ):
        make(folder, writers)
    monkeypatch.undo()
    names = {path.name for path in folder.iterdir()}
    assert len([name for name in names if name.endswith(".tar")]) == 1 and MANIFEST not in names
    generator = TinyGenerator()
    synthesize(SPEC, Models(generator, TinyHead()), folder, progress=False, writers=writers)
    assert content(folder) == whole and len(generator.batches) < 5


@pytest.mark.parametrize("writers", [1, 3])
def test_what_was_drawn_before_a_generator_fails_is_written(tmp_path, whole, writers):
    class Failing(TinyHead):
        calls = 0

        def predict_with_uncertainty(self, sample):
            self.calls += 1
            if self.calls > 4:
                raise BdganError("out of order")
            return super().predict_with_uncertainty(sample)

    with pytest.raises(BdganError, match="out of order"):
        synthesize(
            SPEC, Models(TinyGenerator(), Failing()), tmp_path / "set", progress=False, writers=writers
        )
    found = content(tmp_path / "set")
    assert {name for name in found if name.endswith(".tar")} == {"shard_00000.tar", "shard_00001.tar"}
    assert content(make(tmp_path / "set", writers).folder) == whole


def test_a_caller_that_stops_early_leaves_no_thread_and_no_part_of_a_shard(tmp_path):
    shards = make_shards(SPEC, range(3), models(), tmp_path, writers=2)
    next(shards)
    shards.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert not any(name.endswith(".tmp") for name in names)
    assert {n for n in names if n.endswith(".tar")} >= {
        n.replace("json", "tar") for n in names if "json" in n
    }
