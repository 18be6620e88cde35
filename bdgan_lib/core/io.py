"""Paths and files: addresses, files that appear whole or not at all, hashes."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from bdgan_lib.core.types import BdganError


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path; for an address such as "s3://bucket/folder" one that fsspec serves, with the same methods.

    BdganError where the package for that is missing.
    """
    if not isinstance(path, str) or "://" not in path:
        return path if hasattr(path, "fs") else Path(path)  # type: ignore[return-value]
    try:
        from upath import UPath
    except ImportError as error:
        raise BdganError(f"{path} is no local folder; pip install 'bdgan-lib[cloud]' to reach it") from error
    return cast(Path, UPath(path))


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to, and to read back, that appears under `path` whole or not at all.

    The bytes go to a temporary name in the same folder, are flushed to the disk, then renamed. After an error
    (no space left, Ctrl-C) the temporary file is gone and what stood at `path` before stands there still. An
    object store gets the whole file in one piece, from a temporary one here.
    """
    path = as_path(path)
    if hasattr(path, "fs"):
        with NamedTemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.flush()
            path.fs.put_file(file.name, path.path)  # type: ignore[attr-defined]
        return
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x+b") as file:  # not mkstemp: the file shall have the user's usual permissions
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to `path` whole or not at all (see `atomic_file`); OSError when the disk refuses."""
    with atomic_file(path) as file:
        file.write(data)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BinaryIO) -> str:
    """The same of an open file, from its beginning."""
    digest = sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Make a rename outlast a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_new_path(path: Path) -> Path:
    """A path to write to, its folder made; BdganError if something stands there."""
    if path.exists():
        raise BdganError(f"{path} exists and is not written over; give another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
