"""What every benchmark's command does: --quick or not, one JSON printed and kept."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bdgan_lib.core.io import check_output, write_atomic

Measure = Callable[[str], dict[str, Any]]  # of a size, "full" or "quick"


def command(
    name: str, doc: str | None, measure: Measure | Mapping[str, Measure], quick: str = "within 50 s"
) -> None:
    """Measure at size "full" or "quick"; write `<name>.json` or `<name>_quick.json` with machine and time.

    Of several measures, by name, --only chooses some; the file keeps what the others wrote earlier.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a smaller size, {quick}")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parts = measure if isinstance(measure, Mapping) else {name: measure}
    parser.add_argument("--only", choices=parts, action="append", help="measure this part; all if left out")
    options = parser.parse_args()
    check_output(options.out)
    size, start = "quick" if options.quick else "full", time.perf_counter()
    path = options.out / f"{name}{'_quick' if options.quick else ''}.json"
    result = json.loads(path.read_text("utf-8")) if options.only and path.exists() else {}
    for part in options.only or parts:
        result |= parts[part](size)
    result = {
        **{key: value for key, value in result.items() if key not in ("machine", "seconds")},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.perf_counter() - start, 1),
    }
    text = json.dumps(result, indent=1)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (text + "\n").encode())
