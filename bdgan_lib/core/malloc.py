"""Keep up to a gigabyte of freed memory in the process, because the next batch takes as much again."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Configure glibc's malloc. Returns True if it accepted the settings.

    Does nothing where a MALLOC_ variable is set. By default, glibc maps every large tensor anew and each of
    its pages is cleared: sampling takes up to 1.7 times as long, and peak memory varies.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 1 << 26))
    return all(mallopt(option, value) for option, value in settings)
