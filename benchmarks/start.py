"""What a command costs before its work begins: CPU seconds, user and system, of a whole process.

    python -m benchmarks.start            writes results/start.json
    python -m benchmarks.start --quick    fewer runs; writes start_quick.json

Beside it: Python alone, `import torch`, and the pocket's generator read. Each is the least of several runs,
in turns, after one that fills the disk's cache.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.datasets.shards import MANIFEST, write_manifest, write_shard
from benchmarks.command import command

RUNS = {"full": 9, "quick": 3}


def write_set(folder: Path) -> Path:
    """A data set of one image."""
    sample = LabelledSample(
        np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), 0, 0, sample_id("mug", 0)
    )
    shard = write_shard(folder / "shard_00000.tar", [(sample, {"class_name": "mug"})])
    write_manifest(folder / MANIFEST, [shard], {"spec": {}, "classes": ("mug",)})
    return folder


def cpu_seconds(*arguments: str) -> float:
    """CPU seconds of Python with these arguments, its output thrown away.

    Raises:
        RuntimeError: it ended with an error.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def measure(size: str) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        bdgan = ("-m", "bdgan_lib.cli")
        calls = {
            "python": ("-c", ""),
            "help": (*bdgan, "--help"),
            "validate": (*bdgan, "validate", str(write_set(Path(folder)))),
            "torch": ("-c", "import torch"),
            "generator": ("-c", "from bdgan_lib import load_profile; load_profile('pocket').generator()"),
        }
        seconds = [{name: cpu_seconds(*call) for name, call in calls.items()} for _ in range(RUNS[size] + 1)][
            1:
        ]
    return {f"{name}_cpu_seconds": round(min(run[name] for run in seconds), 3) for name in calls}


if __name__ == "__main__":
    command("start", __doc__, measure, "within a minute")
