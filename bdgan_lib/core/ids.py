"""Names of samples: safe as file names on every system."""

import re
import unicodedata

from bdgan_lib.core.types import BdganError


def checked_id(id: str) -> str:
    """The id itself, if it is a safe file name on every system and in a plain tar.

    Raises:
        BdganError: it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,89}", id):
        raise BdganError(f"id {id[:100]!r} is not a safe file name; use 1 to 90 of A-Z a-z 0-9 _ -")
    return id


def sample_id(class_name: str, seed: int) -> str:
    """The id of a sample: the class name as a lower-case slug, then the seed in eight digits or more.

    >>> sample_id("blue jay", 3)
    'blue_jay_00000003'
    """
    plain = unicodedata.normalize("NFKD", class_name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    if not slug:
        raise BdganError(f"class name {class_name!r} has no letter a-z or digit; give it one for file names")
    if seed < 0:
        raise BdganError(f"seed is {seed}; give 0 or more")
    return checked_id(f"{slug}_{seed:08d}")
