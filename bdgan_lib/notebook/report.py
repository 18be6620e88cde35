"""Reports a notebook's measured numbers, and what it took from a cache, to the tutorial's run.

The tutorial's runner sets BDGAN_RUN (the run's folder) and BDGAN_NOTEBOOK (the notebook's name) and collects
the reports in `summary.json`. Without them, as in Jupyter, numbers are printed and nothing is written.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import BdganError

_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


def record_metric(name: str, value: float) -> None:
    """Print a measured number and add it to the run's summary; a later value replaces an earlier one.

    Args:
        name: lower-case words joined by dots, such as "pocket.frechet".
        value: a finite number; numpy and torch scalars work too.

    Raises:
        BdganError: the name has another form, or the value is NaN or infinite.
    """
    _check(name)
    number = float(value)
    if not math.isfinite(number):
        raise BdganError(f"metric {name}: expected a finite number, got {number}; see how it was measured")
    print(f"{name} = {number:.4g}")
    _record(lambda section: section["metrics"].__setitem__(name, number))


def record_cached(name: str) -> None:
    """Report that a metric or an artefact comes from a cache or an asset, not from this run."""
    _check(name)
    _record(lambda section: section["cached"].append(name) if name not in section["cached"] else None)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BdganError(
            f"expected a metric name of lower-case words and dots, such as head.fgbg_miou, got {name!r}"
        )


def _record(change: Callable[[dict[str, Any]], None]) -> None:
    run = os.environ.get("BDGAN_RUN")
    if not run:
        return
    path = Path(run) / "metrics.json"
    # One section per notebook, so that a notebook run again replaces its own numbers and no others.
    sections = json.loads(path.read_text("utf-8")) if path.exists() else {}
    section = sections.setdefault(os.environ.get("BDGAN_NOTEBOOK", ""), {"metrics": {}, "cached": []})
    change(section)
    write_atomic(path, (json.dumps(sections, indent=1) + "\n").encode())
