"""Runs the tutorial's notebooks in order and leaves a page to read: runs/tutorial/latest/index.html.

    python ci/notebooks.py [--profile pocket] [--device cpu] [--only NAME] [--fresh]

A run that stopped is gone on with by the next call: notebooks that are done are not run again.
Exit code: 0 all done, 1 a notebook failed, 2 a mistake in the call or no space left, 130 interrupted.
"""

import argparse
import contextlib
import errno
import logging
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from execute import Kernel

ROOT = Path(__file__).resolve().parent.parent
SPACE = "free some and call again: notebooks that are done are kept"
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(ROOT))

from run_folder import Entry, RunFolder, UsageError, create, latest, source_hash  # noqa: E402


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists the options")


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="bash ci/tutorial.sh", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--profile", default="pocket", help="which world to run in (default: pocket)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"),
                        help="where the notebooks compute (default: cpu)")  # fmt: skip
    parser.add_argument("--only", metavar="NAME", action="append", default=[],
                        help="run this notebook alone, in the latest run; may be given again")  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="begin a new run; do not go on with the last")
    parser.add_argument("--notebooks", metavar="FOLDER", type=Path, default=ROOT / "notebooks", help="to run")
    parser.add_argument("--runs", metavar="FOLDER", type=Path, default=ROOT / "runs/tutorial", help="results")
    parser.add_argument("--check", action="store_true", help="only check these arguments")
    return parser.parse_args(argv)


def profiles() -> list[str]:
    """The names in profiles.catalogue.PROFILES, read without importing it: nothing is installed yet."""
    path = ROOT / "bdgan_lib" / "profiles" / "catalogue.py"
    _, _, table = (path.read_text("utf-8") if path.exists() else "").partition("\nPROFILES: ")
    return re.findall(r'^    "([\w-]+)":', table, re.MULTILINE) or ["pocket"]


def chosen(options: argparse.Namespace) -> tuple[dict[str, Path], list[str]]:
    """(all notebooks by name, in order; the names after --only). UsageError for what does not exist."""
    if options.profile not in profiles():
        raise UsageError(f"unknown profile {options.profile!r}; choose one of: {', '.join(profiles())}")
    notebooks = {path.stem: path.resolve() for path in sorted(options.notebooks.glob("[0-9][0-9]_*.ipynb"))}
    if not notebooks:
        raise UsageError(f"no notebooks (00_name.ipynb ...) in {options.notebooks}; is the clone complete?")
    only = []
    for word in options.only:
        matches = [name for name in notebooks if word.removesuffix(".ipynb") in (name, name[:2])]
        if not matches:
            raise UsageError(f"unknown notebook {word!r}; choose one of: {', '.join(notebooks)}")
        only += matches
    return notebooks, only


def main(argv: list[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = arguments(sys.argv[1:] if argv is None else argv)
        notebooks, only = chosen(options)
        sources = {name: source_hash(path) for name, path in notebooks.items()}
        if options.check:
            return 0
        return _run(options, notebooks, only, sources)
    except UsageError as error:
        return _stop(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _stop(f"no space left for {error.filename or options.runs}; {SPACE}")
        return _stop(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _stop(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 2


def _run(
    options: argparse.Namespace, notebooks: dict[str, Path], only: list[str], sources: dict[str, str]
) -> int:
    runs = options.runs.resolve()
    found = None if options.fresh else latest(runs, options.profile, sources, options.device)
    if found and found.finished and not only:
        found = None  # everything is done: the next call is a new run
    run = found or create(runs, options.profile, sources, options.device)
    waiting = [e for e in run.entries if (e.name in only if only else e.status != "done")]
    if found and not only and len(waiting) < len(run.entries):
        done = len(run.entries) - len(waiting)
        print(f"going on with {run.path.name}: {done} of {len(run.entries)} notebooks are done")
    print(f"run folder: {run.path}", flush=True)

    from execute import Kernel

    ahead: list[Kernel] = []  # the kernel of the next notebook, which starts while the last one ends

    def start(entry: Entry | None) -> None:
        if entry:
            variables = {"BDGAN_RUN": str(run.path), "BDGAN_NOTEBOOK": entry.name}
            ahead.append(Kernel(notebooks[entry.name], variables))

    def head_start(entry: Entry | None) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it is tried again, and told, at its turn
            start(entry)

    began = time.monotonic()
    try:
        for entry, following in zip(waiting, [*waiting[1:], None], strict=True):
            if not ahead:
                start(entry)
            place = f"[{run.entries.index(entry) + 1}/{len(run.entries)}] {entry.name}"
            near_end = partial(head_start, following)
            code = _one(run, entry, notebooks[entry.name], ahead.pop(), place, began, near_end)
            if code:
                return code
            began += entry.seconds
    finally:
        for kernel in ahead:
            kernel.end()
    total = run.summary()["seconds"]
    done = sum(e.status == "done" for e in run.entries)
    print(f"{done} of {len(run.entries)} notebooks done, {total:.0f} s; read {run.path / 'index.html'}")
    return 0


def _one(
    run: RunFolder, entry: Entry, source: Path, kernel: "Kernel", label: str, began: float,
    near_end: Callable[[], None],
) -> int:  # fmt: skip
    """Run one notebook and write its pages; its seconds count from `began`, when the one before had ended."""
    from execute import run_notebook
    from page import write_html, write_index

    logging.getLogger("papermill").setLevel(logging.ERROR)
    run.forget_metrics(entry.name)
    entry.status, entry.seconds, entry.error = "pending", 0.0, None
    run.save()
    settings = {"PROFILE": run.profile, "DEVICE": run.device, "RUN_DIR": str(run.data)}
    executed, failure = run_notebook(source, settings, kernel, label, near_end)
    write_html(executed, run.notebook(entry.name), {each.name for each in run.entries})
    entry.seconds = round(time.monotonic() - began, 2)
    entry.status = "failed" if failure else "done"
    if failure:
        entry.error = {"cell": failure.cell, "line": failure.line, "message": failure.message}
    write_index(run, run.save(), source.parent)
    if not failure:
        return 0
    if "No space left on device" in failure.message:
        return _stop(f"no space left while {entry.name} was running; {SPACE}")
    where = f"cell {failure.cell} ({failure.line})" if failure.cell else failure.line
    print(f"error: notebook {entry.name} stopped in {where}: {failure.message}", file=sys.stderr)
    print(f"  its pages so far: {run.notebook(entry.name).with_suffix('.html')}", file=sys.stderr)
    print("  once that is mended, the same command goes on from this notebook", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
