"""Shards on a Ray cluster: the same specification, the same bytes, more machines."""

import logging
import os
from collections.abc import Iterator
from typing import Any

from bdgan_lib.core.io import as_path
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import Job
from bdgan_lib.synthesis.shard import make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec


def synthesize_on_ray(
    spec: SynthesisSpec,
    models: Models,
    folder: str | os.PathLike[str],
    workers: int = 0,
    gpus: float = 0.0,
    address: str | None = None,
    progress: bool = True,
) -> ShardedSet:
    """Make the data set as `synthesize` does, with tasks of a Ray cluster.

    The models are sent to each machine once. Shards of a lost worker or machine are made again by another.

    Args:
        spec: specification of the data set.
        models: the models of the specification.
        folder: one that all machines of the cluster reach.
        workers: shards under way at a time; 0: as many as the cluster has CPUs.
        gpus: share of a GPU per task, such as 0.5 where two fit on one; its models are on cuda.
        address: of the cluster, such as "auto"; None: what $RAY_ADDRESS says, or a cluster on this machine.
        progress: print the estimate, show images per second and the kept share.

    Raises:
        BdganError: ray is not installed, or as of `synthesize`.
    """
    try:
        import ray
    except ImportError as error:
        raise BdganError("ray is not installed; pip install 'bdgan-lib[ray]', or --engine local") from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
        job = Job(spec, models, as_path(folder), workers, progress)
        return job.complete(_make_shards(job, models, workers, gpus))
    finally:
        if started:
            ray.shutdown()


def _make_shards(job: Job, models: Models, workers: int, gpus: float) -> Iterator[Json]:
    """Yield the entries of the missing shards as tasks finish, with so many tasks under way."""
    import ray

    make: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(make_shard)
    sent, waiting, pending = ray.put(models), iter(job.missing), dict[Any, int]()
    path = str(job.folder.resolve())  # a machine of the cluster may start in another folder
    while True:
        while len(pending) < workers and (k := next(waiting, None)) is not None:
            pending[make.remote(job.spec, k, sent, path)] = k
        if not pending:
            return
        (done,), _ = ray.wait(list(pending))
        entry, k = ray.get(done), pending.pop(done)
        yield entry
        job.advance(len(job.spec.numbers(k)), entry["count"])
