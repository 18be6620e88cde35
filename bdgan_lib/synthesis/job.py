"""Synthesis: images and their labels into shards; the same specification makes the same bytes."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bdgan_lib.core.io import as_path, sha256_of
from bdgan_lib.core.parallel import exit_at_sigterm
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.card import CARD, CROISSANT, complete_cards, contradictions
from bdgan_lib.datasets.shards import DROPPED, LOG, MANIFEST, ShardedSet, write_manifest
from bdgan_lib.generators.base import Generator
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.folder import (
    check_folder,
    finished_shards,
    only_writer,
    record_path,
    require_shared,
    shard_name,
)
from bdgan_lib.synthesis.local_backend import make_shards_in_processes
from bdgan_lib.synthesis.shard import check_models, make_shard
from bdgan_lib.synthesis.spec import SynthesisSpec


def synthesize(
    spec: SynthesisSpec,
    models: Models,
    folder: str | os.PathLike[str],
    workers: int = 1,
    progress: bool = True,
) -> ShardedSet:
    """Make the whole data set in `folder`, or the rest of one that was interrupted.

    Each finished shard has a record beside it; a shard whose bytes still have the recorded sha256 is kept.
    The manifest is written last and is the one commit point. A finished set is left as it is, and so is a
    data card or a Croissant file that was edited.

    Args:
        spec: specification of the data set.
        models: the models of the specification.
        folder: on this machine, or on an object store such as "s3://bucket/folder" (see `core.io.as_path`).
        workers: processes beside this one, each with one thread; 1: this one alone. Changes no byte.
        progress: print the estimate, show images per second and the kept share.

    Raises:
        BdganError: the folder holds something else, another process writes there, or these are not the
            models of the specification; or the set is finished, and a data card or a Croissant file there
            contradicts it.
        OSError: no space is left, for example; finished shards stay readable.
    """
    if workers > 1:
        require_shared(as_path(folder))
    with started_job(spec, models, as_path(folder), progress) as job:
        job.announce(max(1, workers))
        if workers > 1:
            shards = make_shards_in_processes(spec, models, job.folder, job.missing, workers, job.advance)
        else:
            shards = (make_shard(spec, k, models, job.folder, job.advance) for k in job.missing)
        with closing(shards):  # so that workers have ended before the folder is given free
            return job.complete(shards)


@contextmanager
def started_job(spec: SynthesisSpec, models: Models, folder: Path, progress: bool) -> Iterator["Job"]:
    """Check everything, then hold the folder's lock for a job.

    Raises:
        BdganError: as of `synthesize`; nothing was written.
    """
    check_models(spec, models)
    finished_shards(spec, folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with exit_at_sigterm(), only_writer(folder):
        yield Job(spec, models, folder, progress)


class Job:
    """A data set in the making: which shards are missing, the progress bar, the log, and the commit."""

    def __init__(self, spec: SynthesisSpec, models: Models, folder: Path, progress: bool) -> None:
        self.spec, self.folder = spec, folder
        self._generator, self._progress = models.generator, progress
        self._about = {
            "spec": spec.to_json(),
            "spec_sha256": spec.hash(),
            "classes": list(models.generator.classes),
            "labels": list(models.head.labels),
            "image_size": models.generator.image_size,
        }
        entries = finished_shards(spec, folder)
        self._done: dict[str, Any] = {
            name: entry for name, entry in entries.items() if _is_whole(folder, entry)
        }
        self.missing = [k for k in range(spec.num_shards) if shard_name(k) not in self._done]
        self._kept = self._drawn = 0
        before = spec.count - sum(len(spec.numbers(k)) for k in self.missing)
        self._bar = tqdm(
            total=spec.count, initial=before, unit="image", disable=not progress, mininterval=1.0
        )
        self._began = time.monotonic()

    def announce(self, workers: int) -> None:
        """Print what the data set takes at most, with so many batches computed at a time."""
        if self._progress:
            print(_estimate(self.spec, self._generator, self.folder, workers), flush=True)

    def advance(self, drawn: int, kept: int) -> None:
        """Move the progress bar by so many samples."""
        self._drawn, self._kept = self._drawn + drawn, self._kept + kept
        self._bar.update(drawn)
        if self._drawn:
            self._bar.set_postfix(kept=f"{self._kept / self._drawn:.0%}", refresh=False)

    def complete(self, entries: Iterable[Json]) -> ShardedSet:
        """Record each missing shard as it is finished, then commit: manifest, data card, Croissant file.

        Raises:
            BdganError: the data card or the Croissant file is not ours and contradicts the manifest.
        """
        with self._bar:
            for entry in entries:
                self._record(entry)
        names = [shard_name(k) for k in range(self.spec.num_shards)]
        replaced = sha256_of(self.folder / MANIFEST) if (self.folder / MANIFEST).exists() else ""
        if self.missing or not replaced:
            reasons = sum((Counter(self._done[name].get("dropped", {})) for name in names), Counter())
            kept = sum(self._done[name]["count"] for name in names)
            about = {
                **self._about,
                "licence": self.spec.licence or "not stated",
                "counts": {"made": self.spec.count, "kept": kept, **dict(sorted(reasons.items()))},
            }
            write_manifest(self.folder / MANIFEST, [self._done[name] for name in names], about)
        for path in (record_path(self.folder, name) for name in names):
            if path.exists():  # the manifest now holds its entry
                path.unlink()
        if self.missing or not all((self.folder / name).exists() for name in (CARD, CROISSANT)):
            notes = complete_cards(self.folder, replaced)
            if notes and self._progress:
                print(*notes, sep="\n", flush=True)
        data = ShardedSet(self.folder)
        if wrong := contradictions(self.folder, data.manifest):
            raise BdganError(f"the data set is finished, but {wrong[0]}")
        return data

    def _record(self, entry: dict[str, Any]) -> None:
        """Write the record of a finished shard, and a line of the log."""
        self._done[entry["name"]] = entry
        write_manifest(record_path(self.folder, entry["name"]), [entry], self._about)
        line = {
            "shard": entry["name"],
            "kept": entry["count"],
            "dropped": entry.get("dropped", {}),
            "seconds": round(time.monotonic() - self._began, 2),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if not hasattr(self.folder, "fs"):  # an object store cannot append to a file
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")


def _is_whole(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the files of a shard still have the sha256 of its entry."""
    path = folder / entry["name"]
    files = {path: entry["sha256"]}
    if "dropped" in entry:
        files[path.with_suffix(DROPPED)] = entry["dropped_sha256"]
    return all(file.is_file() and sha256_of(file) == digest for file, digest in files.items())


def _estimate(spec: SynthesisSpec, generator: Generator, folder: Path, workers: int) -> str:
    """One line with the disk space and memory that the data set takes at most."""
    size = generator.image_size
    # as if PNG saved nothing; then headers and records of a sample, and tar's last block
    disk = spec.count * (4 * size * size + 6 * 1024) + spec.num_shards * 10 * 1024
    features = sum(channels * side * side for channels, side in generator.blocks.values())
    memory = 4 * spec.batch_size * (features + 3 * size * size) * workers  # float32
    again = (
        f"\na batch of {spec.batch_size} is computed again for each shard of {spec.shard_size} that it "
        "reaches into; larger shards or smaller batches are faster"
    )
    return (
        f"{spec.count:,} images of {size} × {size} in {spec.num_shards} shards to {folder.name}: "
        f"at most {disk / 1e6:,.0f} MB on the disk, {memory / 1e6:,.0f} MB in memory for "
        f"{workers} {'batch' if workers == 1 else 'batches'} of {spec.batch_size} and their features"
        + again
        * (spec.batch_size > spec.shard_size)
    )
