"""Shards on a Ray cluster: the same specification, the same bytes, more hands."""

import logging
import os
from typing import Any

from bdgan_lib.core.io import as_path
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import Job, finish_set, make_shard
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
    """As `synthesize`, with tasks of a Ray cluster; `folder` is one that all its machines reach.

    Args:
        workers: shards under way at a time; 0: as many as the cluster has CPUs.
        gpus: share of a GPU that each one takes, such as 0.5 where two fit on one; its models are on cuda.
        address: of the cluster, such as "auto"; None: what $RAY_ADDRESS says, or a cluster on this machine.

    The models are sent to each machine once. Shards of a worker or a machine that is lost are made again by
    another. BdganError without ray, and for one that fails for another reason than being lost.
    """
    try:
        import ray
    except ImportError as error:
        raise BdganError("ray is not installed; pip install 'bdgan-lib[ray]', or --engine local") from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        hands = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        make: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_make)
        with Job(spec, models, as_path(folder), progress, hands) as run:
            sent, waiting, pending = ray.put(models), iter(run.missing), dict[Any, int]()
            path = str(run.folder.resolve())  # a machine of the cluster may start elsewhere
            while True:
                while len(pending) < hands and (k := next(waiting, None)) is not None:
                    pending[make.remote(spec, k, sent, path)] = k
                if not pending:
                    break
                (done,), _ = ray.wait(list(pending))
                entry, k = ray.get(done), pending.pop(done)
                run.finish(entry)
                run.advance(len(spec.numbers(k)), entry["count"])
    finally:
        if started:
            ray.shutdown()
    return finish_set(run)


def _make(spec: SynthesisSpec, k: int, models: Models, folder: str) -> dict[str, Any]:
    return make_shard(spec, k, models, folder)
