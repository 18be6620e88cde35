"""Addresses reach what is there now, or are refused in one line; junk of file systems is passed over."""

import signal
import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bdgan_lib.core.io import as_path, is_junk, list_folder, local_path, require_new_path, write_atomic
from bdgan_lib.core.types import BdganError


class RememberingStore(MemoryFileSystem):
    """A store that keeps listings, as those of S3, Google and Azure do."""

    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    find = fsspec.AbstractFileSystem.find  # by `ls`

    def ls(self, path, detail=True, **settings):
        path = self._strip_protocol(path)
        if (kept := self._ls_from_cache(path)) is None:
            kept = super().ls(path, detail=True)
            self.dircache[path] = kept
        return kept if detail else [entry["name"] for entry in kept]


class BrokenStore(MemoryFileSystem):
    """A store whose client fails in a way of its own."""

    protocol = "broken"

    def info(self, path, **settings):
        raise RuntimeError("EndpointConnectionError:\nno route to the host")


@pytest.fixture
def remembering():
    fsspec.register_implementation("memory", RememberingStore, clobber=True)
    yield
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


def test_what_another_process_writes_is_seen(remembering):
    first = as_path("memory://bucket/set")
    first.mkdir(parents=True)
    (first / "a.tar").write_bytes(b"a")
    assert [path.name for path in list_folder(first)] == ["a.tar"]
    RememberingStore(skip_instance_cache=True).pipe_file("/bucket/set/b.tar", b"b")
    assert [path.name for path in list_folder(first)] == ["a.tar", "b.tar"]
    assert [path.name for path in list_folder(as_path("memory://bucket/set"))] == ["a.tar", "b.tar"]


@pytest.mark.parametrize(
    "address",
    ["foo://bucket/x", "broken://bucket/x", "://x", "s3:/bucket", "git+nothing://x", "zip://x::s4://y"],
)
def test_an_address_that_leads_nowhere_is_one_error_of_ours(address):
    fsspec.register_implementation(BrokenStore.protocol, BrokenStore, clobber=True)
    with pytest.raises(BdganError) as error:
        as_path(address)
    assert "\n" not in str(error.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(BdganError, match=r"s3://bucket/x is not .* pip install 'bdgan-lib\[cloud\]'"):
        as_path("s3://bucket/x")


@pytest.mark.parametrize("path", ["s3://bucket/x", "memory://x", "s3:/bucket/x", "gs:/x", "://x"])
def test_an_address_is_no_local_path(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for take in (local_path, require_new_path):
        with pytest.raises(BdganError, match="expected a local path, got the address"):
            take(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x", "a/b:c", "C:/x", "/tmp/a b", "./s3", "s3", "a:b/c"])
def test_a_plain_path_is_taken_as_it_is(path):
    assert str(local_path(path)) == path.removeprefix("./") and as_path(path) == local_path(path)


def test_junk_is_passed_over_and_all_else_is_listed_in_order(tmp_path):
    for name in ("b.png", "a.png", ".hidden.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    plain = list_folder(tmp_path, "**/*")
    for name in (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints/a.png",
                 "sub/._c.png", "__MACOSX/._a.png", "__MACOSX/a.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list_folder(tmp_path, "**/*") == plain == sorted(plain) and len(plain) == 5
    assert not any(is_junk(path.name) for path in plain)


def test_a_file_address_is_a_local_path_and_replaces_a_link(tmp_path):
    (tmp_path / "theirs").write_bytes(b"mine")
    (tmp_path / "a b").symlink_to("theirs")
    path = as_path(f"file://{tmp_path}/a%20b")
    assert path == tmp_path / "a b" and not hasattr(path, "fs")
    write_atomic(path, b"new")
    assert (tmp_path / "theirs").read_bytes() == b"mine" and path.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
def test_an_error_of_the_disk_names_the_file_that_was_not_written(tmp_path):
    import resource

    path = tmp_path / "a.bin"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))
        with pytest.raises(OSError, match=r"a\.bin"):
            write_atomic(path, bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
