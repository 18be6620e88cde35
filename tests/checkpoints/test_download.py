"""Downloads from a local server that fails in every way we know: a named error or a clean recovery."""

import errno
import hashlib
import os
import re
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bdgan_lib.checkpoints import download as module
from bdgan_lib.checkpoints.download import Weights, cached_file, catalogue, fetch
from bdgan_lib.core.types import BdganError

BODY = bytes(range(256)) * 9000  # 2.3 MB
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY at every path; `faults` holds, per path, what goes wrong in the next answers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.log = {}, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.lstrip("/")
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.server.log.append((path, start))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if len(faults) > 1 else (faults[0] if faults else "")
        body, kind = BODY, "application/octet-stream"
        if fault in ("403", "404", "500"):
            self.send_error(int(fault))
            return
        if fault == "login":
            body, kind = b"<html>please log in</html>", "text/html; charset=utf-8"
        if fault == "login in disguise":
            body = b"<!DOCTYPE html><html>please log in</html>"
        if fault == "corrupt":
            body = BODY[:1000] + b"?" + BODY[1001:]
        if fault == "no range":
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        body = body[start:]
        if fault != "truncated without length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("truncated", "truncated without length"):
            body = body[: len(body) // 2]
        if fault == "reset":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        if fault == "stalled":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(3)
            return
        self.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


def weights(server, *paths, **changes):
    settings = {"licence": "test", "source": "here", "size": len(BODY), "sha256": SHA, **changes}
    addresses = tuple(server.url(path) for path in paths or ("file",))
    return Weights("tiny", "tiny.bin", "test", addresses, **settings)


def get(wanted, folder, **changes):
    return fetch(wanted, folder, **{"tries": 3, "timeout": 20, "progress": False, **changes})


def assert_clean(folder):
    """Nothing that could be taken for the file, and no temporary one, is left."""
    left = {p.name for p in folder.iterdir()} - {".tiny.bin.lock", ".weights.json.lock", "tiny.bin.part"}
    assert not left


def test_a_file_comes_once_and_is_then_taken_from_the_cache(server, tmp_path):
    wanted = weights(server)
    assert cached_file(wanted, tmp_path) is None
    path = get(wanted, tmp_path)
    assert path.read_bytes() == BODY and cached_file(wanted, tmp_path) == path
    assert get(wanted, tmp_path, offline=True) == path
    assert len(server.log) == 1
    assert not (tmp_path / "tiny.bin.part").exists()


@pytest.mark.parametrize("fault", ["truncated", "reset", "stalled"])
def test_an_answer_cut_off_is_gone_on_with_where_it_broke(server, tmp_path, fault):
    server.faults["file"] = [fault, ""]
    timeout = 1 if fault == "stalled" else 20
    assert get(weights(server), tmp_path, timeout=timeout).read_bytes() == BODY
    assert len(server.log) == 2 and server.log[1][1] > 0, "resumed, not started anew"


def test_a_server_that_cannot_resume_is_started_anew(server, tmp_path):
    server.faults["file"] = ["truncated", "no range"]
    assert get(weights(server), tmp_path).read_bytes() == BODY


def test_one_that_always_breaks_ends_in_one_error_and_a_later_call_goes_on(server, tmp_path):
    server.faults["file"] = ["reset"]
    with pytest.raises(BdganError, match=r"tiny could not be fetched: .*after 2 tries"):
        get(weights(server), tmp_path, tries=2)
    assert_clean(tmp_path)
    server.faults["file"] = []
    assert get(weights(server), tmp_path).read_bytes() == BODY
    assert server.log[-1][1] > 0


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("403", "status 403"),
        ("404", "status 404"),
        ("500", "ConnectionError"),
        ("login", "web page"),
        ("login in disguise", "got an offer of"),
        ("corrupt", "hash"),
    ],
)
def test_a_refusal_is_one_named_error_and_another_address_serves(server, tmp_path, fault, says):
    server.faults["bad"] = [fault]
    with pytest.raises(BdganError, match=f"(?i)bad: .*{says}"):
        get(weights(server, "bad"), tmp_path, tries=2)
    assert_clean(tmp_path)
    assert get(weights(server, "bad", "file"), tmp_path, tries=2).read_bytes() == BODY


def test_a_page_is_seen_where_neither_size_nor_sha256_are_known(server, tmp_path):
    server.faults["bad"] = ["login in disguise"]
    with pytest.raises(BdganError, match="web page"):
        get(weights(server, "bad", size=None, sha256=None), tmp_path)
    assert_clean(tmp_path)


def test_an_unknown_sha256_is_recorded_at_first_and_enforced_after(server, tmp_path):
    wanted = weights(server, sha256=None)
    path = get(wanted, tmp_path)
    path.write_bytes(BODY[:-1] + b"?")
    with pytest.raises(BdganError, match=rf"damaged: expected sha256 {SHA}"):
        cached_file(wanted, tmp_path)
    path.unlink()
    server.faults["file"] = ["corrupt"]
    with pytest.raises(BdganError, match=r"(?i)hash"):
        get(wanted, tmp_path)
    assert not path.exists()


def test_offline_nothing_is_asked_for(server, tmp_path, monkeypatch):
    monkeypatch.setenv("BDGAN_OFFLINE", "1")
    with pytest.raises(BdganError, match=r"offline; put tiny\.bin there"):
        get(weights(server), tmp_path)
    assert server.log == []


def test_a_full_disk_is_told_as_such_and_its_space_given_back(server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    plain = Path.open
    monkeypatch.setattr(
        Path, "open", lambda p, *a, **k: Full(plain(p, *a, **k)) if p.suffix == ".part" else plain(p, *a, **k)
    )
    with pytest.raises(OSError, match="No space left"):
        get(weights(server), tmp_path)
    assert not (tmp_path / "tiny.bin.part").exists() and not (tmp_path / "tiny.bin").exists()


def test_two_processes_at_once_fetch_it_once(server, tmp_path):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = [pool.submit(fetch, weights(server), tmp_path, progress=False) for _ in range(2)]
        paths = [job.result() for job in jobs]
    assert paths[0] == paths[1] and paths[0].read_bytes() == BODY
    assert len(server.log) == 1


def test_the_catalogue_names_a_licence_and_an_address_for_everything():
    found = catalogue(Path(module.__file__).parents[2] / "assets" / "weights.toml")
    assert {"biggan-deep-128", "biggan-deep-256", "biggan-deep-512", "biggan-512"} <= found.keys()
    for entry in found.values():
        assert entry.addresses and entry.licence and entry.source.startswith("https://")
        assert all(address.startswith("https://") for address in entry.addresses)
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)


def test_a_damaged_catalogue_is_refused(tmp_path):
    (tmp_path / "weights.toml").write_text("[a]\nfile = 3")
    with pytest.raises(BdganError, match=r"weights\.toml"):
        catalogue(tmp_path / "weights.toml")
    with pytest.raises(BdganError, match="none"):
        catalogue(tmp_path / "none.toml")


def test_of_several_state_dicts_the_one_that_was_taken_is_told(tmp_path, capsys):
    weights = Weights("x", "x.pt", "a network", (), "", "")
    for progress in (True, False):
        torch.save({"model": {"w": torch.zeros(2)}, "ema": {"w": torch.ones(2)}}, tmp_path / "x.pt")
        path = module.fetch_safetensors(weights, tmp_path, progress=progress)
        assert torch.equal(load_file(path)["w"], torch.ones(2))
        assert capsys.readouterr().out == "x: took ema, not model\n" * progress
        path.unlink()
        (tmp_path / "weights.json").unlink()
