"""How sums are rounded: where bfloat16 pays, and one thread where bytes must not depend on their number."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether the device computes with bfloat16."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "cpu" and torch.cpu._is_avx512_bf16_supported())


def autocast(device: torch.device | str) -> torch.autocast:
    """A context in which convolutions and products run in bfloat16 if the device does that fast."""
    kind = torch.device(device).type
    return torch.autocast(kind if kind == "cuda" else "cpu", torch.bfloat16, enabled=bf16_is_fast(device))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums of several round otherwise, and a data set has one set of bytes."""
    _keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _keep_memory() -> None:
    """Have glibc use freed memory again: it maps every large tensor anew otherwise, and clears its pages."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt:
            trim_threshold, mmap_max, arena_max = -1, -4, -8  # as malloc.h numbers them
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)
            mallopt(arena_max, 1)  # other threads' arenas are made of pieces of 64 MB, which come and go
