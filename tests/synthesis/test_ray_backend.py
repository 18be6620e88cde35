"""A cluster makes the same bytes, and loses a worker without losing a shard."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from bdgan_lib.core.types import BdganError
from bdgan_lib.synthesis import ray_backend
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.ray_backend import synthesize_on_ray

from .test_local_backend import models, spec, tree_hash  # noqa: F401 (fixtures)


@pytest.fixture
def ray_init(monkeypatch):
    """A stand-in for ray that gathers the addresses given to `init`."""
    stand_in = SimpleNamespace(is_initialized=lambda: False, shutdown=lambda: None, addresses=[])
    stand_in.init = lambda address, **_: stand_in.addresses.append(address)
    stand_in.cluster_resources = lambda: {"CPU": 2}
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setattr(ray_backend, "_make_shards", lambda *_: iter(()))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return stand_in


def connect(address):
    with ray_backend._connection(address, progress=False):
        pass


def test_without_an_address_ray_starts_here_whatever_cluster_was_here_before(ray_init, monkeypatch):
    connect(ray_backend.address_of(None))
    monkeypatch.setenv("RAY_ADDRESS", "first:6379")
    connect(ray_backend.address_of(None))
    connect(ray_backend.address_of("second:6379"))
    assert ray_init.addresses == ["local", "first:6379", "second:6379"]


def test_ray_is_not_waited_for_for_ever(ray_init, monkeypatch, capsys, models, spec, tmp_path):  # noqa: F811
    monkeypatch.setattr(ray_backend, "LIMIT", 0.2)
    monkeypatch.setattr(ray_backend, "STEP", 0.1)
    ray_init.init = lambda *_, **__: time.sleep(60)
    with pytest.raises(BdganError, match=r"Ray \(local\) gave no answer in 0\.2 s; start the cluster first"):
        synthesize_on_ray(spec, models, tmp_path)
    assert "no answer for 0.1 s, at most 0.2 s" in capsys.readouterr().out and list(tmp_path.iterdir()) == []

    def refuse(*_, **__):
        raise ConnectionError("no cluster")

    ray_init.init = refuse
    with pytest.raises(BdganError, match="does not start: no cluster"):
        synthesize_on_ray(spec, models, tmp_path)


def test_a_node_that_was_too_slow_is_started_again_but_not_for_ever(ray_init):
    def too_slow(address, **_):
        ray_init.addresses.append(address)
        if len(ray_init.addresses) < starts:
            raise Exception("The current node timed out during startup.")

    ray_init.init, starts = too_slow, 3
    connect("local")
    assert ray_init.addresses == ["local"] * 3
    ray_init.addresses.clear()
    starts = 9
    with pytest.raises(BdganError, match="timed out"):
        connect("local")
    assert ray_init.addresses == ["local"] * 3
    ray_init.addresses.clear()
    with pytest.raises(BdganError, match="timed out"):  # of a cluster elsewhere it is the last word
        connect("head:6379")


def test_a_connection_that_comes_too_late_ends_itself(ray_init, monkeypatch):
    monkeypatch.setattr(ray_backend, "LIMIT", 0.1)
    monkeypatch.setattr(ray_backend, "STEP", 0.1)
    come, ended = threading.Event(), threading.Event()
    ray_init.init, ray_init.shutdown = lambda *_, **__: come.wait(20), ended.set
    with pytest.raises(BdganError, match="gave no answer"):
        connect("local")
    assert not ended.is_set()
    come.set()
    assert ended.wait(20)


def test_a_finished_set_starts_no_cluster(ray_init, models, spec, tmp_path):  # noqa: F811
    synthesize(spec, models, tmp_path, progress=False)
    synthesize_on_ray(spec, models, tmp_path, progress=False)
    assert ray_init.addresses == []


@pytest.mark.slow
@pytest.mark.skipif("BDGAN_RAY" in os.environ, reason="would start itself")
def test_a_cluster_in_a_process_of_its_own():
    """The test below, in a process that can be ended if the cluster hangs."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    run = subprocess.Popen(
        command, env={**os.environ, "BDGAN_RAY": "1"}, start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        output, _ = run.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    assert run.returncode == 0, output.decode()


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("BDGAN_RAY"), reason="the test above runs it")
def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(models, spec, tmp_path):  # noqa: F811
    pytest.importorskip("ray")
    expected = tree_hash(synthesize(spec, models, tmp_path / "here", progress=False).folder)
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
    found = synthesize_on_ray(spec, models, tmp_path / "ray", workers=2, progress=False)
    assert killed and tree_hash(found.folder) == expected
