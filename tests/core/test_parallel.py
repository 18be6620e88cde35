"""Laws of the process pool: whoever dies, nobody waits for ever and nobody is left behind."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import BdganError

sys.path.append(str(Path(__file__).parent))
import pool_jobs  # a new process finds it there too

LARGE = bytes(1 << 20)  # more than a pipe holds


OTHERS: set[psutil.Process] = set()  # children that earlier tests left


@pytest.fixture(autouse=True)
def others():
    OTHERS.clear()
    OTHERS.update(psutil.Process().children())


def ours() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child not in OTHERS]


def run(function, jobs, workers=2, **settings) -> dict:
    return dict(run_in_processes(function, jobs, workers, torch_threads=False, **settings))


def script(tmp_path: Path, text: str) -> subprocess.Popen:
    """Start a script of its own, whose temporary files go to `tmp_path / "tmp"`."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    (tmp_path / "script.py").write_text(text)
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path / "tmp")}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], env=os.environ | paths, text=True, stdout=-1, stderr=-1
    )


def test_results_come_with_the_number_of_their_job():
    assert run(math.sqrt, [0, 1, 4, 9], 3) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert run(math.sqrt, []) == {}
    assert run(bytes.upper, [b"a" * 10**7, LARGE]) == {0: b"A" * 10**7, 1: LARGE}
    assert run(print, ["what a job prints is no result"]) == {0: None}


def test_each_process_is_set_up_before_its_first_job():
    found = run(pool_jobs.add, [1, 2], setup=pool_jobs.keep, arguments=(LARGE,))
    assert found == {0: 1 + len(LARGE), 1: 2 + len(LARGE)}


def test_jobs_report_to_the_process_that_gave_them_out():
    reports = []
    run(pool_jobs.tell, [3, 4, 5], on_report=lambda *values: reports.append(values))
    assert sorted(reports) == [(3, "drawn"), (4, "drawn"), (5, "drawn")]


@pytest.mark.parametrize(
    ("function", "jobs", "kind", "text"),
    [
        (pool_jobs.refuse, ["dodo"], BdganError, "no dodo"),
        (math.sqrt, [-1], ValueError, "math domain|nonnegative"),
        (pool_jobs.stubborn, [1], RuntimeError, "Stubborn: not to be pickled"),
        (pool_jobs.function, [1], Exception, "pickle"),
        (math.sqrt, [lambda: 1], Exception, "pickle"),
        (sys.exit, [3], SystemExit, "3"),
    ],
)
def test_an_error_in_a_job_is_raised_here(function, jobs, kind, text):
    with pytest.raises(kind, match=text):
        run(function, jobs)
    assert ours() == []


@pytest.mark.parametrize("delay", [0, 0.1, 1])  # as it starts, as it reads what it was sent, as it computes
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_process_that_dies_is_told_and_not_waited_for(workers, delay):
    def kill() -> None:
        while len(children := ours()) < workers:
            time.sleep(0.001)
        time.sleep(delay)
        with suppress(psutil.NoSuchProcess):
            children[-1].kill()

    hunter = threading.Thread(target=kill)
    hunter.start()
    began = time.monotonic()
    with pytest.raises(BdganError, match="a worker process died"):
        run(time.sleep, [600] * workers, workers, setup=len, arguments=(LARGE,))
    assert time.monotonic() - began < 200 and ours() == []
    hunter.join()


PARENT = """
import threading, time, psutil
from bdgan_lib.core.parallel import run_in_processes

def tell():
    while len(children := psutil.Process().children()) < 3:
        time.sleep(0.001)
    time.sleep({delay})
    print(*(child.pid for child in children), flush=True)

threading.Thread(target=tell, daemon=True).start()
list(run_in_processes(time.sleep, [600] * 3, 3, len, (bytes(1 << 20),), torch_threads=False))
"""


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # nobody may have asked for its end yet
    return False


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_and_leave_no_file(tmp_path, number, delay):
    parent = script(tmp_path, PARENT.format(delay=delay))
    children = [int(pid) for pid in parent.stdout.readline().split()]
    parent.send_signal(number)
    parent.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(map(alive, children)):
        time.sleep(0.05)
    assert len(children) == 3 and not any(map(alive, children))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_closed_iterator_ends_the_processes():
    results = run_in_processes(time.sleep, [0, 600, 600], 2, torch_threads=False)
    assert next(results) == (0, None)
    results.close()
    assert ours() == []


SCRIPT = """
from bdgan_lib.core.parallel import run_in_processes

def double(x):
    return 2 * x

{guard}print(sorted(run_in_processes(double, [1, 2], 2, torch_threads=False)))
"""


def test_functions_of_the_caller_s_script_are_reached(tmp_path):
    out, err = script(tmp_path, SCRIPT.format(guard="if __name__ == '__main__': ")).communicate(timeout=60)
    assert out == "[(0, 2), (1, 4)]\n", err
    _, err = script(tmp_path, SCRIPT.format(guard="")).communicate(timeout=60)
    assert "start work there under `if __name__ == ...`" in err.splitlines()[-1]
