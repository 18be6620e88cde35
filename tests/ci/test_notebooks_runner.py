"""The laws of the tutorial's runner, held on notebooks of three cells."""

import errno
import html
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bdgan_lib.core.types import BdganError
from bdgan_lib.notebook.report import record_cached, record_metric

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = 'PROFILE, RUN_DIR = "none", "nowhere"'


def book(folder, name, *cells, title="A title", goal="**Goal.** To see."):
    """A notebook `name` whose first code cell is its parameters cell."""
    first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    head = new_markdown_cell(f"# {title}\n\n{goal}")
    notebook = new_notebook(cells=[head, first, *map(new_code_cell, cells)])
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def logged(name):
    """A cell that leaves a line in the run's data folder."""
    write = "with Path(RUN_DIR, 'log').open('a') as log:"
    return f"from pathlib import Path\n{write}\n    print('{name}', PROFILE, file=log)"


@pytest.fixture()
def tutorial(tmp_path, monkeypatch, capsys):
    """A folder of notebooks, a folder for runs (spaces in both), and the runner as a function."""
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    import notebooks as runner

    source, runs = tmp_path / "note books", tmp_path / "the runs"

    def run(*words):
        code = runner.main(["--notebooks", str(source), "--runs", str(runs), *words])
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    def summary():
        return json.loads((runs / "latest" / "summary.json").read_text())

    def log():
        return (runs / "latest" / "data" / "log").read_text().splitlines()

    return SimpleNamespace(source=source, runs=runs, run=run, summary=summary, log=log)


def test_a_failure_stops_the_run_and_the_next_call_goes_on_from_there(tutorial):
    record = "from bdgan_lib.notebook.report import record_metric\nrecord_metric('pocket.frechet', 0.25)"
    book(tutorial.source, "00_first", logged("first"), title="First things")
    book(tutorial.source, "01_second", logged("second"), "\nnumber = 1\nraise ValueError('no\\nluck')")
    book(tutorial.source, "02_third", logged("third"), record)
    book(tutorial.source, "extra_aside", "raise SystemError('not part of the tutorial')")

    stopped = tutorial.run()
    assert stopped.code == 1
    message = next(line for line in stopped.err.splitlines() if line.startswith("error:"))
    for part in ("01_second", "cell 4", "(number = 1)", "ValueError", "luck"):
        assert part in message
    summary = tutorial.summary()
    assert [entry["status"] for entry in summary["notebooks"]] == ["done", "failed", "pending"]
    assert not summary["finished"]
    first_run, first_seconds = (tutorial.runs / "latest").readlink(), summary["notebooks"][0]["seconds"]

    book(tutorial.source, "01_second", logged("second again"))
    assert tutorial.run().code == 0
    assert (tutorial.runs / "latest").readlink() == first_run
    assert tutorial.log() == ["first pocket", "second pocket", "second again pocket", "third pocket"]

    summary = tutorial.summary()
    assert summary["finished"] and summary["profile"] == "pocket"
    assert summary["metrics"]["pocket.frechet"] == 0.25
    assert summary["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert [entry["name"] for entry in summary["notebooks"]] == ["00_first", "01_second", "02_third"]
    assert {entry["status"] for entry in summary["notebooks"]} == {"done"}
    assert summary["notebooks"][0]["seconds"] == first_seconds
    total = sum(entry["seconds"] for entry in summary["notebooks"])
    assert summary["seconds"] == summary["metrics"]["tutorial.seconds"] == pytest.approx(total, abs=0.01)

    folder = tutorial.runs / "latest"
    for entry in summary["notebooks"]:
        nbformat.validate(nbformat.read(folder / "notebooks" / f"{entry['name']}.ipynb", as_version=4))
    pages = [folder / "index.html", *(folder / "notebooks").glob("*.html")]
    assert len(pages) == 4
    for page in pages:
        text = page.read_text("utf-8")
        assert not re.search(r"""<(script|img|link|iframe)[^>]+(src|href)=["'](https?:)?//""", text), page
    index = pages[0].read_text("utf-8")
    assert "First things" in index and "To see." in index and 'href="notebooks/00_first.html"' in index

    # Everything is done: a further call is a new run, and what was there stays.
    book(tutorial.source, "01_second", "1 / 0")
    assert tutorial.run("--only", "00").code == 0
    assert (tutorial.runs / "latest").readlink() == first_run
    assert tutorial.log()[-1] == "first pocket" and len(tutorial.log()) == 5
    statuses = [entry["status"] for entry in tutorial.summary()["notebooks"]]
    assert "pocket.frechet" not in tutorial.summary()["metrics"]
    assert statuses == ["done", "pending", "pending"], "a changed notebook, and those after it, are not done"
    assert tutorial.run("--fresh", "--only", "00_first").code == 0
    assert (tutorial.runs / "latest").readlink() != first_run and (tutorial.runs / first_run).is_dir()


def test_a_run_is_on_one_device_and_another_is_a_run_of_its_own(tutorial):
    book(tutorial.source, "00_first", logged("first").replace("PROFILE, file", "DEVICE, file"))
    path = tutorial.source / "00_first.ipynb"
    path.write_text(path.read_text().replace("PROFILE, RUN_DIR =", "DEVICE = PROFILE, RUN_DIR ="))
    book(tutorial.source, "01_second", "raise ValueError")  # so that neither run is finished
    for device, others in (("cpu", 0), ("mps", 1), ("mps", 1), ("cpu", 2)):
        assert tutorial.run("--device", device).code == 1
        assert tutorial.summary()["device"] == device and tutorial.log() == [f"first {device}"]
        assert len([path for path in tutorial.runs.iterdir() if not path.is_symlink()]) == 1 + others
    assert tutorial.run("--device", "abacus").code == 2


@pytest.mark.parametrize("name", ["00_a b#1?", '01_"x"<i>', "02_100%&amp;", "03_é"])
def test_a_notebook_of_any_name_is_linked_and_shown_as_it_is(tutorial, name):
    from page import write_index
    from run_folder import create

    book(tutorial.source, name, title="")
    run = create(tutorial.runs, "pocket", {name: "a"})
    run.entries[0].status = "done"
    run.notebook(name).parent.mkdir(parents=True, exist_ok=True)
    (tutorial.source / f"{name}.ipynb").rename(run.notebook(name))
    write_index(run, run.save(), tutorial.source)
    page = (run.path / "index.html").read_text("utf-8")
    (link,) = re.findall(r'<a href="(notebooks/[^"]*)">(.*?)</a>', page)
    assert unquote(link[0]) == f"notebooks/{name}.html" and not set("#?<>") & set(link[0])
    assert html.unescape(link[1]) == name and "<" not in link[1]


def test_a_page_keeps_solutions_folded_and_links_to_pages_that_exist_alone(tmp_path):
    from page import write_html

    text = (
        "# A\n\n<details><summary>Solution</summary>\n\nThe *answer*.\n\n"
        "```python\nanswer = 1\n```\n\n</details>\n\n"
        "Next: [one](01_b.ipynb#part), aside [other](extra_c.ipynb), [paper](https://example.org/x.ipynb)."
    )
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    write_html(executed, tmp_path / "00_a.ipynb", {"00_a", "01_b"})
    page = (tmp_path / "00_a.html").read_text("utf-8")
    (folded,) = re.findall(r"<details>(.*?)</details>", page, re.DOTALL)
    assert "<em>answer</em>" in folded and "answer" in folded.split("<pre>")[1]
    assert '<a href="01_b.html#part">one</a>' in page
    assert "aside other," in page and 'href="https://example.org/x.ipynb"' in page


def test_metrics_are_merged_and_a_notebook_replaces_its_own(tutorial, monkeypatch):
    from page import write_index
    from run_folder import create

    book(tutorial.source, "00_one")
    book(tutorial.source, "01_two")
    run = create(tutorial.runs, "pocket", {"00_one": "a", "01_two": "b"})
    monkeypatch.setenv("BDGAN_RUN", str(run.path))
    monkeypatch.setenv("BDGAN_NOTEBOOK", "00_one")
    record_metric("pocket.frechet", 0.5)
    record_metric("pocket.frechet", 0.25)
    record_cached("pocket.frechet")
    monkeypatch.setenv("BDGAN_NOTEBOOK", "01_two")
    record_metric("head.fgbg_miou", 0.95)
    for entry in run.entries:
        entry.status = "done"
    summary = run.save()
    assert summary["metrics"] == {"tutorial.seconds": 0, "pocket.frechet": 0.25, "head.fgbg_miou": 0.95}
    assert summary["cached"] == ["pocket.frechet"]
    write_index(run, summary, tutorial.source)
    index = (run.path / "index.html").read_text("utf-8")
    assert "✗ missed" in index and "✓ met" in index and "from a cache" in index

    run.forget_metrics("00_one")
    summary = run.summary()
    assert summary["metrics"] == {"tutorial.seconds": 0, "head.fgbg_miou": 0.95} and summary["cached"] == []


@pytest.mark.parametrize(
    "words", [["--only", "09_nothing"], ["--profile", "moon"], ["--faster"], ["surplus"]]
)
def test_a_mistake_is_one_line_and_writes_nothing(tutorial, words):
    book(tutorial.source, "00_first", "1")
    answer = tutorial.run(*words)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.count("\n") == 1 and words[-1] in answer.err
    assert not tutorial.runs.exists()


def test_a_damaged_or_missing_notebook_is_named_before_anything_runs(tutorial):
    tutorial.source.mkdir()
    assert tutorial.run().code == 2
    book(tutorial.source, "00_first", "1")
    (tutorial.source / "01_cut.ipynb").write_text('{"cells": [{"cell_type": "code"')
    answer = tutorial.run()
    assert answer.code == 2 and "01_cut.ipynb" in answer.err and answer.err.count("\n") == 1
    assert not tutorial.runs.exists()


def test_no_space_left_is_one_line_and_leaves_no_half_written_file(tutorial, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    book(tutorial.source, "00_first", "1")
    monkeypatch.setattr(os, "fsync", full)
    answer = tutorial.run()
    assert answer.code == 2 and "no space left" in answer.err and answer.err.count("\n") == 1
    assert list(tutorial.runs.rglob("*")) == []


def test_the_kernel_is_this_interpreter_and_leaves_the_home_alone(tutorial, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.delenv(name, raising=False)
    # A kernel of the same name that the user has in the home must not be taken.
    decoy = home / ".local/share/jupyter/kernels/python3"
    decoy.mkdir(parents=True)
    kernel = {"argv": ["false", "{connection_file}"], "display_name": "decoy", "language": "python"}
    (decoy / "kernel.json").write_text(json.dumps(kernel))
    before = sorted(home.rglob("*"))
    book(tutorial.source, "00_first", "import sys", f"assert sys.prefix == {sys.prefix!r}, sys.prefix")
    answer = tutorial.run()
    assert answer.code == 0, answer.err
    assert sorted(home.rglob("*")) == before


def test_ctrl_c_is_clean_and_the_run_can_be_gone_on_with(tutorial):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    interrupt = "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)"
    book(tutorial.source, "00_first", interrupt)
    answer = tutorial.run()
    assert answer.code == 130
    assert "Traceback" not in answer.err and "goes on" in answer.err
    assert [entry["status"] for entry in tutorial.summary()["notebooks"]] == ["pending"]
    book(tutorial.source, "00_first", "1")
    assert tutorial.run().code == 0 and len(list(tutorial.runs.glob("2*"))) == 1


def test_the_next_kernel_imports_ahead_and_is_gone_after_a_failure(tutorial):
    """What a notebook imports is loaded when its first cell runs, but has no name there."""
    early = "import sys\nassert 'wave' in sys.modules and 'wave' not in globals()"
    book(tutorial.source, "00_first", "1")
    book(tutorial.source, "01_second", "%matplotlib inline", early, "import wave")
    book(tutorial.source, "02_third", "import time", "1", "1", "1 / 0")
    book(tutorial.source, "03_fourth", "1")
    assert tutorial.run().code == 1
    assert [e["status"] for e in tutorial.summary()["notebooks"]] == ["done", "done", "failed", "pending"]
    children = psutil.Process().children(recursive=True)
    left = [child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]
    assert left == []


def test_the_arguments_are_checked_without_the_library():
    """tutorial.sh does so before it installs anything: -S -I leaves only the standard library."""
    command = [sys.executable, "-I", "-S", "-B", str(ROOT / "ci" / "notebooks.py"), "--check"]
    done = subprocess.run([*command, "--only", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_outside_a_run_a_metric_is_only_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BDGAN_RUN", raising=False)
    record_metric("pocket.frechet", 0.00312)
    record_cached("pocket.frechet")
    assert capsys.readouterr().out == "pocket.frechet = 0.00312\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, value", [("Pocket Frechet", 1.0), ("", 1.0), ("a..b", 1.0), ("a", float("nan"))]
)
def test_a_metric_without_a_name_or_a_number_is_refused(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv("BDGAN_RUN", str(tmp_path))
    with pytest.raises(BdganError):
        record_metric(name, value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture()
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    import page as module

    return module


@pytest.mark.parametrize(
    "prose, goal",
    [
        ("# T\n\n**Goal.** See it.\n\nMore.", "See it."),
        ("# T\n**Goal:** See\nit.", "See it."),
        ("# T\n\n![x](y.png)\n\n- a list\n\nSee it.", "See it."),
        ("# T", ""),
    ],
)
def test_a_card_shows_the_first_paragraph(page, prose, goal):
    cells = [new_markdown_cell(prose), new_code_cell("1"), new_markdown_cell("Later prose.")]
    notebook = new_notebook(cells=cells)
    assert page.title_of(notebook) == "T"
    assert page.goal_of(notebook) == goal


def test_prose_cannot_put_markup_into_the_page(page):
    assert "<script" not in page._inline("**a** <script>alert(1)</script> [b](javascript:x)")
    assert page._inline("*a* **b** `c<d` 2*3*4") == "<em>a</em> <strong>b</strong> <code>c&lt;d</code> 2*3*4"


def test_scripts_from_elsewhere_are_dropped_and_others_kept(page):
    keep = page._without_remote_scripts
    assert keep('<script src="https://cdn.example/x.js"></script>') == ""
    assert keep('<script type="module">import m from "https://cdn.jsdelivr.net/m.js"</script>a') == "a"
    assert keep("<script>animate()</script>") == "<script>animate()</script>"
