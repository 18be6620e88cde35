"""The npm package of the page that runs the model: pinned, checked, and left out where there is no npm."""

import io
import json
import os
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs/make"))

import model_page  # noqa: E402
import runtime  # noqa: E402


def archive(files: dict[str, bytes]) -> bytes:
    """An npm package of these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as package:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return data.getvalue()


PACKAGE = archive({name: name.encode() for name in (*runtime.PIN["files"], "dist/other.js")})


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """npm(body): a shell script that stands for npm; $5 is the folder that a package goes to."""

    def make(body: str) -> None:
        program = tmp_path / "bin/npm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    (tmp_path / "package.tgz").write_bytes(PACKAGE)
    monkeypatch.setitem(runtime.PIN, "sha256", sha256(PACKAGE).hexdigest())
    return make


def test_the_package_is_fetched_once_by_its_exact_version(npm, tmp_path, capsys):
    npm(f'echo "$@" >>{tmp_path}/calls; cp {tmp_path}/package.tgz "$4/{runtime.NAME}"')
    file = runtime.runtime(tmp_path / "cache")
    assert file is not None and file.read_bytes() == PACKAGE
    assert runtime.runtime(tmp_path / "cache") == file
    (call,) = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert call.startswith(f"pack {runtime.PIN['package']}@{runtime.PIN['version']} --pack-destination ")
    assert capsys.readouterr().err == "" and [*(tmp_path / "cache").iterdir()] == [file]
    runtime.unpack(file, tmp_path)
    names = [Path(name).name for name in runtime.PIN["files"]]
    assert all((tmp_path / name).read_bytes().decode().endswith(name) for name in names)
    assert not (tmp_path / "other.js").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [("echo offline >&2; exit 1", "failed: offline"), ("exit 0", "it said nothing"),
     ('echo other >"$4/NAME"', "has sha256")],
)  # fmt: skip
def test_a_package_that_is_not_the_pinned_one_is_not_kept(npm, tmp_path, capsys, body, said):
    npm(body.replace("NAME", runtime.NAME))
    assert runtime.runtime(tmp_path / "cache") is None
    line = capsys.readouterr().err
    assert said in line and line.endswith("is left out\n") and line.count("\n") == 1
    assert [*(tmp_path / "cache").iterdir()] == []


def test_without_npm_the_site_has_no_such_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(runtime, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setattr(model_page, "model_files", lambda: pytest.fail("work"))
    assert not model_page.write_model_page(tmp_path / "docs")
    assert "npm is not installed" in capsys.readouterr().err and not (tmp_path / "docs").exists()


def test_the_pin_names_one_version_and_no_host():
    pin = json.loads((ROOT / "docs/make/play/runtime.json").read_text("utf-8"))
    assert set(pin) == {"package", "version", "sha256", "files"} and len(pin["sha256"]) == 64
    assert "://" not in json.dumps(pin) and pin["version"].replace(".", "").isdigit()
    assert len((ROOT / "docs/make/play/linear_head.js").read_text("utf-8").splitlines()) <= 200
