"""Checks on label files: safe names, bounded shapes, and errors that do not stop the pieces after them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.polygons import Ring
from bdgan_lib.core.types import BdganError, Json

_LONGEST = 2**22  # pixels along a polygon's edges; rasterisers allocate memory for each


def checked_label(label: object) -> str:
    """The label's name itself, if every format can hold it.

    Raises:
        BdganError: it is not 1 to 200 printable characters.
    """
    if not (isinstance(label, str) and label.isprintable() and 0 < len(label) <= 200):
        raise BdganError(f"expected a label of 1 to 200 printable characters, got {label!r:.100}")
    return label


def pairing_name(file: object, taken: set[str]) -> str:
    """The name that pairs an image with its labels: its file's stem, which is added to `taken`.

    A file of that path is never opened or written.

    Raises:
        BdganError: the path leads outside, or the name is unsafe (see `checked_id`) or taken.
    """
    if not isinstance(file, str):
        raise BdganError(f"expected a file name, got {file!r:.100}")
    *folders, last = file.split("/")
    if {"", ".", ".."} & set(folders):
        raise BdganError(f"expected a plain file name, got {file[:100]!r}, which leads outside")
    name = checked_id(last.rpartition(".")[0] or last)
    if name in taken:
        raise BdganError(f"a second image is named {name}; give each another name")
    taken.add(name)
    return name


def checked_points(points: object, height: int, width: int, least: int = 3) -> Ring:
    """Corners [N, 2] of (x, y) that a rasteriser can safely fill.

    Args:
        points: anything numpy takes for such an array.
        height: of the image, in pixels.
        width: of the image, in pixels.
        least: the fewest corners allowed.

    Raises:
        BdganError: too few corners, far outside the image, or an outline that is too long.
    """
    ring = np.asarray(points, float)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < least:
        raise BdganError(f"expected {least} or more points (x, y), got shape {list(ring.shape)}")
    side = max(height, width)
    if not np.isfinite(ring).all() or ring.min() < -side or ring.max() > 2 * side:
        raise BdganError("its points lie far outside the image")
    if np.abs(np.diff(ring, axis=0)).max(1).sum() > _LONGEST:
        raise BdganError(f"its outline is longer than {_LONGEST:,} pixels")
    return ring


def checked_json(value: object, levels: int = 8, longest: int = 2**24) -> Json:
    """A copy of a JSON object, as a reader of its text finds it.

    Args:
        value: anything; a mapping of plain values is right.
        levels: of lists and objects within each other, at most.
        longest: length of its text, in bytes.

    Raises:
        BdganError: it is no object, is too long or too deep, or holds what JSON in UTF-8 cannot (NaN, half a
            surrogate pair).
    """
    if not isinstance(value, Mapping):
        raise BdganError(f"expected an object, got {type(value).__name__}")
    try:
        text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False).encode()
        if len(text) > longest:
            raise BdganError(f"expected at most {longest:,} bytes, got {len(text):,}")
        copy: Json = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise BdganError(f"expected plain JSON: {error}") from error
    if _deeper(copy, levels):
        raise BdganError(f"expected at most {levels} levels of lists and objects, got more")
    return copy


def _deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_deeper(each, levels - 1) for each in inner))


@contextmanager
def collect_errors(what: str, losses: list[str]) -> Iterator[None]:
    """Add an error in one piece of a file to `losses`, as `what: why`, instead of raising it."""
    try:
        yield
    except BdganError as error:
        losses.append(f"{what}: {error}")
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        losses.append(f"{what}: does not fit the format ({type(error).__name__}: {str(error)[:100]!r})")
