"""Pins, conda file and installer: what they promise, without installing anything."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LINES = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
PINS = [Requirement(line) for line in LINES if line and not line.startswith("#")]
MACHINES = [
    {"python_version": version, "python_full_version": full, "sys_platform": platform}
    | {"platform_machine": machine}
    | {"os_name": "posix", "platform_python_implementation": "CPython", "implementation_name": "cpython"}
    | {"platform_system": {"linux": "Linux", "darwin": "Darwin"}[platform], "extra": ""}
    for version, full in (("3.10", "3.10.13"), ("3.11", "3.11.7"), ("3.12", "3.12.1"))
    for platform, machine in (("linux", "x86_64"), ("darwin", "arm64"))
]
REQUIRED = [Requirement(text) for text in PROJECT["dependencies"]] + [
    Requirement(text)
    for texts in PROJECT["optional-dependencies"].values()
    for text in texts
    if Requirement(text).name != PROJECT["name"]  # an extra may name others of the project
]


def pins_on(machine: dict[str, str]) -> dict[str, str]:
    """{package: version} of requirements.txt on one machine; one pin per package."""
    found: dict[str, str] = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate(machine):
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(pin.name) not in found, f"{pin.name} is pinned twice"
            found[canonicalize_name(pin.name)] = specifier.version
    return found


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['sys_platform']}")
def test_every_direct_dependency_has_one_pin_that_fits(machine: dict[str, str]) -> None:
    pins = pins_on(machine)
    for required in REQUIRED:
        if required.marker is not None and not required.marker.evaluate(machine):
            continue
        name = canonicalize_name(required.name)
        assert name in pins, f"{name} has no pin: run 'bash ci/pins.sh'"
        fits = required.specifier.contains(pins[name], prereleases=True)
        assert fits, f"{name} {pins[name]} is not {required}"
    assert "setuptools" in pins, "the editable install builds without fetching anything"


def test_the_pins_name_no_host_and_no_option() -> None:
    assert LINES[0].startswith("# ") and "ci/pins.sh" in LINES[0]
    for line in LINES[1:]:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( ; .+)?", line), line
        assert "://" not in line and " --" not in line


def test_conda_installs_the_same_pins() -> None:
    yaml = pytest.importorskip("yaml")
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    names = [re.fullmatch(r"[a-z0-9-]+", channel) for channel in conda["channels"]]
    assert all(names), "channels by name, no hosts"
    python = next(d for d in conda["dependencies"] if isinstance(d, str) and d.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")
    (pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.txt"], "one place for the pins"
    assert "pip" in conda["dependencies"]


def test_the_python_that_is_asked_for_is_the_one_that_is_tested() -> None:
    assert PROJECT["requires-python"] == ">=3.10"
    assert "(3, 10)" in (ROOT / "ci" / "environment.sh").read_text("utf-8")


@pytest.fixture()
def clone(tmp_path: Path) -> Path:
    """What the two commands need, in a folder with spaces."""
    place = tmp_path / "a clone" / "bdgan lib"
    place.mkdir(parents=True)
    shutil.copytree(ROOT / "ci", place / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, place)
    (place / "notebooks").mkdir()
    (place / "notebooks" / "00_start.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4}')
    return place


def call(clone: Path, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the commands from another folder; anything it would install or write is a failure."""
    environment = {**os.environ, "BDGAN_PYTHON": sys.executable, **variables}
    environment.pop("BDGAN_VENV", None)
    before = sorted(clone.rglob("*"))
    command = ["bash", str(clone / "ci" / script), *words]
    where = {"cwd": clone.parent, "env": environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **where)
    assert sorted(clone.rglob("*")) == before, "nothing is written before the mistake is told"
    return done


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("words", [["--faster"], ["--only", "09_nothing"], ["--profile", "moon"]])
def test_a_mistyped_option_is_told_before_installing(clone: Path, words: list[str]) -> None:
    assert_one_line(call(clone, "tutorial.sh", *words), words[-1])


def test_help_installs_nothing(clone: Path) -> None:
    done = call(clone, "tutorial.sh", "--help")
    assert done.returncode == 0 and "--only" in done.stdout


@pytest.mark.parametrize("script", ["tutorial.sh", "test.sh"])
def test_a_python_that_is_too_old_or_absent_is_told(clone: Path, tmp_path: Path, script: str) -> None:
    old = program(tmp_path / "old-python", "exit 1")
    assert_one_line(call(clone, script, BDGAN_PYTHON=old), "3.10", old)
    assert_one_line(call(clone, script, BDGAN_PYTHON=str(tmp_path / "nowhere")), "3.10", "nowhere")


def test_without_any_python_the_line_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    program(tools / "python3", 'case "$1" in --version) echo Python 3.9.1 ;; *) exit 1 ;; esac')
    done = call(clone, "test.sh", BDGAN_PYTHON="", PATH=str(tools))
    assert_one_line(done, "Python 3.10", "Python 3.9.1", "BDGAN_PYTHON")


def test_a_python_without_venv_is_told(clone: Path, tmp_path: Path) -> None:
    bare = program(
        tmp_path / "bare-python",
        'case "$*" in\n*"import venv"*) exit 1 ;;\n*_base_executable*) echo "$0" ;;\n'
        f'*) exec {shlex.quote(sys.executable)} "$@" ;;\nesac',
    )
    assert_one_line(call(clone, "test.sh", BDGAN_PYTHON=bare), "venv", "python3-venv")


@pytest.mark.parametrize("script", ["tutorial.sh", "test.sh"])
def test_too_little_space_is_told_before_installing(clone: Path, script: str) -> None:
    assert_one_line(call(clone, script, BDGAN_NEED_GB="99999999"), "99999999 GB")


def test_an_environment_of_someone_else_is_left_alone(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "mine").write_text("precious")
    assert_one_line(call(clone, "test.sh"), "BDGAN_VENV")


def test_a_failed_installation_leaves_no_environment(clone: Path, tmp_path: Path) -> None:
    """A Python whose venv has a pip that runs out of space."""
    fake = program(
        tmp_path / "full-python",
        'case "$*" in\n'
        '*_base_executable*) echo "$0" ;;\n'
        f'"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;\n'
        '"-m pip"*) echo "ERROR: [Errno 28] No space left on device" >&2; exit 1 ;;\n'
        f'*) exec {shlex.quote(sys.executable)} "$@" ;;\nesac',
    )
    done = call(clone, "test.sh", BDGAN_PYTHON=fake, BDGAN_NEED_GB="0")
    assert_one_line(done, "no space left")
    assert not (clone / ".venv").exists()
