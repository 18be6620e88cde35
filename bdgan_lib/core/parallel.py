"""The process pool: jobs side by side in new processes of one thread each, which end with this one."""

import multiprocessing.spawn
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, BinaryIO, TypeVar, cast

from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.core.types import BdganError

Job = TypeVar("Job")
Result = TypeVar("Result")

_DONE, _FAILED, _REPORT, _DIED, _NOTHING = range(5)  # the kinds of events; a worker sends the first three
_DEATH = (
    "a worker process died, perhaps because memory ran out; use fewer workers or smaller batches and run the "
    "same command again, which resumes from here"
)
_to_parent: BinaryIO | None = None  # in a worker process
_importing_script = False  # in a worker process that imports the caller's script


def run_in_processes(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    setup: Callable[..., object] | None = None,
    arguments: tuple[object, ...] = (),
    on_report: Callable[..., object] = lambda *values: None,
    torch_threads: bool = True,
) -> Iterator[tuple[int, Result]]:
    """Run a function on every job and yield (index of the job, its result) in the order they finish.

    The processes end with this one, however it ends, and when the iterator is closed.

    Args:
        function: defined at the top of a module, so that a new process can import it.
        jobs: its arguments, one each; jobs and results must be picklable.
        workers: the most processes; each computes with one thread, so results do not depend on their number.
        setup: called in each process before its first job.
        arguments: of `setup`; they travel in one file, whose tensors all processes map into their memory.
        on_report: called with what a job passes to `report`, for a progress bar.
        torch_threads: limit torch's threads; False for jobs without torch, which then is not imported.

    Raises:
        BdganError: a process died. An error in a job is raised here too; the other jobs are dropped.
    """
    if _importing_script:
        raise BdganError("a worker process imports your script: start work there under `if __name__ == ...`")
    # not ProcessPoolExecutor: it waits for ever where a process dies before it has read what it was sent
    events: SimpleQueue[tuple[int, int, Any]] = SimpleQueue()
    numbers, processes, finished = iter(range(len(jobs))), list[Popen[bytes]](), 0
    with exit_at_sigterm(), TemporaryDirectory(prefix="bdgan-", ignore_cleanup_errors=True) as folder:
        program = f"import sys; sys.path[:] = {sys.path}; from bdgan_lib.core.parallel import serve; "
        command = [sys.executable, "-c", f"{program}serve({folder!r}, {torch_threads})"]
        try:
            for _ in range(min(max(1, workers), len(jobs))):
                processes.append(Popen(command, stdin=PIPE, stdout=PIPE))
            _save((function, setup, arguments), folder, torch_threads)
            for process in processes:
                threading.Thread(target=_feed, args=(process, jobs, numbers, events), daemon=True).start()
            while finished < len(jobs):
                try:
                    index, kind, value = events.get(timeout=0.5)
                except Empty:  # a worker's own child process may hold the pipe of a dead worker open
                    dead = any(process.poll() is not None for process in processes)
                    index, kind, value = -1, _DIED if dead else _NOTHING, None
                if kind == _REPORT:
                    on_report(*value)
                elif kind == _DONE:
                    finished += 1
                    yield index, value
                elif kind == _FAILED:
                    error, text = value
                    raise error from RuntimeError(f"in a worker process:\n{text}")
                elif kind == _DIED:
                    raise BdganError(_DEATH)
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
                with suppress(OSError):  # what it has not read
                    cast(BinaryIO, process.stdin).close()


def module_command(module: str, *arguments: str) -> list[str]:
    """The command of `python -m module arguments`, which takes no module from the folder it is run in."""
    root = str(Path(__file__).parents[2])
    path = [entry for entry in sys.path if entry]  # "" is the current folder
    path = path if root in path else [root, *path]
    program = f"import sys; sys.path[:] = {path}; from runpy import run_module; "
    program += f"run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", program, *arguments]


def report(*values: object) -> None:
    """In a job: call `on_report` with these values, in the process that gave the job out."""
    if _to_parent:
        _send(_to_parent, (_REPORT, values))


@contextmanager
def exit_at_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises SystemExit, so that temporary files and processes go as after any error."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # somebody else's handler stays
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        with suppress(ValueError):  # another thread closes a forgotten iterator
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _feed(
    process: Popen[bytes], jobs: Sequence[Any], numbers: Iterator[int], events: "SimpleQueue[Any]"
) -> None:
    """A thread for each process: give it jobs that nobody has taken, and pass on what it sends back."""
    to_worker, from_worker = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
    index = -1
    try:
        script = multiprocessing.spawn.get_preparation_data("")
        _send(to_worker, {key: value for key, value in script.items() if key.startswith("init_main")})
        for index in numbers:
            _send(to_worker, pickle.dumps(jobs[index]))
            kind = _REPORT
            while kind == _REPORT:
                kind, value = pickle.load(from_worker)
                events.put((index, kind, value))
    except (OSError, EOFError, pickle.UnpicklingError):
        events.put((index, _DIED, None))
    except Exception as error:  # a job that cannot be pickled, a result that cannot be read
        events.put((index, _FAILED, (error, traceback.format_exc())))


def serve(folder: str, torch_threads: bool) -> None:
    """The life of a worker process: it takes jobs from its standard input, until the parent ends.

    Args:
        folder: holds what `run_in_processes` saved.
        torch_threads: as of `run_in_processes`.
    """
    global _to_parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    from_parent, _to_parent = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a job prints is no result
    messages: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(from_parent, messages, folder), daemon=True).start()
    script: dict[str, str] = messages.get()
    function: Callable[[Any], object] | None = None
    while True:
        job: bytes = messages.get()
        try:
            function = function or _with_script(script, partial(_set_up, folder, torch_threads))
            argument = _with_script(script, partial(pickle.loads, job))
            outcome = pickle.dumps((_DONE, function(argument)))
        except BaseException as error:
            outcome = _failure(error)
        _to_parent.write(outcome)
        _to_parent.flush()


def _listen(from_parent: BinaryIO, messages: "SimpleQueue[Any]", folder: str) -> None:
    """A thread of the worker: read messages; where they end the parent has ended, and the process does."""
    with suppress(OSError, EOFError, pickle.UnpicklingError):
        while True:
            messages.put(pickle.load(from_parent))
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed has left it
    os._exit(1)


def _save(setup: object, folder: str, torch_threads: bool) -> None:
    """Write what all workers read."""
    if torch_threads:
        import torch

        torch.save(setup, f"{folder}/setup", pickle_protocol=pickle.HIGHEST_PROTOCOL)
    else:
        Path(folder, "setup").write_bytes(pickle.dumps(setup))


def _set_up(folder: str, torch_threads: bool) -> Callable[[Any], object]:
    """Prepare this worker process, and return the function of all jobs."""
    keep_freed_memory()
    if torch_threads:
        import torch

        torch.set_num_threads(1)
        function, setup, arguments = torch.load(f"{folder}/setup", mmap=True, weights_only=False)
    else:
        function, setup, arguments = pickle.loads(Path(folder, "setup").read_bytes())
    if setup:
        setup(*arguments)
    return cast(Callable[[Any], object], function)


def _with_script(script: dict[str, str], load: Callable[[], Any]) -> Any:
    """What `load` returns; the caller's script is imported if it needs that, and only then."""
    global _importing_script
    try:
        return load()
    except AttributeError as error:
        if "__main__" not in str(error) or not script:
            raise
    _importing_script = True
    multiprocessing.spawn.prepare(script)
    _importing_script = False
    return load()


def _failure(error: BaseException) -> bytes:
    """The event of a job that failed; an error that cannot be pickled goes as its text."""
    text = traceback.format_exc()
    with suppress(Exception):
        event = pickle.dumps((_FAILED, (error, text)))
        pickle.loads(event)
        return event
    return pickle.dumps((_FAILED, (RuntimeError(f"{type(error).__name__}: {error}"), text)))


def _send(stream: BinaryIO, message: object) -> None:
    pickle.dump(message, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()
