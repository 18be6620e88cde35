"""Masks as run lengths, in the form of COCO: column by column, ground first, packed into text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask [H, W], column by column; the first run is ground and may be 0."""
    flat = np.asarray(mask, bool).ravel(order="F")
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0] if flat.size and flat[0] else [], [0], turns, [flat.size]])
    return np.diff(bounds).astype(int).tolist()


def from_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Run lengths -> mask [height, width]; BdganError unless they are whole numbers that fill it exactly."""
    whole = all(type(n) is int and 0 <= n <= height * width for n in counts)
    if not whole or sum(counts) != height * width:
        raise BdganError(f"run lengths do not fill {height} x {width} pixels; the mask is damaged")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, np.asarray(counts, int)).reshape(height, width, order="F")


def encode(mask: NDArray[np.bool_]) -> str:
    """A mask [H, W] as COCO's packed text: six bits a character, from the third run on differences."""
    counts = np.array(runs(mask))
    x, live, letters = counts.copy(), np.ones(len(counts), bool), []
    x[3:] -= counts[1:-2]
    while live.any():  # all numbers' next five bits, the lowest first
        low, x = x & 0x1F, x >> 5
        more = live & (x != np.where(low & 0x10, -1, 0))
        letters.append(np.where(live, 48 + low + 0x20 * more, 0))
        live = more
    text = np.stack(letters, 1).astype(np.uint8)
    return text[text > 0].tobytes().decode()


def decode(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """What `encode` packed, or COCO did, as a mask [height, width]; BdganError for anything else."""
    counts: list[int] = []
    x = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise BdganError(f"packed runs hold {letter!r} out of place; the mask is damaged")
        x |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            x -= (bits & 0x10) << (shift - 4)  # the sign
            counts.append(x + (counts[-2] if len(counts) > 2 else 0))
            x = shift = 0
    if shift:
        raise BdganError("packed runs end amid a number; the mask is damaged")
    return from_runs(counts, height, width)
