"""Weights of the real generators: where they are, fetched whole or not at all, never run."""

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bdgan_lib.core.io import sha256_of, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import BdganError

RECORD = "weights.json"  # in the cache: file -> its sha256 and size when it was first fetched
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Weights:
    """One file of weights in the catalogue."""

    name: str
    file: str
    kind: str  # what it is a state dict of
    addresses: tuple[str, ...]  # tried in this order
    licence: str
    source: str  # a page about it
    size: int | None = None  # bytes
    sha256: str | None = None


class Refused(BdganError):
    """An answer that another try at this address would not change."""


def catalogue(path: Path) -> dict[str, Weights]:
    """Read `assets/weights.toml`: name -> its file.

    Raises:
        BdganError: it is missing or no such catalogue.
    """
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        entries = tomllib.loads(path.read_text("utf-8"))
        return {
            name: Weights(name=name, **{**entry, "addresses": tuple(entry["addresses"])})
            for name, entry in entries.items()
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BdganError(f"catalogue {path} is missing or damaged ({error}); restore it") from error


def cache_folder() -> Path:
    """Where fetched files go: $BDGAN_CACHE, else the system's place for caches."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("BDGAN_CACHE") or user_cache_path("bdgan_lib"))


def cached_file(weights: Weights, folder: Path) -> Path | None:
    """The file in the cache, None if it is not there.

    Raises:
        BdganError: it is there and damaged.
    """
    path = folder / weights.file
    if not path.is_file():
        return None
    expected, actual = _expected(weights, folder), sha256_of(path)
    if expected is not None and actual != expected:
        raise BdganError(
            f"{path} is damaged: expected sha256 {expected}, got {actual}; remove it and fetch it again"
        )
    return path


def fetch(
    weights: Weights,
    folder: Path,
    tries: int = 4,
    timeout: float = 30.0,
    offline: bool | None = None,
    progress: bool = True,
) -> Path:
    """The file from the cache, downloaded if it is not there: resumed where it was cut off, then verified.

    An address that refuses (403, 404, a web page, other bytes) is left for the next. An unknown sha256 is
    recorded now and enforced from then on. Processes that need the same file wait for one of them.

    Args:
        weights: the entry of the catalogue.
        folder: the cache.
        tries: of each address, with growing pauses.
        timeout: seconds without a byte.
        offline: download nothing; default: $BDGAN_OFFLINE.
        progress: show a bar.

    Raises:
        BdganError: no address served the file; the message says why for each.
        OSError: the disk is full.
    """
    import pooch
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{weights.file}.lock"):
        path = cached_file(weights, folder)
        if path is not None:
            return path
        if os.environ.get("BDGAN_OFFLINE", "") not in ("", "0") if offline is None else offline:
            raise BdganError(
                f"{weights.name} is not in {folder} and nothing is fetched offline; put {weights.file} there"
            )
        expected = _expected(weights, folder)
        reasons = []
        for address in weights.addresses:
            downloader = _Resuming(weights, folder / f"{weights.file}.part", tries, timeout, progress)
            try:
                pooch.retrieve(
                    address, expected and f"sha256:{expected}", weights.file, folder, downloader=downloader
                )
            except (BdganError, ValueError) as error:  # ValueError: pooch's, of another hash
                reasons.append(f"{address}: {error}")
                continue
            path = folder / weights.file
            _record(weights, folder, path)
            return path
        raise BdganError(f"{weights.name} could not be fetched: {'; '.join(reasons) or 'no address known'}")


def cached_safetensors(weights: Weights, folder: Path) -> Path | None:
    """The file's tensors as safetensors in the cache, None if they are not there.

    Raises:
        BdganError: they are damaged.
    """
    return cached_file(_as_safetensors(weights), folder)


def fetch_safetensors(weights: Weights, folder: Path, **options: Any) -> Path:
    """The file's tensors as safetensors beside it, downloaded and converted at first use, verified later.

    The pickled file is read by the restricted converter alone and may be removed afterwards. If it holds
    several state dicts, a line says which was taken, unless `progress` is False. Takes the options of
    `fetch`, raises what `fetch` and `convert_checkpoint` raise.
    """
    path = cached_safetensors(weights, folder)
    if path is None:
        from bdgan_lib.checkpoints.unpickle import convert_checkpoint

        out = _as_safetensors(weights)
        path = folder / out.file
        note = convert_checkpoint(fetch(weights, folder, **options), path)
        if note and options.get("progress", True):
            print(f"{weights.name}: {note}", flush=True)
        _record(out, folder, path)
    return path


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch: bytes from before an interruption stay in `part`, to go on from."""

    weights: Weights
    part: Path
    tries: int
    timeout: float
    progress: bool

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        import requests

        reason = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(min(30.0, 2.0 ** (attempt - 1)) * min(1.0, self.timeout))
            try:
                self._take(requests, url)
                self.part.replace(output_file)
                return
            except requests.RequestException as error:
                reason = f"{type(error).__name__} at {_size(self.part)} bytes"
            except Refused:
                self.part.unlink(missing_ok=True)
                raise
            except OSError:  # a full disk: give its space back
                self.part.unlink(missing_ok=True)
                raise
        raise BdganError(
            f"{reason} after {self.tries} tries; the part that arrived is kept: fetch again to go on"
        )

    def _take(self, requests: Any, url: str) -> None:
        """One try; RequestException if another may help, Refused if not."""
        from tqdm import tqdm

        have = _size(self.part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=(10.0, self.timeout)) as answer:
            if answer.status_code == 416:  # more than there is: start anew
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError("range refused")
            if answer.status_code >= 500 or answer.status_code in (408, 429):
                raise requests.ConnectionError(f"status {answer.status_code}")
            if answer.status_code >= 400:
                raise Refused(f"status {answer.status_code}")
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise Refused("expected a file, got a web page; it may ask for a login in a browser")
            resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            start = have if resumed else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else self.weights.size
            if self.weights.size is not None and total != self.weights.size:
                raise Refused(f"expected {self.weights.size} bytes, got an offer of {total}")
            with (
                self.part.open("ab" if resumed else "wb") as file,
                tqdm(desc=self.weights.name, total=total, initial=start, unit="B", unit_scale=True,
                     disable=not self.progress) as bar,
            ):  # fmt: skip
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        size = _size(self.part)
        if total is not None and size < total:
            raise requests.ConnectionError(f"{size} of {total} bytes")
        with self.part.open("rb") as file:
            if file.read(1) in (b"<", b""):
                raise Refused("expected a file, got a web page or nothing")


def _as_safetensors(weights: Weights) -> Weights:
    return replace(weights, file=f"{weights.name}.safetensors", addresses=(), size=None, sha256=None)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _expected(weights: Weights, folder: Path) -> str | None:
    return weights.sha256 or _recorded(folder).get(weights.file, {}).get("sha256")


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    path, hint = folder / RECORD, "remove it, and the weights that it vouched for, and fetch them again"
    records: dict[str, Any] = read_json(path, hint) if path.exists() else {}
    if not all(isinstance(record, dict) for record in records.values()):
        raise BdganError(f"{path}: expected a record for each file; {hint}")
    return records


def _record(weights: Weights, folder: Path, path: Path) -> None:
    from filelock import FileLock

    with FileLock(folder / f".{RECORD}.lock"):
        entry = {"sha256": sha256_of(path), "size": path.stat().st_size}
        records = {**_recorded(folder), weights.file: entry}
        write_atomic(folder / RECORD, (json.dumps(records, indent=1) + "\n").encode())
