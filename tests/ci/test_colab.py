"""The first cell of every notebook installs on Colab beside Colab's torch, and does nothing elsewhere."""

import importlib.util
import json
import re
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
spec = importlib.util.spec_from_file_location("colab", ROOT / "ci/colab.py")
colab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(colab)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_first_code_cell_is_the_one_of_colab(path):
    first = next(c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code")
    assert first["metadata"]["tags"] == ["colab"]
    assert "".join(first["source"]) == colab.CELL.format(repository=colab.repository_address())


def test_the_address_is_written_into_every_file_and_changes_nothing_else(tmp_path):
    names = ["pyproject.toml", "CITATION.cff", "README.md", "CONTRIBUTING.md", "docs/troubleshooting.md"]
    before = {p: (ROOT / p).read_bytes() for p in [*names, *(f"notebooks/{n.name}" for n in NOTEBOOKS)]}
    for name, content in before.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    read = lambda name: (tmp_path / name).read_text("utf-8")
    colab.write_address(tmp_path, "https://host/x.git")
    assert all("clone -q --depth 1 https://host/x.git" in read(f"notebooks/{n.name}") for n in NOTEBOOKS)
    assert "https://host/x.git" in read("CITATION.cff") and "https://host/x.git" in read("CONTRIBUTING.md")
    assert colab.repository_address(tmp_path) == "https://host/x.git"
    colab.write_address(tmp_path, "https://github.com/some.one/x.git")
    colab.write_address(tmp_path, "https://github.com/some.one/bdgan")
    for path in NOTEBOOKS:
        head = "".join(json.loads(read(f"notebooks/{path.name}"))["cells"][0]["source"]).splitlines()
        assert head[2] == colab.LINK.format(owner="some.one/bdgan", name=path.name) and not head[3]
    badge = colab.BADGE.format(repository="https://github.com/some.one/bdgan")
    assert read("README.md").splitlines()[2] == badge and read("README.md").count("[![tests](") == 1
    for path in NOTEBOOKS:
        (cell,) = re.findall(rf"(?m)^\| \[.*\]\(notebooks/{path.name}\) \| .* \| (.*) \|$", read("README.md"))
        links = re.findall(r"\[(\w+)\]\((\S+)\)", cell)
        for (host, link), (name, form) in zip(links, colab.HOSTS.items(), strict=True):
            assert host == name and link == form.format(owner="some.one/bdgan", name=path.name)
    assert "| notebook | question | open in |\n|---|---|---|\n" in read("README.md")
    assert colab.HOSTED in read("README.md") and colab.UNHOSTED not in read("README.md")
    colab.write_address(tmp_path, colab.repository_address())
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_without_an_address_on_github_no_link_pretends_to_open_a_notebook():
    readme = (ROOT / "README.md").read_text("utf-8")
    hosted = colab.repository_address().startswith("https://github.com/")
    hosts = [host for host in ("colab.research.google.com", "kaggle.com", "mybinder.org") if host in readme]
    assert len(hosts) == (3 if hosted else 0) and (colab.UNHOSTED in readme) is not hosted
    assert ("[![" in readme) is hosted
    assert set(re.findall(r"\(notebooks/([\w.-]+\.ipynb)\) \|", readme)) == {path.name for path in NOTEBOOKS}


@pytest.fixture
def pip(monkeypatch):
    """What pip was called with, in place of calling it."""
    calls = []

    def run(command, **_):
        calls.append((command, Path(command[command.index("--constraint") + 1]).read_text()))
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(colab.subprocess, "run", run)
    return calls


def test_torch_is_held_at_the_version_that_is_there_and_widgets_are_allowed(pip, monkeypatch, tmp_path):
    allowed = []
    module = types.ModuleType("google.colab")
    module.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: allowed.append(True))
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    colab.prepare(tmp_path)
    ((command, held),) = pip
    assert f"torch=={version('torch')}" in held.splitlines()
    assert command[-2:] == ["--editable", f"{tmp_path}[vqgan,widget]"]
    assert allowed == [True] and sys.path[0] == str(tmp_path) and Path.cwd() == tmp_path / "notebooks"


def test_a_failed_installation_is_one_error_with_pip_s_reason(monkeypatch, tmp_path):
    failed = types.SimpleNamespace(returncode=1, stderr="...\nERROR: no space left")
    monkeypatch.setattr(colab.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="no space left"):
        colab.install(tmp_path)
