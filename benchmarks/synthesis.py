"""What labels, filters and files cost beside the generator alone, on the pocket profile.

    python -m benchmarks.synthesis            writes benchmarks/results/synthesis.json
    python -m benchmarks.synthesis --quick    within 50 s, without the run of 50,000; synthesis_quick.json

`labelled_over_unlabelled`: images per second of a data set (ensemble of 16, both filters, PNG shards) by one
worker with one writer, from the call to the finished set, divided by those of the generator alone, in turns
in one process with one thread of computation each; `_bf16`: labels and judge in bfloat16, the generator in
float32 as before; `_cpu`: in seconds of all CPUs.
`two_workers_speedup`: time of one worker / of two, their start included and, as `_running`, left out.
`writers_speedup`: images per second of two writers / of one, PNG of 256 x 256, in turns in one process, of
samples that are ready; at least 1.7 on two quiet cores. `one_writer_images_per_second`: of one.
`commit_seconds_per_million`: from the last shard to the finished set, per million images in shards of 500, of
1,000 classes. At most 10; goal 2.
`memory_growth`: peak memory at 50,000 images / at 1,000, each in a process of its own that loads the models.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.precision import bf16_is_fast, one_thread
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import HeadTraining, train_head
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.annotated import training_annotations
from bdgan_lib.synthesis.filters import Models, calibrate_filters
from bdgan_lib.synthesis.folder import FinishedShard, record_path, shard_name
from bdgan_lib.synthesis.job import LOG, started_job, synthesize
from bdgan_lib.synthesis.shard import make_shards
from bdgan_lib.synthesis.spec import SynthesisSpec
from bdgan_lib.synthesis.writers import Writers, queue_bytes
from benchmarks.command import command
from benchmarks.memory import peak_bytes
from benchmarks.ready import Ready

T = TypeVar("T")
SIZES = {  # images, rounds, images for two workers, memory and the commit, steps of the head's training
    "full": (2_100, 3, 21_000, 50_000, 1_000_000, HeadTraining.steps),
    "quick": (600, 1, 1_200, 0, 20_000, 30),
}


def world(steps: int) -> tuple[Models, SynthesisSpec]:
    """The pocket's models with sixteen heads, and a specification with both filters."""
    profile = load_profile("pocket")
    torch.manual_seed(0)
    head, _ = train_head(
        *training_annotations(profile), HeadTraining(steps=steps), Architecture(members=16), progress=None
    )
    models, classes = Models(profile.generator(), head, profile.scorer), tuple(range(len(profile.classes)))
    filters = calibrate_filters(models, classes, profile.sampling, samples=200)
    return models, SynthesisSpec.for_models(models, classes, 1, profile.sampling, filters)


def sized(spec: SynthesisSpec, images: int) -> SynthesisSpec:
    return replace(spec, images_per_class=-(-images // len(spec.class_ids)))


def labelled(models: Models, spec: SynthesisSpec, workers: int = 1, writers: int = 1) -> float:
    """Seconds of a data set without its start: as its log has them after each worker's first shard."""
    with tempfile.TemporaryDirectory() as folder:
        synthesize(spec, models, folder, workers, progress=False, writers=writers)
        log = (Path(folder) / LOG).read_text("utf-8")
        stamps = [json.loads(line)["seconds"] for line in log.splitlines()]
    before = workers * spec.shard_size
    return (stamps[-1] - stamps[workers - 1]) * spec.count / (spec.count - before)


def written(samples: list[LabelledSample], writers: int) -> float:
    """Seconds of eight shards of samples that are ready."""
    with tempfile.TemporaryDirectory() as folder, Writers(writers, queue_bytes(writers)) as pool:
        start = time.perf_counter()
        for k in range(8):
            shard = pool.new_shard(Path(folder) / f"{k}.tar", 0, lambda entry: entry)
            for sample in samples[k::8]:
                shard.add(sample, {"class_name": "ready"})
            shard.close()
        list(pool.results(wait=True))
        return time.perf_counter() - start


def of_writers(images: int, rounds: int) -> dict[str, float]:
    """What one writer does in a second, and how much more two of them do."""
    ready = Ready(256, 1)
    pixels = to_uint8(ready.images)
    samples = [
        LabelledSample(pixels[n % len(pixels)], ready.masks[n % len(pixels)], 0, n, f"ready_{n:08d}")
        for n in range(images)
    ]
    one, two = zip(*((written(samples, 1), written(samples, 2)) for _ in range(rounds)), strict=True)
    return {
        "writers_speedup": round(median(a / b for a, b in zip(one, two, strict=True)), 2),
        "one_writer_images_per_second": round(images / median(one), 1),
    }


def commit_seconds(images: int, written: int = 8) -> float:
    """Seconds from the last shard to the finished set; so many shards are written, the others copied."""
    models = Models(Ready(16, 1_000), Ready(16, 1_000))
    spec = SynthesisSpec.for_models(models, tuple(range(1_000)), images // 1_000, Sampling())
    with tempfile.TemporaryDirectory() as name, started_job(spec, models, Path(name), False) as job:
        shards = list(make_shards(spec, range(written), models, job.folder, writers=2))
        for k in range(written, spec.num_shards):
            entry, statistics = shards[k % written]
            source, copy = job.folder / str(entry["name"]), job.folder / shard_name(k)
            for path, other in ((source, copy), (record_path(source), record_path(copy))):
                write_atomic(other, path.read_bytes())
            shards.append(FinishedShard({**entry, "name": copy.name}, statistics))
        return timed(job.complete, shards)[0]


def unlabelled(models: Models, spec: SynthesisSpec) -> None:
    """As many images by the generator alone, without features."""
    with one_thread():
        for numbers in torch.arange(spec.count).split(spec.batch_size):
            ids = torch.tensor(spec.class_ids)[numbers % len(spec.class_ids)]
            sample = models.generator.sample(ids, spec.first_seed + numbers, spec.sampling, features=False)
            to_uint8(sample.images)


def timed(work: Callable[..., T], *arguments: object) -> tuple[float, float, T]:
    """Seconds on the clock, of all CPUs, and what came out."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    return time.perf_counter() - clock, time.process_time() - cpu, result


def write_many(spec: SynthesisSpec, head: Path) -> None:
    """One data set by models from files, for its memory."""
    profile = load_profile("pocket")
    labelled(Models(profile.generator(), load_head(head), profile.scorer), spec)


def measure(size: str) -> dict[str, float]:
    images, rounds, shared, most, committed, steps = SIZES[size]
    models, spec = world(steps)
    few = sized(spec, images)
    kinds = {"": few} | ({"_bf16": replace(few, bf16=True)} if bf16_is_fast("cpu") else {})
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind, one in kinds.items():
            alone, alone_cpu, _ = timed(unlabelled, models, one)
            whole, whole_cpu, _ = timed(labelled, models, one)
            for key, value in {
                f"labelled_over_unlabelled{kind}": alone / whole,
                f"labelled_over_unlabelled{kind}_cpu": alone_cpu / whole_cpu,
                f"labelled_images_per_second{kind}": one.count / whole,
            }.items():
                found.setdefault(key, []).append(value)
    many = sized(spec, shared)
    one, _, one_running = timed(labelled, models, many)
    two, _, two_running = timed(labelled, models, many, 2)
    result = {key: round(median(values), 3) for key, values in found.items()} | {
        "two_workers_speedup": round(one / two, 2),
        "two_workers_speedup_running": round(one_running / two_running, 2),
        **of_writers(images, 2 * rounds + 1),
        "commit_seconds_per_million": round(commit_seconds(committed) * 1e6 / committed, 2),
    }
    if most:
        with tempfile.TemporaryDirectory() as head:
            save_head(models.head, head)
            peaks = [peak_bytes(write_many, sized(spec, n), Path(head)) for n in (1_000, most)]
        result |= {"memory_growth": round(peaks[1] / peaks[0], 3), "peak_mb": round(peaks[1] / 1e6)}
    return result


if __name__ == "__main__":
    command("synthesis", __doc__, measure)
