"""Synthesis: images and their labels into shards; the same specification makes the same bytes."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bdgan_lib.core.io import as_path, list_folder, sha256_of
from bdgan_lib.core.parallel import exit_at_sigterm
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.card import CARD, CROISSANT, ShardStatistics, complete_cards, contradictions
from bdgan_lib.datasets.shards import DROPPED, LOG, MANIFEST, ShardedSet, write_manifest
from bdgan_lib.datasets.tar_format import stored_samples
from bdgan_lib.generators.base import Generator
from bdgan_lib.synthesis.filters import Calibration, Models, calibrated_spec
from bdgan_lib.synthesis.folder import (
    FILE_THREADS,
    OF_FILTERS,
    FinishedShard,
    check_set,
    check_settings,
    only_writer,
    record_path,
    recorded_statistics,
    require_shared,
    shard_name,
)
from bdgan_lib.synthesis.local_backend import make_shards_in_processes
from bdgan_lib.synthesis.shard import about_set, check_models, make_shards
from bdgan_lib.synthesis.spec import SynthesisSpec
from bdgan_lib.synthesis.writers import queue_bytes, writer_count


def synthesize(
    spec: SynthesisSpec,
    models: Models,
    folder: str | os.PathLike[str],
    workers: int = 1,
    progress: bool = True,
    writers: int = 0,
    calibration: Calibration | None = None,
) -> ShardedSet:
    """Make the whole data set in `folder`, or the rest of one that was interrupted.

    Each finished shard has a record beside it; a shard whose bytes still have the recorded sha256 is kept.
    The manifest is written last and is the one commit point. A finished set is left as it is, and so is a
    data card or a Croissant file that was edited. No shard is read again at the end: records hold the sums
    that the data card needs.

    Args:
        spec: specification of the data set.
        models: the models of the specification.
        folder: on this machine, or on an object store such as "s3://bucket/folder" (see `core.io.as_path`).
        workers: processes beside this one, each with one thread; 1: this one alone. Changes no byte.
        progress: print the estimate, show images per second and the kept share.
        writers: threads of each process that encode and write beside the one that draws; 0: one per core, or
            one in each of several processes. Changes no byte.
        calibration: compute the thresholds of the filters, in place of the specification's, once the folder
            was checked; they are kept in `calibration.json`.

    Raises:
        BdganError: the folder holds something else, another process writes there, or these are not the
            models of the specification; or the set is finished, and a data card or a Croissant file there
            contradicts it.
        OSError: no space is left, for example; finished shards stay readable.
    """
    if workers > 1:
        require_shared(as_path(folder))
    writers = writer_count(writers, workers)
    with started_job(spec, models, as_path(folder), progress, calibration) as job:
        job.announce(max(1, workers), writers)
        make = make_shards
        if workers > 1:
            make = partial(make_shards_in_processes, workers=workers)
        # closed, so that workers and writers have ended before the folder is given free
        with closing(make(job.spec, job.missing, models, job.folder, job.advance, writers)) as shards:
            return job.complete(shards)


@contextmanager
def started_job(
    spec: SynthesisSpec,
    models: Models,
    folder: Path,
    progress: bool,
    calibration: Calibration | None = None,
) -> Iterator["Job"]:
    """Check everything, then hold the folder's lock, and calibrate the filters, for a job.

    Raises:
        BdganError: as of `synthesize`; nothing was written.
    """
    check_models(spec, models)
    finished = check_set(spec, folder, OF_FILTERS if calibration else ())
    folder.mkdir(parents=True, exist_ok=True)
    with exit_at_sigterm(), only_writer(folder):
        if calibration:
            spec = calibrated_spec(spec, models, folder, calibration)
            check_settings(spec, finished)
        yield Job(spec, models, folder, finished.entries, progress)


class Job:
    """A data set in the making: which shards are missing, the progress bar, the log, and the commit."""

    def __init__(
        self,
        spec: SynthesisSpec,
        models: Models,
        folder: Path,
        finished: dict[str, Json],
        progress: bool,
    ) -> None:
        self.spec, self.folder = spec, folder
        self._generator, self._progress = models.generator, progress
        self._about = about_set(spec, models)
        with ThreadPoolExecutor(FILE_THREADS) as pool:
            whole = pool.map(partial(_is_whole, folder), finished.values())
            self._entries = {
                name: finished[name] for name, is_whole in zip(finished, whole, strict=True) if is_whole
            }
        self.missing = [k for k in range(spec.num_shards) if shard_name(k) not in self._entries]
        self._statistics, self._added = ShardStatistics(), 0  # the sums over so many shards, in their order
        self._waiting = dict[str, Json | None]()  # sums of shards that were finished before their turn
        self._kept = self._drawn = 0
        before = spec.count - sum(len(spec.numbers(k)) for k in self.missing)
        self._bar = tqdm(total=spec.count, initial=before, unit="image", disable=not progress)
        self._began = time.monotonic()

    def announce(self, workers: int, writers: int) -> None:
        """Print what the data set takes at most, with so many processes and writers in each."""
        if self._progress:
            print(_estimate(self.spec, self._generator, self.folder, workers, writers), flush=True)

    def advance(self, drawn: int, kept: int) -> None:
        """Move the progress bar by so many samples."""
        self._drawn, self._kept = self._drawn + drawn, self._kept + kept
        self._bar.update(drawn)
        if self._drawn:
            self._bar.set_postfix(kept=f"{self._kept / self._drawn:.0%}", refresh=False)

    def complete(self, shards: Iterable[FinishedShard]) -> ShardedSet:
        """Note each missing shard as it is finished, then commit: manifest, data card, Croissant file.

        Raises:
            BdganError: the data card or the Croissant file is not ours and contradicts the manifest.
        """
        with self._bar:
            for shard in shards:
                self._note(shard)
        manifest, names = self.folder / MANIFEST, [shard_name(k) for k in range(self.spec.num_shards)]
        entries: list[dict[str, Any]] = [dict(self._entries[name]) for name in names]
        replaced = sha256_of(manifest) if manifest.exists() else ""
        if self.missing or not replaced:
            reasons = sum((Counter[str](entry.get("dropped", {})) for entry in entries), Counter[str]())
            kept = sum(entry["count"] for entry in entries)
            about = {
                **self._about,
                "licence": self.spec.licence or "not stated",
                "counts": {"made": self.spec.count, "kept": kept, **dict(sorted(reasons.items()))},
            }
            write_manifest(manifest, entries, about)
        data = ShardedSet(self.folder)
        if self.missing or not all((self.folder / name).exists() for name in (CARD, CROISSANT)):
            self._add_statistics()
            notes = complete_cards(data, self._statistics, replaced)
            if notes and self._progress:
                print(*notes, sep="\n", flush=True)
        records = {record_path(Path(name)).name for name in names}
        old = (path for path in list_folder(self.folder, "shard_*.json") if path.name in records)
        with ThreadPoolExecutor(FILE_THREADS) as pool:
            list(pool.map(lambda path: path.unlink(), old))  # what they say is in the manifest and the card
        if wrong := contradictions(self.folder, data.manifest):
            raise BdganError(f"the data set is finished, but {wrong[0]}")
        return data

    def _add_statistics(self) -> None:
        """Add the sums of the next shards, in their order, as far as these are finished.

        Those that have none in a record are read: an older version's, say.
        """
        while (name := shard_name(self._added)) in self._entries and self._added < self.spec.num_shards:
            shard = self.folder / name
            if sums := self._waiting.pop(name, None) or recorded_statistics(shard):
                self._statistics.merge(ShardStatistics.from_json(sums))
            else:
                self._statistics.merge(ShardStatistics.of_samples(stored_samples(shard), self._about))
            self._added += 1

    def _note(self, shard: FinishedShard) -> None:
        """Note a finished shard, with a line of the log."""
        entry, name = shard.entry, str(shard.entry["name"])
        self._entries[name], self._waiting[name] = entry, shard.statistics
        self._add_statistics()
        line = {
            "shard": name,
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


def _estimate(spec: SynthesisSpec, generator: Generator, folder: Path, workers: int, writers: int) -> str:
    """One line with the disk space and memory that the data set takes at most."""
    size = generator.image_size
    # as if PNG saved nothing; then headers and records of a sample, and tar's last block
    disk = spec.count * (4 * size * size + 6 * 1024) + spec.num_shards * 10 * 1024
    features = sum(channels * side * side for channels, side in generator.blocks.values())
    memory = 4 * spec.batch_size * (features + 3 * size * size) * workers  # float32
    waiting = min(queue_bytes(writers), 4 * size * size * spec.count) * workers
    again = (
        f"\na batch of {spec.batch_size} is computed again for each shard of {spec.shard_size} that it "
        "reaches into; larger shards or smaller batches are faster"
    )
    return (
        f"{spec.count:,} images of {size} × {size} in {spec.num_shards} shards to {folder.name}: "
        f"at most {disk / 1e6:,.0f} MB on the disk, {memory / 1e6:,.0f} MB in memory for "
        f"{workers} {'batch' if workers == 1 else 'batches'} of {spec.batch_size} and their features, and "
        f"{waiting / 1e6:,.0f} MB for samples that wait to be written"
        + again
        * (spec.batch_size > spec.shard_size)
    )
