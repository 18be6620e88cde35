"""Names of samples: safe as file names on every system."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from bdgan_lib.core.types import BdganError


def checked_id(id: str) -> str:
    """The id itself, if it is a safe file name on every system and in a plain tar.

    Raises:
        BdganError: it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,89}", id):
        raise BdganError(f"id {id[:100]!r} is not a safe file name; use 1 to 90 of A-Z a-z 0-9 _ -")
    return id


def is_device(name: str) -> bool:
    """Whether Windows keeps a file name, whatever its ending, for a device."""
    return bool(re.fullmatch(r"(?i)(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", name))


def new_id(id: str) -> str:
    """As `checked_id`, for a file that is not there yet; older ones of these names can still be read.

    Raises:
        BdganError: it is not safe, or Windows keeps the name for a device.
    """
    if is_device(checked_id(id)):
        raise BdganError(f"id {id!r} is the name of a device on Windows; choose another")
    return id


def class_of_folder(name: str) -> str:
    """The class whose pictures lie in a folder of this name, however its letters are composed."""
    return unicodedata.normalize("NFC", name).strip()


def sample_id(class_name: str, seed: int) -> str:
    """The id of a sample: the class name as a lower-case slug, then the seed in eight digits or more.

    A name without a letter a-z or digit gives `class_` and the first 8 digits of its sha256. Classes whose
    names differ in case or punctuation alone share their ids; see `class_sample_id`.

    >>> sample_id("blue jay", 3)
    'blue_jay_00000003'
    """
    return _sample_id(_slug(class_name), seed)


def class_sample_id(classes: Sequence[str], class_id: int, seed: int) -> str:
    """The `sample_id` of a class of a list; a class whose slug an earlier one has gets its number as well.

    >>> [class_sample_id(("Cardigan", "robin", "cardigan"), class_id, 3) for class_id in (0, 1, 2)]
    ['cardigan_00000003', 'robin_00000003', 'cardigan-2_00000003']
    """
    return _sample_id(_slugs(tuple(classes))[class_id], seed)


@lru_cache(8)
def _slugs(classes: tuple[str, ...]) -> tuple[str, ...]:
    slugs = [_slug(name) for name in classes]
    # no slug holds a hyphen, so a numbered one meets no other
    return tuple(s if s not in slugs[:k] else f"{s}-{k}" for k, s in enumerate(slugs))


def _slug(class_name: str) -> str:
    plain = unicodedata.normalize("NFKD", class_name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    if slug:
        return slug
    composed = unicodedata.normalize("NFC", class_name).encode("utf-8", "surrogatepass")
    return f"class_{sha256(composed).hexdigest()[:8]}"


def _sample_id(slug: str, seed: int) -> str:
    if seed < 0:
        raise BdganError(f"seed is {seed}; give 0 or more")
    return checked_id(f"{slug}_{seed:08d}")
