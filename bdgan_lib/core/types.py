"""Shared by every room: the error of a user's mistake, the label of an unlabelled pixel, JSON types."""

from typing import TypeAlias

UNLABELLED = 255  # the label of a pixel that nobody labelled; losses and metrics leave it out

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
Json: TypeAlias = dict[str, JsonValue]  # a JSON object


def printable(line: str) -> str:
    """A line with everything escaped that is no readable character and so could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class BdganError(ValueError):
    """A user's mistake or a damaged file. The message says what was wrong, what was expected, what to do."""
