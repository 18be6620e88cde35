"""Paths, hashes, and files and folders that appear whole or not at all."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import BinaryIO, cast

from bdgan_lib.core.types import BdganError

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")  # names of unfinished files; only `atomic_file` makes them


def as_path(path: str | os.PathLike[str]) -> Path:
    """A local path, or for an address such as "s3://bucket/folder" an fsspec path with the same methods.

    Raises:
        BdganError: the package for addresses is missing.
    """
    if not isinstance(path, str) or "://" not in path:
        return path if hasattr(path, "fs") else Path(path)  # type: ignore[return-value]
    try:
        from upath import UPath
    except ImportError as error:
        raise BdganError(
            f"{path} is not a local folder; pip install 'bdgan-lib[cloud]' to reach it"
        ) from error
    return cast(Path, UPath(path))


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file, to write and read back, that appears under `path` whole or not at all.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and the file is renamed.
    After an error (disk full, Ctrl-C) it is removed, and an earlier file at `path` is unchanged. An object
    store receives the whole file at once, from a local temporary file.
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
        with temporary.open("x+b") as file:  # not mkstemp: the file needs the user's usual permissions
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to `path` whole or not at all (see `atomic_file`).

    Raises:
        OSError: the disk is full or refuses.
    """
    with atomic_file(path) as file:
        file.write(data)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BinaryIO) -> str:
    """The sha256 of an open file from its beginning, in hexadecimal."""
    digest = sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, on systems that let a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_new_path(path: Path) -> Path:
    """The path itself, with its parent folder created, if nothing exists there yet.

    Raises:
        BdganError: something exists at the path.
    """
    if path.exists():
        raise BdganError(f"{path} exists and is not written over; give another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `folder` at the end; after an error nothing is left of it.

    Raises:
        BdganError: something exists at the path.
    """
    with TemporaryDirectory(dir=require_new_path(folder).parent, prefix=".") as temporary:
        unfinished = Path(temporary) / folder.name
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(folder)
