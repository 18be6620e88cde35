"""A journal: entries of JSON, one a line, each on the disk before `append` returns."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from bdgan_lib.core.io import flush_folder
from bdgan_lib.core.types import BdganError

Entry = Mapping[str, Any]


class Journal:
    """A file of lines `{"entry": ..., "crc32": ...}`. What a crash cut off at its end was never acknowledged.

    An entry that the disk refuses waits, with all that come after it, until the next `append` or `flush`
    writes them; `waiting` counts them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        flush_folder(path.parent)
        self.entries, self._end = _read(path)
        os.ftruncate(self._file, self._end)
        self._waiting: list[bytes] = []

    @property
    def waiting(self) -> int:
        """How many entries are not on the disk."""
        return len(self._waiting)

    def append(self, entry: Entry) -> None:
        """Write an entry through to the disk; OSError if the disk refuses: the entry then waits."""
        text = _text(entry)
        self.entries.append(entry)
        self._waiting.append(b'{"entry": %s, "crc32": "%08x"}\n' % (text, crc32(text)))
        self.flush()

    def flush(self) -> None:
        """Write what waits; OSError as of `append`."""
        if self._waiting:
            data = b"".join(self._waiting)
            written = 0
            while written < len(data):  # from the last good end, over what a failed try has left
                written += os.pwrite(self._file, data[written:], self._end + written)
            os.fsync(self._file)
            self._end += len(data)
            self._waiting.clear()

    def close(self) -> None:
        os.close(self._file)


def _text(entry: Entry) -> bytes:
    return json.dumps(entry, sort_keys=True, allow_nan=False).encode()


def _read(path: Path) -> tuple[list[Entry], int]:
    """The whole entries and where they end; BdganError for a line that is damaged and not just cut off."""
    entries: list[Entry] = []
    lines = path.read_bytes().splitlines(keepends=True)
    end = 0
    for number, line in enumerate(lines, 1):
        entry = _entry(line)
        if entry is None:
            if line.endswith(b"\n") or number < len(lines):  # a line cut off is the last, and has no end
                raise BdganError(
                    f"{path} is damaged in line {number}; the masks beside it are as they were last saved: "
                    "restore it from a copy, or move it away to go on from the masks"
                )
            break
        entries.append(entry)
        end += len(line)
    return entries, end


def _entry(line: bytes) -> Entry | None:
    try:
        record = json.loads(line)
        entry: Entry = record["entry"]
        whole = line.endswith(b"\n") and record["crc32"] == f"{crc32(_text(entry)):08x}"
        return entry if whole and isinstance(entry, dict) else None
    except (ValueError, TypeError, KeyError):
        return None
