"""A journal: JSON entries, one per line, each on disk before `append` returns."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from bdgan_lib.core.io import flush_folder
from bdgan_lib.core.types import BdganError

Entry = Mapping[str, Any]  # a JSON object, whose keys the journal's user knows
_FIRST = b'{"entry": '  # how every line begins


class Journal:
    """A file of lines `{"entry": ..., "n": ..., "crc32": ...}`; a last line that a crash cut off is dropped.

    A file that begins otherwise, or is a link, is refused and stays as it is.

    `n` counts the entries from 0: a line that stands twice is read once (`doubled` counts those), and a
    missing one is noticed. Older files have no `n`. An entry that the disk refuses waits, with all that come
    after it, until the next `append` or `flush` writes them; `waiting` counts them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise BdganError(f"{path} is no plain file, or a link; move it away, or use another folder")
        self.entries, self._end, self.doubled, newline = _read(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        flush_folder(path.parent)
        os.ftruncate(self._file, self._end)
        self._end += os.pwrite(self._file, newline, self._end)
        self._waiting: list[bytes] = []

    @property
    def waiting(self) -> int:
        """How many entries are not yet on disk."""
        return len(self._waiting)

    def append(self, entry: Entry) -> None:
        """Write an entry through to the disk.

        Raises:
            OSError: the disk refuses; the entry waits.
        """
        text, n = _text(entry), len(self.entries)
        self.entries.append(entry)
        self._waiting.append(b'{"entry": %s, "n": %d, "crc32": "%08x"}\n' % (text, n, crc32(text)))
        self.flush()

    def flush(self) -> None:
        """Write the entries that wait; errors as in `append`."""
        if self._waiting:
            data = b"".join(self._waiting)
            written = 0
            while written < len(data):  # from the last good end, over the remains of a failed attempt
                written += os.pwrite(self._file, data[written:], self._end + written)
            os.fsync(self._file)
            self._end += len(data)
            self._waiting.clear()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_entries(path: Path) -> list[Entry]:
    """The entries of a journal, which is not opened for writing; none if there is no such plain file.

    Raises:
        BdganError: a line is damaged, or the first is of no journal.
    """
    return [] if path.is_symlink() or not path.is_file() else _read(path)[0]


def _text(entry: Entry) -> bytes:
    return json.dumps(entry, sort_keys=True, allow_nan=False).encode()


def _read(path: Path) -> tuple[list[Entry], int, int, bytes]:
    """The entries, the byte where they end, how many lines stand twice, and the newline that they lack.

    Raises:
        BdganError: a line is damaged, or the first is of no journal.
    """
    entries: list[Entry] = []
    raw: list[bytes] = []  # the line of each entry
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    end, doubled, newline = 0, 0, b""
    for number, line in enumerate(lines, 1):
        entry, n = _entry(line)
        if entry is not None and n in (None, len(entries)):
            entries.append(entry)
            raw.append(line.rstrip())
        elif n is not None and line.rstrip() in raw[n : n + 1]:
            doubled += 1
        elif line.endswith(b"\n") or number < len(lines):  # a cut-off line is the last, without newline
            raise BdganError(
                f"{path} is damaged in line {number}; the masks beside it are as last saved: restore it "
                "from a copy, or move it away to continue from the masks"
            )
        elif number == 1 and not (_FIRST.startswith(line[: len(_FIRST)]) or not line.strip(b"\0")):
            raise BdganError(f"{path} is no journal of labels; move it away, or use another folder")
        else:
            break
        end += len(line)
        newline = b"" if line.endswith(b"\n") else b"\n"
    return entries, end, doubled, newline


def _entry(line: bytes) -> tuple[Entry | None, int | None]:
    """The entry of a line and its number, if it has one; None if the line is damaged."""
    try:
        record = json.loads(line)
        entry, n = record["entry"], record.get("n")
        known = set(record) <= {"entry", "n", "crc32"} and (n is None or (type(n) is int and n >= 0))
        whole = record["crc32"] == f"{crc32(_text(entry)):08x}"
        return (entry, n) if known and whole and isinstance(entry, dict) else (None, None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, None
