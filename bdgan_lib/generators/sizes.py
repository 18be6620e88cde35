"""Bounds on the sizes in a generator's config.json: a wrong one would build blocks without end."""

from collections.abc import Mapping

from bdgan_lib.core.types import BdganError


def check_sizes(sizes: Mapping[str, object], most: Mapping[str, int]) -> None:
    """Check that sizes are whole numbers from 1 to the most that any generator needs, in lists too.

    Args:
        sizes: name -> number, or list of up to 64 numbers.
        most: name -> the largest number; other names are not looked at.

    Raises:
        BdganError: one is not; the message names it.
    """
    for name, limit in most.items():
        value = sizes[name]
        numbers = value if isinstance(value, list | tuple) else [value]
        if len(numbers) > 64 or not all(type(n) is int and 1 <= n <= limit for n in numbers):
            raise BdganError(f"expected {name} from 1 to {limit:,}, got {value!r:.60}")
