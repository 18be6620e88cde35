"""A push or a pull that was killed or cut off goes on, and nothing half-written is ever seen."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from bdgan_lib.datasets.shards import ORIGIN
from bdgan_lib.hub import pull, push
from benchmarks.hub import contents, write_head, write_set
from benchmarks.hub_stub import CUT


def is_large(method: str, path: str) -> bool:
    return path.startswith("/lfs/") or (method == "GET" and "/resolve/" in path and path.endswith(".tar"))


def killed_at(hub, place: str, through: Callable[[], bool], *arguments) -> None:
    """Run a command, and kill it at its first request, when a large file is `through`, or at the commit."""
    process, seen = None, itertools.count()  # a count is one step of the interpreter: safe between threads
    count, name = {"start": (0, ""), "middle": (1, "large"), "end": (0, "commit")}[place]

    def fault(method: str, path: str) -> int | None:
        fits = name == "" or (is_large(method, path) if name == "large" else f"/{name}/" in path)
        if fits and next(seen) == count:
            deadline = time.monotonic() + 60  # files go side by side, and the machine may be busy
            while name == "large" and not through() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.kill()
            process.wait()
            return 500  # to nobody
        return None

    hub.fault = fault
    command = [sys.executable, "-m", "bdgan_lib.cli", *map(str, arguments)]
    process = subprocess.Popen(command, env=hub.environment(hub.home), stderr=subprocess.PIPE)
    process.communicate()
    hub.fault = lambda method, path: None
    assert process.returncode == -9, "it was killed"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_a_push_that_was_killed_goes_on(place, hub, tmp_path, quiet):
    hub.home = tmp_path / "home"
    folder = write_set(tmp_path / "set", shards=5)
    killed_at(hub, place, lambda: bool(hub.objects), "push", folder, "user/set")
    repository = hub.repositories.get(("dataset", "user/set"))
    assert repository is None or repository.files() in ({}, contents(folder)), "all of it or nothing"
    arrived, hub.received = len(hub.objects), 0
    assert arrived == 0 if place == "start" else arrived > 0
    push(folder, "user/set", **quiet)
    assert hub.repositories["dataset", "user/set"].files() == contents(folder)
    sizes = sum(len(data) for data in hub.objects.values())
    assert hub.received < sizes or place == "start", "what had arrived is not sent again"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["start", "middle"])
def test_a_pull_that_was_killed_goes_on(place, hub, tmp_path, quiet):
    hub.home = tmp_path / "home"
    folder = write_set(tmp_path / "set", shards=5)
    commit = push(folder, "user/set", **quiet)
    fetched = lambda: any(tmp_path.glob(".*/*.tar"))
    killed_at(hub, place, fetched, "pull", "user/set", "--out", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    hub.sent = 0
    assert pull("user/set", tmp_path / "back", **quiet) == commit
    assert contents(tmp_path / "back") == contents(folder)
    sizes = sum(path.stat().st_size for path in folder.glob("*.tar"))
    assert hub.sent == sizes if place == "start" else hub.sent < sizes
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_pull_does_not_go_on_at_another_commit(hub, tmp_path, quiet):
    folder = write_set(tmp_path / "set")
    first = push(folder, "user/set", **quiet)
    hub.fault = lambda method, path: 404 if path.endswith("shard_00002.tar") else None
    with pytest.raises(ValueError, match="user/set"):
        pull("user/set", tmp_path / "back", **quiet)
    hub.fault = lambda method, path: None
    hub.repositories["dataset", "user/set"].commit({**contents(folder), "README.md": b"---\nconfigs:\n---\n"})
    with pytest.raises(ValueError, match=f"holds commit {first}.*give --revision {first} to go on with it"):
        pull("user/set", tmp_path / "back", **quiet)
    assert pull("user/set", tmp_path / "back", revision=first, **quiet) == first
    assert contents(tmp_path / "back") == contents(folder)


def test_cut_connections_are_tried_again(hub, tmp_path, quiet):
    folder, cut = write_set(tmp_path / "set"), set[str]()

    def once(method: str, path: str) -> int | None:
        if is_large(method, path) and path not in cut:
            cut.add(path)
            return CUT
        return None

    hub.fault = once
    push(folder, "user/set", **quiet)
    assert len(cut) == 3
    pull("user/set", tmp_path / "back", **quiet)
    assert len(cut) == 6
    assert contents(tmp_path / "back") == contents(folder)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, tmp_path, quiet):
    folder = write_head(tmp_path / "head")
    hub.fault = lambda method, path: CUT if "/commit/" in path else None
    with pytest.raises(ValueError, match=r"no connection to .*what was sent so far is kept there"):
        push(folder, "user/head", **quiet)
    hub.fault = lambda method, path: None
    repository = hub.repositories["model", "user/head"]
    assert push(folder, "user/head", **quiet) == repository.branches["main"]
    assert len(repository.messages) == 2


@pytest.mark.parametrize("when", ["/api/", "/preupload/", "objects/batch", "/lfs/", "/commit/"])
def test_a_hub_that_fails_is_one_line_and_the_next_push_is_whole(when, hub, tmp_path, quiet):
    folder = write_head(tmp_path / "head")
    hub.fault = lambda method, path: 500 if when in path else None
    with pytest.raises(ValueError, match=r"user/head: the Hub failed \(status 500\); what was sent so far"):
        push(folder, "user/head", **quiet)
    hub.fault = lambda method, path: None
    push(folder, "user/head", **quiet)
    files = hub.repositories["model", "user/head"].files()
    assert {**contents(folder), "README.md": files["README.md"]} == files


@pytest.mark.parametrize("when", ["/api/", "/resolve/"])
def test_a_hub_that_fails_leaves_no_folder(when, hub, tmp_path, quiet):
    push(write_head(tmp_path / "head"), "user/head", **quiet)
    hub.fault = lambda method, path: 503 if when in path else None
    with pytest.raises(
        ValueError, match=r"user/head: the Hub failed \(status 503\); what was fetched so far"
    ):
        pull("user/head", tmp_path / "back", **quiet)
    assert not (tmp_path / "back").exists()
    hub.fault = lambda method, path: None
    pull("user/head", tmp_path / "back", **quiet)
    assert {ORIGIN, "head.json", "head.safetensors", "README.md"} == {
        p.name for p in (tmp_path / "back").iterdir()
    }
