"""Shards by several processes of this machine, each with one thread."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from bdgan_lib.core.types import BdganError
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import Job, make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec

_work: dict[str, Any] = {}  # of a worker process: what it makes shards with


def shards_by_processes(run: Job, workers: int) -> Iterator[dict[str, Any]]:
    """The entries of the missing shards, in the order they are finished; BdganError if a process dies.

    The models are sent once; their tensors stay in memory that all share.
    """
    import torch.multiprocessing  # noqa: F401 (tensors are then sent as shared memory)

    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 2)  # drawn, kept
    told = [0, 0]
    start = (run.spec, run.models, run.folder, counts)
    with ProcessPoolExecutor(min(workers, len(run.missing) or 1), context, _begin, start) as pool:
        pending = {pool.submit(_make, k) for k in run.missing}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                now = counts[:]
                run.advance(*(n - t for n, t in zip(now, told, strict=True)))
                told = now
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise BdganError(
                "a worker process died, perhaps for want of memory; the same command goes on from here: "
                "take fewer workers or smaller batches"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(spec: SynthesisSpec, models: Models, folder: Path, counts: Any) -> None:
    import torch

    torch.set_num_threads(1)
    _work.update(spec=spec, models=models, folder=folder, counts=counts)


def _make(k: int) -> dict[str, Any]:
    counts = _work["counts"]

    def advance(drawn: int, kept: int) -> None:
        with counts.get_lock():
            counts[0] += drawn
            counts[1] += kept

    return make_shard(_work["spec"], k, _work["models"], _work["folder"], advance)
