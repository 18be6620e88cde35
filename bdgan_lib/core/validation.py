"""Checks on label files: safe names, bounded shapes, and errors that do not stop the pieces after them."""

import json
import ntpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath

import numpy as np

from bdgan_lib.core import io
from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.polygons import Ring
from bdgan_lib.core.types import BdganError, Json

_LONGEST = 2**22  # pixels along a polygon's edges; rasterisers allocate memory for each
# control characters, line and paragraph separators, reversals of direction, and what no text file can hold
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def checked_label(label: object) -> str:
    """The label's name itself, if every format can hold it.

    Raises:
        BdganError: it is not 1 to 200 characters, or one of them controls a terminal or breaks a line.
    """
    if not (isinstance(label, str) and not _HARMFUL.search(label) and 0 < len(label) <= 200):
        raise BdganError(f"expected a label of 1 to 200 printable characters, got {label!r:.100}")
    return label


def checked_class_name(name: str) -> str:
    """The name of a class itself, if it could be a label and can be seen.

    Raises:
        BdganError: it could not, or it is blank.
    """
    if not any(c.isprintable() and not c.isspace() for c in checked_label(name)):
        raise BdganError(f"expected a name with a character that can be seen, got {name!a:.100}")
    return name


NameOf = Callable[[str], str]  # a file, as labels give it -> the name that pairs its image with its labels


def stem_of(file: str) -> str:
    """A file's stem. The path may be of any system; a file of that path is never opened or written.

    Raises:
        BdganError: the path leads outside, or the name is unsafe (see `checked_id`).
    """
    path = PureWindowsPath(ntpath.normpath(file))  # it knows both kinds of separators
    if path.anchor or ".." in path.parts or "://" in file:
        raise BdganError(f"expected a plain file name, got {file[:100]!r}, which leads outside")
    return checked_id(path.stem)


def pairing_name(file: object, taken: set[str], name_of: NameOf = stem_of) -> str:
    """The name that pairs an image with its labels, which is added to `taken`.

    Raises:
        BdganError: there is none, or it is taken.
    """
    if not isinstance(file, str):
        raise BdganError(f"expected a file name, got {file!r:.100}")
    name = name_of(file)
    if name in taken:
        raise BdganError(f"a second image is named {name}; give each another name")
    taken.add(name)
    return name


def unpaired(file: object, name_of: NameOf = stem_of) -> bool:
    """Whether a file's name is none that pairs labels with an image (see `pairing_name`)."""
    with suppress(BdganError):
        return not pairing_name(file, set(), name_of)
    return True


def shared_names(files: Iterable[object], name_of: NameOf = stem_of) -> set[str]:
    """The names that several of these files have: which of them is the image's is unknown."""
    names = Counter[str]()
    for file in files:
        with suppress(BdganError):
            names[pairing_name(file, set(), name_of)] += 1
    return {name for name, count in names.items() if count > 1}


def is_junk(path: Path) -> bool:
    """Whether a file system or an editor, not a user, puts files of this name into folders."""
    return path.name.startswith(".") or io.is_junk(path.name)


def text_lines(path: Path) -> list[str]:
    """The lines of a text file as any editor saves it.

    A byte order mark and blank last lines are nothing. Lines end with a line feed, a carriage return or both;
    other separators stay in the line.

    Raises:
        BdganError: it is not text in UTF-8, or in UTF-16 with a byte order mark.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        lines = re.split("\r\n|\r|\n", data.decode(encoding))
    except UnicodeDecodeError as error:
        raise BdganError(f"{path} is not text in UTF-8 ({error!s:.100}); save it as such") from error
    while lines and not lines[-1]:
        lines.pop()
    return lines


def checked_points(points: object, height: int, width: int, least: int = 3, most: int | None = None) -> Ring:
    """Corners [N, 2] of (x, y) that a rasteriser can safely fill.

    Args:
        points: anything numpy takes for such an array.
        height: of the image, in pixels.
        width: of the image, in pixels.
        least: the fewest corners allowed.
        most: the most corners allowed; None = any number.

    Raises:
        BdganError: too few or too many corners, far outside the image, or an outline that is too long.
    """
    ring = np.asarray(points, float)
    if ring.ndim != 2 or ring.shape[1] != 2 or not least <= len(ring) <= (most or len(ring)):
        count = f"{least} or more" if most is None else f"{least}" if most == least else f"{least} to {most}"
        raise BdganError(f"expected {count} points (x, y), got shape {list(ring.shape)}")
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
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        losses.append(f"{what}: does not fit the format ({type(error).__name__}: {str(error)[:100]!r})")
