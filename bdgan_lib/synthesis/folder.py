"""The folder of a data set in the making: what may stand in it, what is finished there, and who writes."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

from filelock import FileLock, Timeout

from bdgan_lib.core.io import TEMPORARY, check_output, holds_text, is_junk, list_folder
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.card import TEXTS
from bdgan_lib.datasets.shards import CALIBRATION, LOG, MANIFEST, read_manifest
from bdgan_lib.synthesis.spec import SynthesisSpec

LOCK = ".synthesis.lock"
FILE_THREADS = 8  # that read or remove files: a store takes its time for each
OF_FILTERS = ("filters", "judge_sha256")  # settings that are known when thresholds are
OF_MODELS = ("generator_sha256", "head_sha256", "device", *OF_FILTERS)  # known with the models
_OURS = (  # the names of our files, and a text that each of them holds unless it is empty
    (re.compile(r"manifest\.json|shard_\d{5,}\.json"), b'"spec_sha256"'),
    (re.compile(r"shard_\d{5,}\.tar"), b'"generator_sha256"'),
    (re.compile(r"shard_\d{5,}\.dropped\.jsonl"), b'"dropped"'),
    (re.compile(re.escape(CALIBRATION)), b'"asked_sha256"'),
    (re.compile(re.escape(LOG)), b'{"shard"'),
    *((re.compile(re.escape(name)), text) for name, text in TEXTS.items()),
    (re.compile(re.escape(LOCK)), b"process "),
    (TEMPORARY, b""),
)


def shard_name(k: int) -> str:
    """File name of shard k."""
    return f"shard_{k:05d}.tar"


def record_path(shard: Path) -> Path:
    """Where the entry and the sums of a finished shard stand until the set is finished."""
    return shard.with_suffix(".json")


class FinishedShard(NamedTuple):
    """What is known of a finished shard."""

    entry: Json  # of the manifest: {"name", "sha256", "count" ...}
    statistics: Json | None  # sums for the data card; None: they are to be counted


class Finished(NamedTuple):
    """What earlier calls finished in a folder."""

    entries: dict[str, Json]  # of the manifest, by the shard's name
    settings: list[tuple[Path, Json]]  # {"spec", "spec_sha256"} of the files that state them; each once


def is_ours(path: Path) -> bool:
    """Whether a file's name and content are those of a file that synthesis writes."""
    text = next((text for name, text in _OURS if name.fullmatch(path.name)), None)
    return text is not None and holds_text(path, text)


def check_folder(folder: Path) -> None:
    """Check that nothing in a folder is lost if a data set is written there. Writes nothing.

    A folder with a finished or unfinished data set may hold other files as well, under names that synthesis
    does not write.

    Raises:
        BdganError: the folder holds other files and no data set, a file of another origin has a name that
            synthesis writes, another process is writing there, or nothing can be written there.
    """
    if not hasattr(folder, "fs"):
        check_output(folder)
    paths = [path for path in folder.iterdir() if not is_junk(path.name)] if folder.exists() else []
    paths.sort(key=lambda path: path.name)
    names = {path.name for path in paths}
    ours = [path for path in paths if any(name.fullmatch(path.name) for name, _ in _OURS)]
    for path in ours:
        if path.name in (LOG, LOCK) and not hasattr(path, "fs") and path.is_symlink():
            raise BdganError(f"{path} is a link, and what it leads to would be changed; remove it")
        # a shard with a record is compared with its sha256; beside a manifest no card is replaced
        recorded = path.name.startswith("shard_") and f"{path.name.partition('.')[0]}.json" in names
        finished = MANIFEST in names and path.name != LOG
        if not recorded and not finished and not is_ours(path):
            raise BdganError(f"{path} is not of a data set and would be replaced; choose another folder")
    if not ours and paths:
        raise BdganError(f"{folder} holds {paths[0].name} and no data set; choose a new or an empty folder")
    if LOCK in names:
        with only_writer(folder):
            pass


def records(folder: Path) -> Iterator[tuple[Path, Json]]:
    """Yield the manifest and the records of finished shards that stand in a folder, with their paths.

    Raises:
        BdganError: one of them is damaged.
    """
    manifest = folder / MANIFEST
    paths = [manifest] * manifest.exists() + list_folder(folder, "shard_*.json")
    with ThreadPoolExecutor(FILE_THREADS) as pool:
        for i in range(0, len(paths), 8 * FILE_THREADS):  # so that few are in memory
            yield from zip(
                some := paths[i : i + 8 * FILE_THREADS], pool.map(read_manifest, some), strict=True
            )


def recorded_statistics(shard: Path) -> Json | None:
    """The sums in the record of a finished shard; None: they are to be counted.

    Raises:
        BdganError: the record is damaged.
    """
    path = record_path(shard)
    return cast(Json | None, read_manifest(path).get("statistics")) if path.exists() else None


def check_set(spec: SynthesisSpec, folder: Path, unknown: tuple[str, ...] = ()) -> Finished:
    """Check that a folder holds nothing but this data set, be it unfinished, or can take it. Writes nothing.

    Args:
        spec: the specification.
        folder: of the data set.
        unknown: settings that are not compared.

    Returns:
        What is finished there.

    Raises:
        BdganError: as of `check_settings` and `check_folder`, or there is a tar file of another set.
    """
    finished = Finished({}, [])
    for path, record in records(folder):
        finished.entries.update((shard["name"], shard) for shard in cast(list[Any], record["shards"]))
        settings = {key: record.get(key) for key in ("spec", "spec_sha256")}
        if not finished.settings or finished.settings[-1][1] != settings:
            finished.settings.append((path, settings))
    check_settings(spec, finished, unknown)
    names = {shard_name(k) for k in range(spec.num_shards)}
    if strangers := {path.name for path in list_folder(folder, "*.tar")} - names:
        raise BdganError(f"{folder / min(strangers)} is no shard of this data set; choose another folder")
    check_folder(folder)
    return finished


def check_settings(spec: SynthesisSpec, finished: Finished, unknown: tuple[str, ...] = ()) -> None:
    """Check that what is finished in a folder belongs to this specification.

    Args:
        spec: the specification.
        finished: in the folder.
        unknown: settings that are not compared.

    Raises:
        BdganError: another specification.
    """
    here = json.loads(json.dumps(spec.to_json()))
    for path, settings in finished.settings:
        there = cast(Json, settings["spec"] or {})
        different = [key for key in here if key not in unknown and there.get(key) != here[key]]
        if different or (not unknown and settings["spec_sha256"] != spec.hash()):
            which = ", ".join(f"{key} ({there.get(key)!r:.60}, not {here[key]!r:.60})" for key in different)
            raise BdganError(
                f"{path} belongs to a data set of other settings; choose another folder. Different: {which}"
            )


def require_shared(folder: Path) -> None:
    """Check that other processes reach a folder or an address.

    Raises:
        BdganError: it lies in the memory of this process.
    """
    protocols = getattr(getattr(folder, "fs", None), "protocol", ())
    if "memory" in ((protocols,) if isinstance(protocols, str) else protocols):
        raise BdganError(f"{folder} is in the memory of one process; give a folder, or --workers 1")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, and at the end remove the temporary files of this and of killed processes.

    The system releases the lock of a process that dies. Where no file can be locked (a disk that is
    read-only, an object store) there is none: two writers then make the same bytes twice.

    Raises:
        BdganError: another process holds the lock; the message says which.
    """
    path, holder = folder / LOCK, ""
    lock = None if hasattr(folder, "fs") else FileLock(path)
    if lock:
        with suppress(OSError):
            holder = path.read_text("utf-8")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BdganError(
                f"{folder} is being written by {holder or 'another process'}; wait for it, or choose another "
                "folder"
            ) from error
        except (OSError, NotImplementedError):
            lock = None
    try:
        if lock:
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            with suppress(OSError):  # it holds without its text
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}", "utf-8")
        yield
    finally:
        if lock:
            for old in folder.iterdir():
                if TEMPORARY.fullmatch(old.name):
                    old.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            lock.release()
