"""Cells of an experiment: run once each, kept on disk, gathered with what a reader needs to trust them."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import OTHER_FILE, read_json
from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles import Profile
from bdgan_lib.training.file_logs import LogFolder

Row = dict[str, Any]
Cells = dict[tuple[object, ...], Row]  # values of the factors -> settings
_NAME = " / "  # between the factors in a cell's name
_SEGMENTATION = ("set", "task", "seed")
OLD_FACTORS = {  # of results that do not list them, in the order of their cells' names
    "analysis": ("set", "part"),
    "annotation-clicks": ("tool", "seed"),
    "label-head": ("trial", "seed"),
    "label-queue": ("target", "arm", "seed"),
    "table2": ("init", *_SEGMENTATION),
    "backbone": ("backbone", *_SEGMENTATION),
    **dict.fromkeys(("set-size", "labels-per-class", "filter", "filter-share", "online"), _SEGMENTATION),
    "pretraining": ("file",),
    "transfer": ("init", "world", "seed"),
}


def run_cells(
    name: str,
    factors: Sequence[str],
    cells: Cells,
    measure: Callable[[Mapping[str, Any]], Row],
    folder: Path,
    about: Mapping[str, Any],
    workers: int = 0,
    logs: LogFolder | None = None,
) -> Row:
    """Measure every cell that is not on disk yet, and gather all as one result, see `rows`.

    A result of the same name in `folder`, shipped or from another machine, counts for the cells it holds. A
    run that is cut off gathers what it has, and the result says how many cells are `missing`.

    Args:
        name: of the experiment.
        factors: what is varied, the last of them the repetition; fields of each row.
        cells: values of the factors (the last is missing where nothing repeats) -> settings JSON can hold.
        measure: settings -> what is measured. The row has `seconds` and `commit` added.
        folder: of the result and the cells' files. `about` and the settings name a cell's file, so a cell of
            other weights is measured anew.
        about: profile and fingerprints.
        workers: processes of one thread each that measure side by side, which `measure` must reach pickled;
            0: this process, one cell after the other.
        logs: where each cell's trainings are logged, to NAME/FACTOR/FACTOR/...; None for no log.
    """
    paths = {}
    for key, settings in cells.items():
        digest = sha256(json.dumps([dict(about), settings], sort_keys=True).encode()).hexdigest()
        paths[key] = folder / name / f"{digest[:24]}.json"
    (folder / name).mkdir(parents=True, exist_ok=True)
    gathered = folder / f"{name}.json"
    _take_over(gathered, about, {key: (cells[key], paths[key]) for key in cells}, factors)
    missing = [key for key, path in paths.items() if not path.exists()]
    with tqdm(total=len(cells), initial=len(cells) - len(missing), desc=name, unit="cell") as bar:

        def keep(key: tuple[object, ...], row: Row) -> None:
            write_atomic(paths[key], json.dumps(row | {"commit": commit()}).encode())
            bar.update()

        try:
            if workers < 1 or len(missing) < 2:
                for key in missing:
                    keep(key, _measured(measure, logs, name, (key, cells[key])))
            else:
                jobs = [(key, cells[key]) for key in missing]
                for i, row in run_in_processes(partial(_measured, measure, logs, name), jobs, workers):
                    keep(missing[i], row)
        finally:
            result = _gather(name, factors, cells, paths, about, gathered)
    return result


def earlier_result(gathered: Path) -> Row | None:
    """The result in a file NAME.json of experiment NAME; None without a file, BdganError for another's."""
    if not gathered.exists():
        return None
    result = read_json(gathered, OTHER_FILE)
    if result.get("experiment") != gathered.stem:
        raise BdganError(f"{gathered} is no result of this experiment; {OTHER_FILE}")
    return with_factors(result)


def _take_over(
    gathered: Path,
    about: Mapping[str, Any],
    cells: Mapping[tuple[object, ...], tuple[Row, Path]],
    factors: Sequence[str],
) -> None:
    """Write the files of cells that an earlier result holds, measured with the same settings and weights."""
    result = earlier_result(gathered)
    if result is None or any(result.get(key) != value for key, value in about.items()):
        return
    earlier = {tuple(row.get(factor) for factor in factors): row for row in rows(result)}
    for key, (settings, path) in cells.items():
        row = earlier.get((*key, *[None] * (len(factors) - len(key))), {})
        given = json.loads(json.dumps(settings))
        if not path.exists() and row and given.items() <= row.items():
            measured = {name: value for name, value in row.items() if name not in {*given, *factors}}
            write_atomic(path, json.dumps(measured).encode())


def _gather(
    name: str,
    factors: Sequence[str],
    cells: Cells,
    paths: Mapping[tuple[object, ...], Path],
    about: Mapping[str, Any],
    gathered: Path,
) -> Row:
    """The result of the cells on disk, written to `gathered`."""
    measured = {
        _NAME.join(map(str, key)): {**dict(zip(factors, key, strict=False)), **settings} | _cell(paths[key])
        for key, settings in cells.items()
        if paths[key].exists()
    }
    result = {
        "experiment": name,
        **about,
        "bdgan_lib": __version__,
        "commit": commit(),
        "seconds": round(sum(row["seconds"] for row in measured.values()), 1),
        "factors": list(factors),
        **({"missing": len(cells) - len(measured)} if len(measured) < len(cells) else {}),
        "cells": measured,
    }
    write_atomic(gathered, (json.dumps(result, indent=1) + "\n").encode())
    return result


def _cell(path: Path) -> Row:
    hint = "remove it, and the same command measures it anew"
    row: Row = read_json(path, hint)
    if not isinstance(row.get("seconds"), int | float):
        raise BdganError(f"{path}: expected a measured cell with its seconds; {hint}")
    return row


def _measured(
    measure: Callable[[Mapping[str, Any]], Row],
    logs: LogFolder | None,
    name: str,
    cell: tuple[tuple[object, ...], Mapping[str, Any]],
) -> Row:
    start, (key, settings) = time.monotonic(), cell
    with logs.log_to(name, *key) if logs else nullcontext():
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
    return with_factors(result)


def with_factors(result: Row) -> Row:
    """A result as read from its file; in older files only the names of cells told some of the factors."""
    factors = OLD_FACTORS.get(result.get("experiment", ""))
    if "factors" in result or not factors:
        return result
    cells = {
        name: dict(zip(factors, name.split(_NAME), strict=False)) | row
        for name, row in result["cells"].items()
    }
    return {**result, "factors": list(factors), "cells": cells}


def rows(result: Mapping[str, Any], **fields: object) -> list[Row]:
    """The cells of a result whose fields have these values: factors, settings and measurements of each."""
    return [row for row in result["cells"].values() if fields.items() <= row.items()]


Scores = dict[tuple[str, ...], NDArray[np.float64]]  # what was varied but the seed -> one score per seed


def scores(result: Mapping[str, Any], metric: str = "miou") -> Scores:
    """One metric of an experiment's cells by their factors, such as {(init, set, task): one score per seed}.

    Cells that lack the metric are left out; BdganError if all do.
    """
    *varied, seed = result["factors"]
    runs_by_factors: dict[tuple[str, ...], dict[int, float]] = {}
    for row in rows(result):
        if metric in row:
            factors = tuple(row[factor] for factor in varied)
            runs_by_factors.setdefault(factors, {})[row.get(seed, 0)] = row[metric]
    if not runs_by_factors:
        raise BdganError(f"no cell of {result['experiment']} has {metric}")
    return {key: np.array([runs[s] for s in sorted(runs)]) for key, runs in runs_by_factors.items()}


def averaged(by_factors: Scores, over: int = -1) -> Scores:
    """The mean over one of the things varied (default: the last, the task), seed by seed."""
    groups: dict[tuple[str, ...], list[NDArray[np.float64]]] = {}
    for varied, runs in by_factors.items():
        rest = [*varied]
        del rest[over]
        groups.setdefault(tuple(rest), []).append(runs)
    return {rest: np.mean(runs, 0) for rest, runs in groups.items()}
