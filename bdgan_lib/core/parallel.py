"""The process pool: jobs side by side in fresh processes of one thread each."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.core.types import BdganError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_in_processes(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    setup: Callable[..., object] | None = None,
    arguments: tuple[object, ...] = (),
    poll: Callable[[], object] | None = None,
    torch_threads: bool = True,
) -> Iterator[tuple[int, Result]]:
    """Run a function on every job and yield (index of the job, its result) in the order they finish.

    Args:
        function: defined at the top of a module, so that a new process can import it.
        jobs: its arguments, one each; jobs and results must be picklable.
        workers: the most processes; each computes with one thread, so results do not depend on their number.
        setup: called in each process before its first job.
        arguments: of `setup`.
        poll: called about twice a second while jobs run, for a progress bar.
        torch_threads: limit torch's threads; False for jobs without torch, which then is not imported.

    Raises:
        BdganError: a process died. An error in a job is raised here too; jobs not yet begun are dropped.
    """
    # not multiprocessing.Pool: where the caller's script cannot be imported, it starts workers for ever
    context = multiprocessing.get_context("spawn")
    begin = (_begin, (torch_threads, setup, arguments))
    with ProcessPoolExecutor(max(1, min(workers, len(jobs))), context, *begin) as pool:
        pending = {pool.submit(function, job): i for i, job in enumerate(jobs)}
        try:
            while pending:
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                if poll:
                    poll()
                for future in done:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise BdganError(
                "a worker process died, perhaps because memory ran out; use fewer workers or smaller batches "
                "and run the same command again, which resumes from here"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(torch_threads: bool, setup: Callable[..., object] | None, arguments: tuple[object, ...]) -> None:
    keep_freed_memory()
    if torch_threads:
        import torch

        torch.set_num_threads(1)
    if setup:
        setup(*arguments)
