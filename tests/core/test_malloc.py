"""Freed memory stays: what was given back is taken again without a page fault."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from bdgan_lib.core.malloc import keep_freed_memory
kept = keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
found = []
for _ in range(10):
    before = faults()
    pieces = [torch.ones(6_000_000), torch.ones(18_000_000), torch.ones(200_000)]
    del pieces
    found.append(faults() - before)
print(found[0], found[-1], kept)
"""


def run(code: str, **variables: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], env=kept | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_is_taken_again_without_a_fault():
    first, later, told = run(FAULTS)
    assert told == "True" and int(first) > 20_000 and int(later) < 100


def test_a_user_s_own_settings_are_left_alone():
    assert run(FAULTS, MALLOC_TRIM_THRESHOLD_="131072")[2] == "False"
