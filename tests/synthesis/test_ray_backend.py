"""A cluster makes the same bytes, and loses a worker without losing a shard."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.ray_backend import synthesize_on_ray

from .test_local_backend import models, spec, tree_hash  # noqa: F401 (fixtures)

pytestmark = pytest.mark.slow


@pytest.mark.skipif("BDGAN_RAY" in os.environ, reason="would start itself")
def test_a_cluster_in_a_process_of_its_own():
    """The test below, in a process that can be ended if the cluster hangs."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    run = subprocess.Popen(
        command, env={**os.environ, "BDGAN_RAY": "1"}, start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        output, _ = run.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    assert run.returncode == 0, output.decode()


@pytest.mark.skipif(not os.environ.get("BDGAN_RAY"), reason="the test above runs it")
def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(models, spec, tmp_path):  # noqa: F811
    ray = pytest.importorskip("ray")
    expected = tree_hash(synthesize(spec, models, tmp_path / "here", progress=False).folder)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    killed: list[int] = []

    def kill() -> None:
        import psutil

        while not killed:
            for process in psutil.process_iter(["name"]):
                if process.info["name"].startswith("ray::make_shard"):
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    return
            time.sleep(0.02)

    hunter = threading.Thread(target=kill, daemon=True)
    hunter.start()
    try:
        found = synthesize_on_ray(spec, models, tmp_path / "ray", workers=2, progress=False)
    finally:
        ray.shutdown()
    assert killed and tree_hash(found.folder) == expected
