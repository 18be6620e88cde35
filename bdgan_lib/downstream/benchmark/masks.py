"""Reads folders of label PNGs from other people: checks every file and reports all errors at once."""

import io
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import MOST_PIXELS, decode_labels, open_picture
from bdgan_lib.core.io import is_junk
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.tasks import Task

_SHOWN = 3  # of each kind of finding
_MOST_BYTES = 2 * MOST_PIXELS  # of a file: 16-bit pixels, not compressed at all
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


class Findings:
    """The errors in a folder, by kind."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """Add a finding; the file name may be hostile, so it is quoted and cut."""
        self._names.setdefault(kind, []).append(f"{name!r:.80}" + (f" ({detail})" if detail else ""))

    def refuse(self, folder: Path, expected: str) -> None:
        """Raise an error if there are findings.

        Raises:
            BdganError: the number of findings of each kind and the first few names.
        """
        if self._names:
            kinds = (
                f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
                for kind, names in self._names.items()
            )
            raise BdganError(f"{folder}: {'; '.join(kinds)}. Expected {expected}")


def expected_files(task: Task) -> str:
    """A description of a folder of the task's labels, for messages."""
    last, skipped = len(task.labels) - 1, ", not 255" if len(task.labels) > UNLABELLED else ""
    return f"one <image id>.png per image: {_bits(task)}-bit grey, label ids 0 to {last}{skipped}"


def listed(folder: Path, findings: Findings) -> tuple[dict[str, Path], set[str]]:
    """The regular PNG files of a folder by image id, and the ids of all entries.

    Nothing is opened or followed: links, folders, pipes and names that are not an id become findings.

    Raises:
        BdganError: the folder does not exist.
    """
    if not folder.is_dir():
        raise BdganError(f"{folder} is not a folder; give one of <image id>.png")
    files, seen = {}, set()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_junk(entry.name):
                continue
            id, _, suffix = entry.name.rpartition(".")
            seen.add(id)
            if entry.is_symlink():
                findings.add("linked", entry.name)
            elif not entry.is_file(follow_symlinks=False):
                findings.add("not a file", entry.name)
            elif suffix != "png" or not _is_id(id):
                findings.add("not named <image id>.png", entry.name)
            else:
                files[id] = Path(entry.path)
    return files, seen


def read_mask(
    path: Path, task: Task, findings: Findings, size: tuple[int, int] | None = None, truth: bool = False
) -> NDArray[np.unsignedinteger] | None:
    """Label ids [H, W] of one file; None, and a finding, if it is not a mask of the task.

    Args:
        path: the file.
        task: whose labels are allowed.
        findings: where an error is added.
        size: the (height, width) it must have; None for any.
        truth: whether 255, unlabelled, is allowed.
    """
    try:
        return _mask(path, task, size, truth)
    except _Refused as error:
        findings.add(error.kind, path.name, error.detail)
        return None


class _Refused(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail


def _mask(path: Path, task: Task, size: tuple[int, int] | None, truth: bool) -> NDArray[np.unsignedinteger]:
    try:
        if (length := path.stat().st_size) > _MOST_BYTES:
            raise _Refused("too large", f"{length:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise _Refused("not readable", error.strerror or "") from error
    # the header is checked before any pixel is decompressed
    if len(data) < 26 or data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise _Refused("damaged", "no PNG")
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    if (bits, colour) != (_bits(task), 0):
        kind = _COLOURS.get(colour, "unknown colours")
        raise _Refused(f"not {_bits(task)}-bit grey", f"{bits}-bit {kind}")
    if size and (height, width) != size:
        raise _Refused("of another size", f"expected {size[1]} x {size[0]} pixels, got {width} x {height}")
    if width * height > MOST_PIXELS:
        raise _Refused("too large", f"{width} x {height} pixels")
    try:
        with open_picture(io.BytesIO(data), ("PNG",)) as png:
            png.verify()  # the checksums, which decoding does not check
        mask = decode_labels(data, 2 ** _bits(task) - 1)
    except Exception as error:  # on damaged bytes Pillow raises many types, not only its own
        raise _Refused("damaged", f"{str(error)!r:.100}") from error
    strange = (mask >= len(task.labels)) | (mask == UNLABELLED)
    if truth:
        strange &= mask != UNLABELLED
    if strange.any():
        raise _Refused("with a value that is no label", f"{mask[strange][0]}")
    return mask


def _bits(task: Task) -> int:
    return 8 if len(task.labels) <= 256 else 16


def _is_id(name: str) -> bool:
    try:
        return bool(checked_id(name))
    except BdganError:
        return False
