"""Shards by several processes of this machine, each with one thread."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from bdgan_lib.core.parallel import report, run_in_processes
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.folder import FinishedShard
from bdgan_lib.synthesis.shard import Advance, make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec

_worker: dict[str, Any] = {}  # in a worker process: the arguments of `_begin`


def make_shards_in_processes(
    spec: SynthesisSpec,
    shards: Sequence[int],
    models: Models,
    folder: Path,
    advance: Advance,
    writers: int,
    workers: int,
) -> Generator[FinishedShard, None, None]:
    """Write these shards, with so many writers in each process, and yield them as they are finished.

    The models are written to one temporary file; their tensors stay in memory that all processes share.

    Raises:
        BdganError: a process died, or `make_shard` raised it.
    """
    arguments = (spec, models, folder, writers)
    for _, finished in run_in_processes(_make, shards, workers, _begin, arguments, advance):
        yield finished


def _begin(*arguments: object) -> None:
    _worker["arguments"] = arguments


def _make(k: int) -> FinishedShard:
    spec, models, folder, writers = _worker["arguments"]
    return make_shard(spec, k, models, folder, report, writers)
