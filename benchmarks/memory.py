"""Peak memory of a piece of work, measured in a process of its own."""

import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path


def peak_bytes(work: Callable[..., object], *arguments: object) -> int:
    """How far `work(*arguments)` lifts the peak of a fresh process over what importing it took."""
    context = get_context("forkserver")  # the server has the imports; every process starts from there
    main = sys.modules["__main__"].__spec__
    context.set_forkserver_preload(["torch", main.name if main else work.__module__])
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_measure, work, arguments).result()


def _measure(work: Callable[..., object], arguments: tuple[object, ...]) -> int:
    before = _peak()
    work(*arguments)
    return _peak() - before


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
