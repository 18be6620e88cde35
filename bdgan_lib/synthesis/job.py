"""Synthesis: images and their labels into shards; the same specification makes the same bytes."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.io import as_path, sha256_of, write_atomic
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.precision import bf16_is_fast, one_thread
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT, write_card
from bdgan_lib.datasets.shards import (
    DROPPED,
    LOG,
    MANIFEST,
    Labelled,
    ShardedSet,
    read_manifest,
    write_manifest,
    write_shard,
)
from bdgan_lib.generators.base import Generator
from bdgan_lib.synthesis.filters import REASONS, Models, ScoredBatch, drop_reasons, score_batch
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec

Advance = Callable[[int, int], object]  # told after each batch how many were drawn and kept
T = TypeVar("T")


def make_shard(
    spec: SynthesisSpec,
    k: int,
    models: Models,
    folder: str | os.PathLike[str],
    advance: Advance = lambda drawn, kept: None,
) -> dict[str, Any]:
    """Write shard k of a data set, 0 <= k < spec.num_shards: {"name", "sha256", "count", "dropped" ...}.

    A function of spec and k alone: any worker, in any order, writes the same bytes. What filters drop is
    listed in `<shard>.dropped.jsonl`, with the reason; without filters there is no such file. Memory is that
    of a batch, of two on a GPU. BdganError for models that are not the specification's, for an unknown class,
    for masks of the wrong kind and for bfloat16 where that is slow.
    """
    if not 0 <= k < spec.num_shards:
        raise BdganError(f"shard {k} was asked for; this data set has 0..{spec.num_shards - 1}")
    check_models(spec, models)
    dropped: list[dict[str, Any]] = []
    path = as_path(folder) / shard_name(k)
    with one_thread():
        entry = write_shard(path, _kept(spec, k, models, dropped, advance), spec.jpeg)
    if spec.filters == Filters():
        return entry
    list_path = path.with_suffix(DROPPED)
    write_atomic(list_path, "".join(json.dumps(d, sort_keys=True) + "\n" for d in dropped).encode())
    why = Counter(d["dropped"] for d in dropped)
    counts = {reason: why[reason] for reason in REASONS if why[reason]}
    return {**entry, "dropped": counts, "dropped_sha256": sha256_of(list_path)}


def synthesize(
    spec: SynthesisSpec,
    models: Models,
    folder: str | os.PathLike[str],
    workers: int = 1,
    progress: bool = True,
) -> ShardedSet:
    """Make the whole data set in `folder`, or the rest of one that was interrupted.

    folder: on this machine, or on an object store such as "s3://bucket/folder" (see `located` in images).
    workers: processes beside this one, each with one thread; 1: this one alone. Their number changes no byte.
    progress: print the estimate, show images per second and the kept share.

    Each finished shard has a record beside it; a shard whose bytes still have the recorded sha256 is kept.
    The manifest is written last and is the one commit point. BdganError if the folder holds another data set;
    OSError (no space left) leaves the finished shards readable.
    """
    from bdgan_lib.synthesis.local_backend import shards_by_processes

    with Job(spec, models, as_path(folder), progress, max(1, workers)) as run:
        if workers > 1:
            made: Iterable[dict[str, Any]] = shards_by_processes(run, workers)
        else:
            made = (make_shard(spec, k, models, run.folder, run.advance) for k in run.missing)
        for entry in made:
            run.finish(entry)
    return finish_set(run)


def finish_set(run: "Job") -> ShardedSet:
    """The finished set, with data card and Croissant file."""
    if run.missing or not all((run.folder / name).exists() for name in (CARD, CROISSANT)):
        write_card(run.folder, progress=False)
    return ShardedSet(run.folder)


class Job:
    """A data set under way: which shards are missing, the bar, the log, and the commit at the end."""

    def __init__(
        self, spec: SynthesisSpec, models: Models, folder: Path, progress: bool, workers: int
    ) -> None:
        check_models(spec, models)
        self.spec, self.models, self.folder = spec, models, folder
        recorded = _recorded(spec, folder)  # before anything is written
        folder.mkdir(parents=True, exist_ok=True)
        if progress:
            print(_estimate(spec, models.generator, folder, workers), flush=True)
        self._about = {
            "spec": spec.to_json(),
            "spec_sha256": spec.hash(),
            "classes": list(models.generator.classes),
            "labels": list(models.head.labels),
            "image_size": models.generator.image_size,
        }
        self._done = {name: entry for name, entry in recorded.items() if _is_whole(folder, entry)}
        self.missing = [k for k in range(spec.num_shards) if shard_name(k) not in self._done]
        self._kept = self._drawn = 0
        before = spec.count - sum(len(spec.numbers(k)) for k in self.missing)
        self._bar = tqdm(
            total=spec.count, initial=before, unit="image", disable=not progress, mininterval=1.0
        )
        self._began = time.monotonic()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._bar.close()
        if kind is not None:
            return
        names = [shard_name(k) for k in range(self.spec.num_shards)]
        if self.missing or not (self.folder / MANIFEST).exists():
            why = sum((Counter(self._done[name].get("dropped", {})) for name in names), Counter())
            kept = sum(self._done[name]["count"] for name in names)
            about = {
                **self._about,
                "licence": self.spec.licence or "not stated",
                "counts": {"made": self.spec.count, "kept": kept, **dict(sorted(why.items()))},
            }
            write_manifest(self.folder / MANIFEST, [self._done[name] for name in names], about)
        # the manifest says now what their records said; what a killed writer left is nobody's
        for left in [*(record_path(self.folder, name) for name in names), *self.folder.glob(".*.tmp")]:
            left.unlink(missing_ok=True)

    def advance(self, drawn: int, kept: int) -> None:
        """Move the bar."""
        self._drawn, self._kept = self._drawn + drawn, self._kept + kept
        self._bar.update(drawn)
        if self._drawn:
            self._bar.set_postfix(kept=f"{self._kept / self._drawn:.0%}", refresh=False)

    def finish(self, entry: dict[str, Any]) -> None:
        """Record a shard that stands."""
        self._done[entry["name"]] = entry
        write_manifest(record_path(self.folder, entry["name"]), [entry], self._about)
        line = {
            "shard": entry["name"],
            "kept": entry["count"],
            "dropped": entry.get("dropped", {}),
            "seconds": round(time.monotonic() - self._began, 2),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if not hasattr(self.folder, "fs"):  # to what lies on an object store nothing can be added
            with (self.folder / LOG).open("a") as log:
                log.write(json.dumps(line) + "\n")


def check_models(spec: SynthesisSpec, models: Models) -> None:
    """BdganError unless these are the models of the specification, and know its classes."""
    asked = spec.filters.min_confidence is not None
    for what, came, wanted in (
        ("generator", models.generator.sha256, spec.generator_sha256),
        ("head", models.head.sha256, spec.head_sha256),
        (
            "class scorer",
            models.scorer.sha256 if models.scorer and asked else "",
            spec.scorer_sha256 if asked else "",
        ),
    ):
        if came != wanted:
            raise BdganError(
                f"the {what} has sha256 {came or 'none'}, the specification wants {wanted}; pass that one"
            )
    if spec.bf16 and not bf16_is_fast(spec.device):
        raise BdganError(f"this machine's {spec.device} does not compute in bfloat16; leave bf16 out")
    if max(spec.class_ids) >= len(models.generator.classes):
        raise BdganError(
            f"class id {max(spec.class_ids)} is unknown to {models.generator.name}; "
            f"it has 0..{len(models.generator.classes) - 1}"
        )


def _kept(
    spec: SynthesisSpec, k: int, models: Models, dropped: list[dict[str, Any]], advance: Advance
) -> Iterator[Labelled]:
    """The samples of shard k that the filters keep, with their provenance; the others go to `dropped`."""
    shared = {
        "sampling": spec.sampling.to_json(),
        "batch_size": spec.batch_size,
        "generator_sha256": spec.generator_sha256,
        "head_sha256": spec.head_sha256,
        "device": spec.device,
        "bf16": spec.bf16,
        "bdgan_lib": __version__,
    }
    batches = _batches(spec, k, models)
    # a GPU draws while this thread encodes; a core that does both is only held up by a second thread
    for numbers, found in batches if spec.device == "cpu" else prefetch(batches):
        why, kept = drop_reasons(found, spec.filters), 0
        for i, n in enumerate(numbers):
            if n not in spec.numbers(k):
                continue
            class_id, seed = spec.class_ids[n % len(spec.class_ids)], spec.first_seed + n
            class_name = models.generator.classes[class_id]
            told: dict[str, Any] = {
                "id": sample_id(class_name, seed),
                "class_id": class_id,
                "class_name": class_name,
                "seed": seed,
                "divergence": round(float(found.divergence[i]), 6),
            }
            if found.confidence is not None:
                told["confidence"] = round(float(found.confidence[i]), 6)
            if why[i]:
                dropped.append({**told, "dropped": why[i]})
            else:
                kept += 1
                image, mask = found.images[i], found.masks[i]
                yield LabelledSample(image, mask, class_id, seed, told["id"]), {**told, **shared}
        advance(sum(n in spec.numbers(k) for n in numbers), kept)


def _batches(spec: SynthesisSpec, k: int, models: Models) -> Iterator[tuple[range, ScoredBatch]]:
    own = spec.numbers(k)
    for first in range(own.start // spec.batch_size * spec.batch_size, own.stop, spec.batch_size):
        # whole batches, even where one reaches over an end of the shard: what is too much is left out
        numbers = range(first, first + spec.batch_size)
        class_ids = torch.tensor([spec.class_ids[n % len(spec.class_ids)] for n in numbers])
        seeds = torch.tensor([spec.first_seed + n for n in numbers])
        yield numbers, score_batch(models, class_ids, seeds, spec.sampling, spec.bf16)


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next one computed while this one is worked on."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def _recorded(spec: SynthesisSpec, folder: Path) -> dict[str, dict[str, Any]]:
    """Shards that earlier calls finished in this folder, by name; BdganError if it serves another purpose."""
    recorded = {}
    names = [shard_name(k) for k in range(spec.num_shards)]
    for path in [folder / MANIFEST, *(record_path(folder, name) for name in names)]:
        if path.exists():
            record = read_manifest(path)
            if record.get("spec_sha256") != spec.hash():
                raise BdganError(f"{path} belongs to a data set of other settings; choose another folder")
            recorded.update({shard["name"]: shard for shard in record["shards"]})
    strangers = {path.name for path in folder.glob("*.tar")} - set(names)
    if strangers:
        raise BdganError(f"{folder / min(strangers)} is no shard of this data set; choose another folder")
    return recorded


def _is_whole(folder: Path, entry: dict[str, Any]) -> bool:
    path = folder / entry["name"]
    files = {path: entry["sha256"]}
    if "dropped" in entry:
        files[path.with_suffix(DROPPED)] = entry["dropped_sha256"]
    return all(file.is_file() and sha256_of(file) == digest for file, digest in files.items())


def _estimate(spec: SynthesisSpec, generator: Generator, folder: Path, workers: int) -> str:
    """One line: what it will cost at most."""
    size = generator.image_size
    # as if PNG saved nothing; then headers and records of a sample, and tar's last block
    disk = spec.count * (4 * size * size + 6 * 1024) + spec.num_shards * 10 * 1024
    features = sum(channels * side * side for channels, side in generator.blocks.values())
    memory = 4 * spec.batch_size * (features + 3 * size * size) * workers  # float32
    return (
        f"{spec.count:,} images of {size} × {size} in {spec.num_shards} shards to {folder.name}: "
        f"at most {disk / 1e6:,.0f} MB on the disk, {memory / 1e6:,.0f} MB in memory for "
        f"{workers} {'batch' if workers == 1 else 'batches'} of {spec.batch_size} and their features"
    )


def shard_name(k: int) -> str:
    return f"shard_{k:05d}.tar"


def record_path(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".json")
