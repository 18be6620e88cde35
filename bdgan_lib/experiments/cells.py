"""Cells of an experiment: run once each, kept on disk, gathered with what a reader needs to trust them."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.images import write_atomic

Row = dict[str, Any]


def run_cells(
    name: str,
    cells: Mapping[str, Mapping[str, Any]],
    measure: Callable[[Mapping[str, Any]], Row],
    folder: Path,
    about: Mapping[str, Any],
) -> Row:
    """Measure every cell that is not on disk yet, and gather all: {"experiment", "cells": {key: row}, ...}.

    cells: key -> settings that JSON can hold. `about` (profile, fingerprints) and the settings name a cell's
    file, so a cell of other weights is measured anew. Each row has `seconds` and `commit` added.
    """
    rows: dict[str, Row] = {}
    for key, settings in tqdm(cells.items(), desc=name, unit="cell"):
        digest = sha256(json.dumps([dict(about), settings], sort_keys=True).encode()).hexdigest()
        path = folder / name / f"{digest[:24]}.json"
        if not path.exists():
            start = time.monotonic()
            row = measure(settings)
            row |= {"seconds": round(time.monotonic() - start, 1), "commit": _commit()}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(row).encode())
        rows[key] = {**settings, **json.loads(path.read_text("utf-8"))}
    result = {
        "experiment": name,
        **about,
        "bdgan_lib": __version__,
        "commit": _commit(),
        "seconds": round(sum(row["seconds"] for row in rows.values()), 1),
        "cells": rows,
    }
    write_atomic(folder / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def _commit() -> str:
    """Of the repository the package lies in; "unknown" outside one, with "+" where it was changed since."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
