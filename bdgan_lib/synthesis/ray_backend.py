"""Shards on a Ray cluster: the same specification, the same bytes, more machines."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from bdgan_lib.core.io import as_path
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.synthesis.filters import Calibration, Models
from bdgan_lib.synthesis.folder import FinishedShard, require_shared
from bdgan_lib.synthesis.job import Job, started_job
from bdgan_lib.synthesis.shard import make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec
from bdgan_lib.synthesis.writers import writer_count

LIMIT, STEP = 120.0, 10.0  # seconds that Ray has to start or to answer, and between two lines about it
TRIES = 3  # of a cluster on this machine that is not up in the time Ray gives it
QUIET = 60  # seconds without a finished shard, after which a line says what the cluster has
_OTHERWISE = "start the cluster first, unset RAY_ADDRESS to use this machine alone, or --engine local"


def synthesize_on_ray(
    spec: SynthesisSpec,
    models: Models,
    folder: str | os.PathLike[str],
    workers: int = 0,
    gpus: float = 0.0,
    address: str | None = None,
    progress: bool = True,
    writers: int = 1,
    calibration: Calibration | None = None,
) -> ShardedSet:
    """Make the data set as `synthesize` does, with tasks of a Ray cluster.

    The models are sent to each machine once. Shards of a lost worker or machine are made again by another.

    Args:
        spec: specification of the data set.
        models: the models of the specification.
        folder: one that all machines of the cluster reach.
        workers: shards under way at a time; 0: as many as the cluster has CPUs.
        gpus: share of a GPU per task, such as 0.5 where two fit on one; its models are on cuda.
        address: of the cluster, such as "auto"; None: what $RAY_ADDRESS says, or a new cluster here.
        progress: print the estimate, show images per second and the kept share.
        writers: threads of each task that encode and write beside the one that draws; 0: 1.
        calibration: as of `synthesize`.

    Raises:
        BdganError: ray is not installed or gives no answer, or as of `synthesize`.
    """
    try:
        import ray
    except ImportError as error:
        raise BdganError("ray is not installed; pip install 'bdgan-lib[ray]', or --engine local") from error
    require_shared(as_path(folder))
    writers = writer_count(writers or 1)
    with started_job(spec, models, as_path(folder), progress, calibration) as job, ExitStack() as stack:
        if not job.missing:
            return job.complete([])
        if not ray.is_initialized():
            stack.enter_context(_connection(address_of(address), progress))
        workers = workers or max(1, int(_resources().get("CPU", 1)))
        job.announce(workers, writers)
        return job.complete(_make_shards(job, models, workers, gpus, progress, writers))


def address_of(address: str | None) -> str:
    """The address, or what $RAY_ADDRESS says, or "local": a new cluster on this machine.

    For None, Ray itself would look for a cluster in a file that dead ones leave behind.
    """
    return address or os.environ.get("RAY_ADDRESS") or "local"


@contextmanager
def _connection(address: str, progress: bool) -> Iterator[None]:
    """Connect to a cluster, or start one; shut down afterwards what was started.

    Raises:
        BdganError: it fails, or takes longer than LIMIT seconds.
    """
    import ray

    outcome: SimpleQueue[BaseException | None] = SimpleQueue()
    done = threading.Event()

    def connect() -> None:
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            return outcome.put(error)
        outcome.put(None)
        done.wait()  # Linux ends Ray's processes with the thread that started them
        ray.shutdown()

    def begin() -> threading.Thread:
        """A new try; ray.init itself may wait for 14 minutes, and ends what it leaves with its thread."""
        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        return thread

    thread = None
    try:
        thread = _wait(outcome, address, progress, begin)
        yield
    finally:
        done.set()  # a connection that comes too late ends itself
        if thread:
            thread.join()


def _wait(
    outcome: SimpleQueue[BaseException | None],
    address: str,
    progress: bool,
    begin: Callable[[], threading.Thread],
) -> threading.Thread:
    """Begin to connect and return the thread that did; raises as `_connection` does."""
    thread, tries = begin(), 1
    for i in range(1, round(LIMIT / STEP) + 1):
        try:
            error = outcome.get(timeout=STEP)
        except Empty:
            if progress:
                print(f"Ray ({address}): no answer for {i * STEP:g} s, at most {LIMIT:g} s", flush=True)
            continue
        if error is None:
            return thread
        if tries == TRIES or address != "local" or "timed out" not in str(error):
            raise BdganError(f"Ray ({address}) does not start: {error}; {_OTHERWISE}") from error
        thread, tries = begin(), tries + 1  # Ray gives a node 30 s, which is too little on a busy machine
    raise BdganError(f"Ray ({address}) gave no answer in {LIMIT:g} s; {_OTHERWISE}")


def _resources() -> dict[str, float]:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def _make_shards(
    job: Job, models: Models, workers: int, gpus: float, progress: bool, writers: int
) -> Iterator[FinishedShard]:
    """Yield the missing shards as tasks finish them, with so many tasks under way."""
    import ray

    make: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(make_shard)
    sent, waiting, pending = ray.put(models), iter(job.missing), dict[Any, int]()
    path = str(job.folder.resolve())  # a machine of the cluster may start in another folder
    while True:
        while len(pending) < workers and (k := next(waiting, None)) is not None:
            pending[make.remote(job.spec, k, sent, path, writers=writers)] = k
        if not pending:
            return
        finished, _ = ray.wait(list(pending), timeout=QUIET)
        if not finished and progress:
            has = ", ".join(f"{_resources().get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
            print(f"Ray: {len(pending)} shards under way, 1 CPU and {gpus:g} GPU each; the cluster has {has}")
        for task in finished:
            finished_shard, k = ray.get(task), pending.pop(task)
            yield finished_shard
            job.advance(len(job.spec.numbers(k)), finished_shard.entry["count"])
