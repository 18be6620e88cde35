"""What a data set costs as it grows: a generator of a given speed, real shards, real files.

    python -m benchmarks.scale            10^3 to 10^6 images here, 10^5 on Ray; writes results/scale.json
    python -m benchmarks.scale --quick    10^3 and 10^4 images here; writes scale_quick.json

Images are 64 x 64, by two processes with one writer each. The stand-in costs nothing here, so that writing is
measured. On the cluster, of three nodes of this machine, it draws SPEED images per second in each task, and
one node is killed midway. `cost_growth`: milliseconds per image after the first shards, at the most images,
over those at 10,000 (quick: at 1,000); `memory_growth`: the driver's peak memory likewise.
"""

import json
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.shards import LOG, MANIFEST
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.ray_backend import synthesize_on_ray
from bdgan_lib.synthesis.spec import SynthesisSpec
from benchmarks.command import command
from benchmarks.memory import peak_bytes
from benchmarks.ready import Ready

COUNTS = {"full": (1_000, 10_000, 100_000, 1_000_000), "quick": (1_000, 10_000)}
ON_RAY, NODES, SPEED = 100_000, 3, 400.0
CLASSES, WORKERS = 1_000, 2


def world(images: int, speed: float = 0.0) -> tuple[SynthesisSpec, Models]:
    """The specification of so many images, and the models."""
    ready = Ready(64, CLASSES, speed=speed)
    models = Models(ready, ready)
    return SynthesisSpec.for_models(models, tuple(range(CLASSES)), images // CLASSES, Sampling()), models


def stamps(folder: Path) -> list[float]:
    """Seconds since the start when each shard was finished."""
    return [json.loads(line)["seconds"] for line in (folder / LOG).read_text("utf-8").splitlines()]


def written_here(images: int, results: Path) -> None:
    """Make a data set, and note how long its parts took and how much memory processes had."""
    spec, models = world(images)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        synthesize(spec, models, folder, WORKERS, progress=False)
        seconds = time.monotonic() - start
        shards = stamps(Path(folder))
        first = min(WORKERS, len(shards) - 1)
        row = {
            "seconds": seconds,
            "first_shard_seconds": shards[0],
            "ms_per_image": 1e3 * (shards[-1] - shards[first - 1]) / (images * (1 - first / len(shards))),
            "commit_seconds": seconds - shards[-1],
            "manifest_mb": (Path(folder) / MANIFEST).stat().st_size / 1e6,
            "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
            "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
    results.write_text(json.dumps(row), "utf-8")


def written_on_ray(images: int, results: Path) -> None:
    """The same on a cluster of several nodes, one of which is killed when a third of the shards are there."""
    from ray.cluster_utils import Cluster

    spec, models = world(images, SPEED)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES - 1)]
    with tempfile.TemporaryDirectory() as folder:

        def kill_one() -> None:
            while len(list(Path(folder).glob("shard_*.tar"))) < spec.num_shards / 3:
                time.sleep(0.2)
            cluster.remove_node(nodes[-1], allow_graceful=False)

        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        start = time.monotonic()
        try:
            data = synthesize_on_ray(spec, models, folder, NODES, address=cluster.address, progress=False)
            seconds, shards = time.monotonic() - start, stamps(Path(folder))
        finally:
            cluster.shutdown()
        row = {
            "seconds": seconds,
            "first_shard_seconds": shards[0],
            "commit_seconds": seconds - shards[-1],
            "images": len(data),
            "killed_nodes": int(not killer.is_alive()),
            "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
    results.write_text(json.dumps(row), "utf-8")


def in_a_process(work: Any, images: int) -> dict[str, float]:
    """What a piece of work notes, run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        peak_bytes(work, images, results)
        return {key: round(value, 3) for key, value in json.loads(results.read_text("utf-8")).items()}


def measure(size: str) -> dict[str, Any]:
    counts = COUNTS[size]
    rows = {count: in_a_process(written_here, count) for count in counts}
    base, most = (10_000 if size == "full" else 1_000), counts[-1]
    result: dict[str, Any] = {
        "images_per_second": round(most / rows[most]["seconds"], 1),
        "cost_growth": round(rows[most]["ms_per_image"] / rows[base]["ms_per_image"], 3),
        "memory_growth": round(rows[most]["driver_mb"] / rows[base]["driver_mb"], 3),
        "here": {str(count): row for count, row in rows.items()},
    }
    if size == "full":
        result["ray"] = in_a_process(written_on_ray, ON_RAY)
        result["ray"]["of_three_nodes_speed"] = round(ON_RAY / result["ray"]["seconds"] / SPEED / NODES, 3)
    return result


if __name__ == "__main__":
    command("scale", __doc__, measure, "a minute")
