"""What a label file may not do: lead outside, exhaust the memory, or lose the rest by one bad piece."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.polygons import Ring
from bdgan_lib.core.types import BdganError

_LONGEST = 2**22  # pixels round a polygon; rasterisers take memory for each


def checked_label(label: object) -> str:
    """The name of a label as any file can hold it; BdganError for control characters or over 200 of any."""
    if not (isinstance(label, str) and label.isprintable() and 0 < len(label) <= 200):
        raise BdganError(f"label {label!r:.100} came; wanted 1 to 200 printable characters")
    return label


def pairing_name(file: object, taken: set[str]) -> str:
    """The name that an image's file pairs by, its stem; a file of that path is never opened or written.

    BdganError for a path that leads outside, an unsafe name (see `checked_id`) or one that is taken.
    """
    if not isinstance(file, str):
        raise BdganError(f"file name {file!r:.100} came; wanted a text")
    *folders, last = file.split("/")
    if {"", ".", ".."} & set(folders):
        raise BdganError(f"file name {file[:100]!r} leads outside; wanted a plain one")
    name = checked_id(last.rpartition(".")[0] or last)
    if name in taken:
        raise BdganError(f"a second image is named {name}; give each another name")
    taken.add(name)
    return name


def checked_points(points: object, height: int, width: int, least: int = 3) -> Ring:
    """Corners [N, 2] that a rasteriser can be trusted with; BdganError for too few, far off or endless."""
    ring = np.asarray(points, float)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < least:
        raise BdganError(f"points came as {list(ring.shape)}; wanted {least} or more of (x, y)")
    side = max(height, width)
    if not np.isfinite(ring).all() or ring.min() < -side or ring.max() > 2 * side:
        raise BdganError("its points lie far outside the image")
    if np.abs(np.diff(ring, axis=0)).max(1).sum() > _LONGEST:
        raise BdganError(f"it goes on for more than {_LONGEST:,} pixels")
    return ring


def load_json(path: Path) -> dict[str, Any]:
    """A file's JSON object; BdganError for anything else."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BdganError(f"{path} is missing; is this the folder, and the format?") from error
    except (ValueError, RecursionError) as error:
        raise BdganError(f"{path} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise BdganError(f"{path} holds {type(record).__name__}; wanted an object")
    return record


@contextmanager
def collect_errors(what: str, losses: list[str]) -> Iterator[None]:
    """Let one bad piece of a file not stop the others: its refusal is listed as `what: why`."""
    try:
        yield
    except BdganError as error:
        losses.append(f"{what}: {error}")
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        losses.append(f"{what}: does not fit the format ({type(error).__name__}: {str(error)[:100]!r})")
