"""Freed memory stays with the process, up to a gigabyte: batch after batch takes and gives back the same."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc so; True where it listens. Whoever sets one of its MALLOC_ variables is left alone.

    By default it maps every large tensor anew, and each of its pages is faulted in and cleared: sampling
    takes up to 1.7 times as long, and the peak depends on how the pieces happen to lie.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 1 << 26))
    return all(mallopt(option, value) for option, value in settings)
