"""Cells of an experiment: run once each, kept on disk, gathered with what a reader needs to trust them."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles import Profile

Row = dict[str, Any]


def run_cells(
    name: str,
    cells: Mapping[str, Mapping[str, Any]],
    measure: Callable[[Mapping[str, Any]], Row],
    folder: Path,
    about: Mapping[str, Any],
    workers: int = 0,
) -> Row:
    """Measure every cell that is not on disk yet, and gather all: {"experiment", "cells": {key: row}, ...}.

    cells: key -> settings that JSON can hold. `about` (profile, fingerprints) and the settings name a cell's
    file, so a cell of other weights is measured anew. Each row has `seconds` and `commit` added.
    workers: processes of one thread each that measure side by side, which `measure` must reach pickled; 0:
    this process, one cell after the other.
    """
    paths = {}
    for key, settings in cells.items():
        digest = sha256(json.dumps([dict(about), settings], sort_keys=True).encode()).hexdigest()
        paths[key] = folder / name / f"{digest[:24]}.json"
    (folder / name).mkdir(parents=True, exist_ok=True)
    missing = [key for key, path in paths.items() if not path.exists()]
    with tqdm(total=len(cells), initial=len(cells) - len(missing), desc=name, unit="cell") as bar:

        def keep(key: str, row: Row) -> None:
            write_atomic(paths[key], json.dumps(row | {"commit": commit()}).encode())
            bar.update()

        if workers < 1 or len(missing) < 2:
            for key in missing:
                keep(key, _measured(measure, cells[key]))
        else:
            jobs = [cells[key] for key in missing]
            for i, row in run_in_processes(partial(_measured, measure), jobs, workers):
                keep(missing[i], row)
    rows = {key: {**cells[key], **json.loads(paths[key].read_text("utf-8"))} for key in cells}
    result = {
        "experiment": name,
        **about,
        "bdgan_lib": __version__,
        "commit": commit(),
        "seconds": round(sum(row["seconds"] for row in rows.values()), 1),
        "cells": rows,
    }
    write_atomic(folder / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def _measured(measure: Callable[[Mapping[str, Any]], Row], settings: Mapping[str, Any]) -> Row:
    start = time.monotonic()
    return measure(settings) | {"seconds": round(time.monotonic() - start, 1)}


def commit() -> str:
    """Of the repository the package lies in; "unknown" outside one, with "+" where it was changed since."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def shipped_result(profile: Profile, name: str) -> Row:
    """The result of `bdgan experiment NAME` that ships with a profile.

    Raises:
        BdganError: the profile ships no results, or this one was measured on another generator.
    """
    files = profile.require("shipped")
    result: Row = files.read_json(f"experiments/{name}.json")
    files.path("biggan/model.safetensors")
    if result["generator_sha256"] != files.hashes["biggan/model.safetensors"]:
        raise BdganError(
            f"experiment {name} was measured on generator {result['generator_sha256'][:12]}, not on "
            f"the one that ships; run `bdgan experiment {name}`"
        )
    return result


Scores = dict[tuple[str, ...], NDArray[np.float64]]  # what was varied -> one score per seed


def scores(result: Mapping[str, Any], metric: str = "miou") -> Scores:
    """One metric of an experiment's cells, "init / set / task / seed" gathered as (init, set, task): seeds.

    Cells that lack the metric are left out; BdganError if all do.
    """
    runs_by_factors: dict[tuple[str, ...], dict[int, float]] = {}
    for key, row in result["cells"].items():
        *varied, seed = key.split(" / ")
        if metric in row:
            runs_by_factors.setdefault(tuple(varied), {})[int(seed)] = row[metric]
    if not runs_by_factors:
        raise BdganError(f"no cell of {result['experiment']} has {metric}")
    return {varied: np.array([runs[s] for s in sorted(runs)]) for varied, runs in runs_by_factors.items()}


def averaged(by_factors: Scores, over: int = -1) -> Scores:
    """The mean over one of the things varied (default: the last, the task), seed by seed."""
    groups: dict[tuple[str, ...], list[NDArray[np.float64]]] = {}
    for varied, runs in by_factors.items():
        rest = [*varied]
        del rest[over]
        groups.setdefault(tuple(rest), []).append(runs)
    return {rest: np.mean(runs, 0) for rest, runs in groups.items()}
