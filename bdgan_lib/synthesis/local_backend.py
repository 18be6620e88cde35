"""Shards by several processes of this machine, each with one thread."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from bdgan_lib.core.parallel import report, run_in_processes
from bdgan_lib.core.types import Json
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.shard import Advance, make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec

_worker: dict[str, Any] = {}  # in a worker process: the arguments of `_begin`


def make_shards_in_processes(
    spec: SynthesisSpec, models: Models, folder: Path, shards: Sequence[int], workers: int, advance: Advance
) -> Generator[Json, None, None]:
    """Yield the entries of these shards in the order they are finished.

    The models are written to one temporary file; their tensors stay in memory that all processes share.

    Raises:
        BdganError: a process died, or `make_shard` raised it.
    """
    for _, entry in run_in_processes(_make, shards, workers, _begin, (spec, models, folder), advance):
        yield entry


def _begin(*arguments: object) -> None:
    _worker["arguments"] = arguments


def _make(k: int) -> Json:
    spec, models, folder = _worker["arguments"]
    return make_shard(spec, k, models, folder, report)
