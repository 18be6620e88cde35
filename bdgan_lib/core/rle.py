"""Masks as run lengths in COCO's form: column by column, background first, packed into text."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask [H, W], column by column; the first run is background and may be 0."""
    return _runs_by_value(np.ascontiguousarray(mask, bool).view(np.uint8)).get(1, [mask.size])


def _runs_by_value(values: NDArray[np.uint8]) -> dict[int, list[int]]:
    """The run lengths of the mask `values == n` for every n above 0 in values [H, W], in one pass."""
    x, _, width, _ = cv2.boundingRect(values) if values.size else (0, 0, 0, 0)
    columns = cv2.transpose(values[:, x : x + width]).ravel() if width else values[:0].ravel()
    starts = np.concatenate([[0], np.flatnonzero(columns[1:] != columns[:-1]) + 1])[: columns.size]
    here, bounds = columns[starts], np.append(starts, columns.size) + x * len(values)
    result: dict[int, list[int]] = {}
    for n in np.unique(here[here > 0]).tolist():
        turns = bounds[np.flatnonzero(np.diff(here == n, prepend=False, append=False))]
        lengths: list[int] = np.diff(turns, prepend=0, append=values.size).tolist()
        result[n] = lengths if lengths[-1] else lengths[:-1]
    return result


def from_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [height, width] of its run lengths, column by column.

    Raises:
        BdganError: they are not whole numbers that fill the mask exactly.
    """
    whole = all(type(n) is int and 0 <= n <= height * width for n in counts)
    if not whole or sum(counts) != height * width:
        raise BdganError(f"run lengths do not fill {height} x {width} pixels; the mask is damaged")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, np.asarray(counts, int)).reshape(height, width, order="F")


def encode(mask: NDArray[np.bool_]) -> str:
    """COCO's packed text of a mask [H, W]: six bits per character, differences from the fourth run on."""
    return _packed(runs(mask))


def encode_values(values: NDArray[np.uint8]) -> dict[int, str]:
    """The packed text of the mask `values == n` for every n above 0 in values [H, W], by n."""
    return {n: _packed(lengths) for n, lengths in _runs_by_value(np.ascontiguousarray(values)).items()}


def _packed(lengths: list[int]) -> str:
    counts = np.array(lengths)
    x, live, letters = counts.copy(), np.ones(len(counts), bool), []
    x[3:] -= counts[1:-2]
    while live.any():  # the next five bits of all numbers, lowest first
        low, x = x & 0x1F, x >> 5
        more = live & (x != np.where(low & 0x10, -1, 0))
        letters.append(np.where(live, 48 + low + 0x20 * more, 0))
        live = more
    text = np.stack(letters, 1).astype(np.uint8)
    return text[text > 0].tobytes().decode()


def decode(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask [height, width] that `encode` or COCO packed into a text.

    Raises:
        BdganError: the text is not the packed runs of such a mask.
    """
    counts: list[int] = []
    x = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise BdganError(f"packed runs hold a misplaced {letter!r}; the mask is damaged")
        x |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            x -= (bits & 0x10) << (shift - 4)  # the sign
            counts.append(x + (counts[-2] if len(counts) > 2 else 0))
            x = shift = 0
    if shift:
        raise BdganError("packed runs end in the middle of a number; the mask is damaged")
    return from_runs(counts, height, width)
