"""Runs one notebook with papermill, in this interpreter's own kernel, and says where it stands meanwhile."""

import ast
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

INSERTED = {"injected-parameters", "papermill-error-cell-tag"}  # tags of cells that papermill adds


class Failure(Exception):
    """A notebook stopped. cell: its number among the notebook's cells, from 1; 0 when the kernel went."""

    def __init__(self, cell: int, line: str, message: str):
        super().__init__(message)
        self.cell, self.line, self.message = cell, line, message


class Progress:
    """One moving line on a terminal; elsewhere (a log) one line every `quiet` seconds."""

    def __init__(self, label: str, total: int, quiet: float = 30.0):
        self.label, self.total, self.quiet = label, total, quiet
        self.cell, self.began = 0, time.monotonic()
        self._next = quiet
        self._live = sys.stdout.isatty()

    def tick(self) -> None:
        elapsed = time.monotonic() - self.began
        text = f"{self.label}  cell {self.cell} of {self.total}, {elapsed:.0f} s"
        if self._live:
            print(f"\r{text}\x1b[K", end="", flush=True)
        elif elapsed >= self._next:
            print(f"  ... {text}", flush=True)
            self._next = elapsed + self.quiet

    def close(self, text: str) -> None:
        print(("\r\x1b[K" if self._live else "") + f"{self.label}  {text}", flush=True)


class _Engine(Engine):
    """papermill's own engine, but the notebook and its kernel can be seen from outside while they run."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, start_timeout=120, **options):
        progress, seen, manager = options["progress"], options["seen"], options["manager"]
        client = PapermillNotebookClient(nb_man, km=manager, timeout=None, startup_timeout=start_timeout)
        seen["notebook"] = nb_man.nb
        start = nb_man.cell_start

        def cell_start(cell: NotebookNode, cell_index: int | None = None, **more: object) -> None:
            if cell.cell_type == "code" and not INSERTED & set(cell.metadata.get("tags", [])):
                progress.cell += 1
            start(cell, cell_index, **more)

        nb_man.cell_start = cell_start
        return client.execute(cleanup_kc=True)


papermill_engines.register("bdgan", _Engine)


def parameters_of(notebook: NotebookNode) -> set[str]:
    """The names set in the cell tagged "parameters" (also in `A, B = 1, 2`)."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
            return {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return set()


def imports_of(notebook: NotebookNode) -> str:
    """The statements at the top level of its cells that import modules, one a line."""
    lines: list[str] = []
    for cell in notebook.cells:
        with contextlib.suppress(SyntaxError):  # magics of IPython
            nodes = ast.parse(cell.source if cell.cell_type == "code" else "").body
            lines += [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(lines)


class Kernel:
    """The kernel of one notebook: this interpreter, from this checkout; it leaves nothing in the user's home.

    It starts at once and imports the modules that the notebook's cells import, into no namespace that cells
    see: the kernel of the next notebook is ready when the last one is done.
    variables: for its environment.
    """

    def __init__(self, source: Path, variables: dict[str, str]):
        self._scratch = Path(tempfile.mkdtemp(prefix="bdgan-kernel-"))
        root = str(Path(__file__).resolve().parent.parent)
        surroundings = {
            "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTER_RUNTIME_DIR": str(self._scratch / "runtime"),
            "IPYTHONDIR": str(self._scratch / "ipython"),
            "PYTHONPATH": os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            **variables,
        }
        early = imports_of(nbformat.read(source, as_version=4))
        arguments = [
            "--log-level=CRITICAL",  # its own chatter; cells' outputs are not touched
            f"--IPKernelApp.exec_lines=exec({early!r}, {{}})",
        ]
        with patch.dict(os.environ, surroundings):
            self.manager = AsyncKernelManager(kernel_name="python3")
            run_sync(self.manager.start_kernel)(extra_arguments=arguments, cwd=str(source.parent))

    def end(self) -> None:
        """End the kernel and what it started; it leads a process group of its own."""
        process = getattr(self.manager.provisioner, "process", None)  # None once it was shut down
        if process and process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


def run_notebook(
    source: Path, settings: dict[str, str], kernel: Kernel, label: str, near_end: Callable[[], None]
) -> tuple[NotebookNode, Failure | None]:
    """Run `source` in its own folder; returns the executed notebook and how it failed, if it did.

    settings: values for its parameters cell; those it does not have are left out.
    kernel: of this notebook; gone when this returns.
    near_end: called once, when three quarters of the cells have begun or the notebook is done.
    Raises KeyboardInterrupt, with the kernel gone.
    """
    notebook = nbformat.read(source, as_version=4)
    wanted = parameters_of(notebook)
    progress = Progress(label, sum(cell.cell_type == "code" for cell in notebook.cells))
    seen = {"notebook": notebook}
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            execute_notebook(
                notebook, None, {k: v for k, v in settings.items() if k in wanted}, engine_name="bdgan",
                kernel_name="python3", language="python", progress_bar=False, cwd=source.parent,
                progress=progress, seen=seen, manager=kernel.manager,
            )  # fmt: skip
        except BaseException as error:
            outcome.append(error)

    # A thread of its own: nbclient takes over Ctrl-C in the main thread and reports it as a dead kernel.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    announced = False
    try:
        while worker.is_alive():
            worker.join(0.2)
            progress.tick()
            if not announced and 4 * progress.cell >= 3 * progress.total:
                announced = True
                near_end()
    except KeyboardInterrupt:
        kernel.end()
        worker.join(10)
        progress.close("interrupted")
        raise
    kernel.end()
    if not announced and not outcome:
        near_end()
    failure = _failure(outcome[0], seen["notebook"], progress) if outcome else None
    elapsed = time.monotonic() - progress.began
    progress.close(f"failed after {elapsed:.0f} s" if failure else f"done in {elapsed:.0f} s")
    return seen["notebook"], failure


def _failure(error: BaseException, executed: NotebookNode, progress: Progress) -> Failure:
    if not isinstance(error, PapermillExecutionError):
        last = (str(error).strip() or type(error).__name__).splitlines()[-1]
        if type(error).__name__ == "DeadKernelError":
            last = "the kernel died; most often the machine ran out of memory"
        elif isinstance(error, OSError):
            raise error
        return Failure(0, f"code cell {progress.cell}", last)
    ours = [cell for cell in executed.cells if not INSERTED & set(cell.metadata.get("tags", []))]
    broken = [any(output.output_type == "error" for output in cell.get("outputs", [])) for cell in ours]
    number = broken.index(True) + 1 if True in broken else 0
    line = next((text.strip() for text in error.source.splitlines() if text.strip()), "")
    what = re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}").strip().splitlines()
    return Failure(number, line, what[0] if len(what) == 1 else f"{what[0]} ... {what[-1]}")
