"""What every benchmark's command does: --quick or not, one JSON printed and kept."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bdgan_lib.core.io import check_output, write_atomic


def command(
    name: str, doc: str | None, measure: Callable[[str], dict[str, Any]], quick: str = "within 50 s"
) -> None:
    """Measure at size "full" or "quick"; write `<name>.json` or `<name>_quick.json` with machine and time."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a smaller size, {quick}")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    check_output(options.out)
    size, start = "quick" if options.quick else "full", time.perf_counter()
    result = {
        **measure(size),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.perf_counter() - start, 1),
    }
    text = json.dumps(result, indent=1)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / f"{name}{'_quick' if options.quick else ''}.json", (text + "\n").encode())
