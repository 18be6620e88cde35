"""Paths, hashes, and files and folders that appear whole or not at all."""

import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, TemporaryFile
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from bdgan_lib.core.types import BdganError

_ADDRESS = re.compile(r"(|[A-Za-z][A-Za-z0-9+.-]+)://?")  # `Path` makes one slash of two
OVERVIEW = "sheet"  # stem of the picture that `bdgan label` writes beside its masks
_JUNK = {  # in lower case
    ".ds_store", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini", ".ipynb_checkpoints", "__macosx",
    "@eadir",
}  # fmt: skip
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")  # names of unfinished files; only `atomic_file` makes them


def as_path(path: str | os.PathLike[str]) -> Path:
    """A local path, or for an address such as "s3://bucket/folder" an fsspec path with the same methods.

    Listings of a store are never taken from a cache: other processes write there as well.

    Raises:
        BdganError: the address is of an unknown kind, its package is missing, or it cannot be reached.
    """
    if hasattr(path, "fs"):
        return path  # type: ignore[return-value]
    if not (isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path)):
        return local_path(path)
    if (parts := urlsplit(path)).scheme.lower() in ("file", "local") and parts.netloc in ("", "localhost"):
        from urllib.request import url2pathname

        return Path(url2pathname(parts.path))  # with the renames that make files whole, and without links
    try:
        from upath import UPath

        address = UPath(path, use_listings_cache=False)
        with suppress(FileNotFoundError, PermissionError):  # a new folder; a store that hides what is missing
            address.stat()
    except ImportError as error:
        raise BdganError(
            f"{path} is not a local folder; pip install 'bdgan-lib[cloud]' to reach it ({error})"
        ) from error
    except Exception as error:  # every store has errors of its own
        raise BdganError(f"{path} cannot be reached ({error!r:.300}); check the address") from error
    return cast(Path, address)


def local_path(path: str | os.PathLike[str]) -> Path:
    """The path itself, if it is not an address.

    Raises:
        BdganError: it is one, such as "s3://bucket/folder".
    """
    if _ADDRESS.match(str(path)) or "://" in str(path):
        raise BdganError(f"expected a local path, got the address {path}; give a folder on this machine")
    return Path(path)


def check_output(path: Path, file: bool = False) -> None:
    """Check that a folder, or a file, can be written at a local path, which need not exist yet.

    Raises:
        BdganError: it is of the other kind, it or a folder above it is a link that leads nowhere, it is to
            lie in a file, or the system lets nothing be written there. A folder that exists is not tried: it
            may hold everything already.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise BdganError(
                f"{place} is a link to {place.readlink()}, which does not exist; "
                "remove the link, make what it leads to, or give another path"
            )
        if place.is_dir() if file and place == path else place.exists() and not place.is_dir():
            kinds = ("folder", "file") if place.is_dir() else ("file", "folder")
            raise BdganError(f"{place} is a {kinds[0]}; give a {kinds[1]}")
    if file or not path.exists():
        folder = next((place for place in path.absolute().parents if place.is_dir()), Path.cwd())
        try:
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BdganError(
                f"nothing can be written in {folder} ({error.strerror}), so not {path}; give another path"
            ) from error


def is_junk(name: str) -> bool:
    """Whether a system leaves files or folders of this name behind: `.DS_Store`, `._x`, checkpoints ..."""
    return name.startswith("._") or name.lower() in _JUNK


def list_folder(folder: Path, pattern: str = "*") -> list[Path]:
    """What `folder.glob(pattern)` finds, sorted, without junk and what lies in it (see `is_junk`)."""
    above = len(folder.parts)
    return sorted(path for path in folder.glob(pattern) if not any(map(is_junk, path.parts[above:])))


def list_pictures(folder: Path, pattern: str = "**/*") -> list[Path]:
    """The files that `list_folder` finds, without hidden ones and what lies in hidden folders."""
    above = len(folder.parts)
    return [
        path for path in list_folder(folder, pattern)
        if path.is_file() and not any(part.startswith(".") for part in path.parts[above:])
    ]  # fmt: skip


def same_place(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder, links followed, on systems that ignore case as well."""
    if path.exists() and other.exists() and path.samefile(other):
        return True
    return _folded(str(path.resolve())) == _folded(str(other.resolve()))


def require_outside(path: Path, *folders: Path) -> None:
    """Check that a path is none of these folders of the user's and lies in none of them.

    Raises:
        BdganError: it is or does.
    """
    for folder in folders:
        if path.resolve().is_relative_to(folder.resolve()):
            raise BdganError(f"{path} is or lies in {folder}, whose files it would join; give another path")


def require_unused(path: Path) -> None:
    """Check that nothing has a path's name in its folder, be it in other case.

    Raises:
        BdganError: something has; nothing of the user's is written over.
    """
    name, folder = _folded(path.name), path.parent
    entries = [path] if path.is_symlink() else folder.iterdir() if folder.is_dir() else []
    if taken := [each for each in entries if _folded(each.name) == name]:
        raise BdganError(f"{taken[0]} exists and is not written over; give another path")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


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
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk names none
            error.filename = str(path)
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
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_plain(path: Path, most: int = 1 << 30) -> bytes:
    """The bytes of a plain file.

    Raises:
        BdganError: it is something else, such as a pipe or a device, or has more than `most` bytes.
        FileNotFoundError: it is missing.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise BdganError(f"{path} is no plain file; move it elsewhere")
    if size > most:
        raise BdganError(f"{path}: expected at most {most:,} bytes, got {size:,}; move it elsewhere")
    return path.read_bytes()


def holds_text(path: Path, text: bytes) -> bool:
    """Whether a plain file holds a text in its first GiB, or nothing at all; it is read in blocks."""
    if not path.is_file():
        return False
    empty, before = True, b""
    with path.open("rb") as file:
        while (block := file.read(1 << 20)) and file.tell() <= 1 << 30:
            if text in before + block:
                return True
            empty, before = empty and not block.strip(b"\0"), block[-len(text) :]
    return empty and path.stat().st_size <= 1 << 30


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
        BdganError: something exists at the path, or nothing can be written there (see `check_output`).
    """
    if local_path(path).exists():
        raise BdganError(f"{path} exists and is not written over; give another folder")
    check_output(path)
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
