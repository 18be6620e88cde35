"""Shards by several processes of this machine, each with one thread."""

import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch.multiprocessing  # noqa: F401 (tensors are then sent as shared memory)

from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import Json
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.shard import Advance, make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec

_worker: dict[str, Any] = {}  # in a worker process: the arguments of `_begin`


def make_shards_in_processes(
    spec: SynthesisSpec, models: Models, folder: Path, shards: Sequence[int], workers: int, advance: Advance
) -> Iterator[Json]:
    """Yield the entries of these shards in the order they are finished.

    The models are sent to each process once; their tensors stay in memory that all share.

    Raises:
        BdganError: a process died, or `make_shard` raised it.
    """
    counts = multiprocessing.get_context("spawn").Array("q", 2)  # samples drawn, kept
    shown = [0, 0]

    def poll() -> None:
        nonlocal shown
        now = counts[:]
        advance(now[0] - shown[0], now[1] - shown[1])
        shown = now

    arguments = (spec, models, folder, counts)
    for _, entry in run_in_processes(_make, shards, workers, _begin, arguments, poll):
        yield entry


def _begin(*arguments: object) -> None:
    _worker["arguments"] = arguments


def _make(k: int) -> Json:
    spec, models, folder, counts = _worker["arguments"]

    def advance(drawn: int, kept: int) -> None:
        with counts.get_lock():
            counts[0] += drawn
            counts[1] += kept

    return make_shard(spec, k, models, folder, advance)
