"""What the site's pages are made of: docstrings, notebooks, shipped numbers, and the lines of errors."""

import ast
import importlib.util
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

sys.path.append(str(DOCS / "make"))

import api  # noqa: E402
import chapters  # noqa: E402
import measured  # noqa: E402
import prose  # noqa: E402


def shown(markdown: str) -> str:
    """The text that a reader sees, without tags."""
    tokens = MarkdownIt().parse(markdown)
    return "".join(child.content for token in tokens for child in token.children or [])


@given(st.text(alphabet=r"ab 1.*_<>[]()#|{}~$^\&!:", min_size=1, max_size=40))
def test_plain_text_comes_through_markdown_as_it_was(text):
    assert shown(prose.plain(f"a{text}b")) == f"a{text}b"


def test_a_docstring_keeps_its_paragraphs_sections_and_code():
    restructured = runpy.run_path(str(DOCS / "conf.py"))["restructured"]
    source = """Shapes [N, *] of `Sample` and `<id>.png`s.

A sentence that is broken
  and goes on.

    python -m x_

Args:
    class_ids: what is_ kept,
        and how.

- one
- two"""
    assert restructured(source).split("\n\n") == [
        r"Shapes [N, \*] of :py:obj:`Sample` and ``<id>.png``\ s.",
        "A sentence that is broken\nand goes on.",
        "::",
        "    python -m x_",
        "Args:\n    class_ids: what is\\_ kept,\n        and how.",
        "- one\n- two",
    ]


def test_all_that_is_public_stands_in_the_reference_once(tmp_path):
    names = ["core.types", "core.sampling", "synthesis.spec", "heads.ensemble"]
    api.write_api(ROOT / "bdgan_lib", tmp_path / "docs/api")
    pages = [tmp_path / f"docs/api/{room}.rst" for room in ("core", "synthesis", "heads")]
    page = "\n".join(path.read_text("utf-8") for path in pages)
    directives = [f".. automodule:: bdgan_lib.{name}\n" for name in names]
    assert [page.count(directive) for directive in directives] == [1] * len(names)
    shutil.rmtree(tmp_path / "docs/api")
    (tmp_path / "docs/index.rst").write_text("API\n===\n\n" + "\n".join(directives), "utf-8")
    for file in ("pyproject.toml", "docs/conf.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(DOCS / "_static", tmp_path / "docs/_static")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "text", "docs", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # a definition that stands there twice is a warning
    text = (tmp_path / "text/index.txt").read_text("utf-8")
    for name in names:
        module = importlib.import_module(f"bdgan_lib.{name}")
        for member, value in vars(module).items():
            if getattr(value, "__module__", None) == module.__name__ and not member.startswith("_"):
                head = rf"(?:class|exception) {member}\b" if inspect.isclass(value) else rf"{member}\("
                assert len(re.findall(f"^{head}", text, re.MULTILINE)) == 1, member
    assert "[B, 3, H, W]" in text, "the comment behind a field is its description"


PIXEL = b64encode(b"any bytes").decode()


def test_a_chapter_is_its_notebook_with_a_text_for_every_picture(tmp_path):
    data = {"image/png": PIXEL, "text/plain": "<Figure>"}
    picture = lambda **metadata: new_output("display_data", data, metadata=metadata)
    widget = new_output("execute_result", {chapters.WIDGET: {"model_id": "0"}, "text/plain": "x"})
    cells = [
        new_markdown_cell("# 3 · Heads\n[![Colab](https://elsewhere/badge.svg)](https://elsewhere)"),
        new_code_cell("!install", metadata={"tags": ["colab"]}),
        new_code_cell("a", outputs=[picture(**{"image/png": {"alt": "A [curve]"}}), widget]),
        new_code_cell("b", outputs=[picture(), picture()], metadata={"alt": "Two bars"}),
        new_markdown_cell("text\n\n## Where they disagree\n\ntext"),
        new_markdown_cell("no heading"),
        new_code_cell("c", outputs=[picture(alt="Doubt")]),
        new_code_cell("d", outputs=[picture(), new_output("stream", text="said")]),
    ]
    (tmp_path / "in").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "in/03_heads.ipynb")
    chapters.write_chapters(tmp_path / "in", tmp_path / "out")
    found = nbformat.read(tmp_path / "out/03_heads.ipynb", 4).cells
    assert [cell.source for cell in found if cell.cell_type == "code"] == list("abcd")
    assert found[0].source == "# 3 · Heads\n[Colab](https://elsewhere)"
    assert [len(cell.get("outputs", [])) for cell in found] == [0, 1, 2, 0, 0, 1, 2]
    outputs = [output for cell in found for output in cell.get("outputs", [])]
    texts = [output.data["text/markdown"] for output in outputs if "data" in output]
    wanted = ["A [curve]", "Two bars, 1", "Two bars, 2", "Doubt"]
    wanted += ["Figure under the heading “Where they disagree”"]
    assert [re.search('alt="(.*?)"', MarkdownIt().render(text))[1] for text in texts] == wanted
    for text in texts:
        file = tmp_path / "out" / re.search(r"\((.+)\)$", text)[1]
        assert file.read_bytes() == b"any bytes"
    assert "[3 · Heads](03_heads.ipynb)" in (tmp_path / "out/index.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["1 a (b)", "2 [x](y)", "3#4?", "5 <script>", "6%20é"])
def test_a_chapter_of_any_name_is_linked_and_shown_as_it_is(name, tmp_path):
    (tmp_path / "in").mkdir()
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# {name}")]), tmp_path / f"in/{name}.ipynb")
    nbformat.write(new_notebook(cells=[]), tmp_path / "in/untitled _x_.ipynb")
    chapters.write_chapters(tmp_path / "in", tmp_path / "out")
    page = (tmp_path / "out/index.md").read_text("utf-8")
    children = [child for token in MarkdownIt().parse(page) for child in token.children or []]
    links = [unquote(child.attrs["href"]) for child in children if child.type == "link_open"]
    assert links == [f"{name}.ipynb", "untitled _x_.ipynb"]
    assert f"- {name}- untitled _x_" in "- ".join(child.content for child in children if child.content)
    assert {child.type for child in children} <= {
        "text",
        "text_special",
        "code_inline",
        "softbreak",
        "link_open",
        "link_close",
    }


def test_every_table_of_numbers_can_be_made():
    pages = "".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    names = re.findall(r"^% table: (.+)$", pages, re.MULTILINE)
    shipped = {path.stem for path in (ROOT / "assets/pocket/experiments").glob("*.json")}
    assert shipped <= set(names), "every shipped experiment is shown"
    for name in names:
        text = measured.table(name)
        assert "Measured here: " in text or name not in shipped
    cells = json.loads((ROOT / "assets/pocket/experiments/set-size.json").read_text("utf-8"))["cells"]
    runs = [cell["miou"] for key, cell in cells.items() if key.startswith("250 / FG/BG / ")]
    assert f"| 250 | {np.mean(runs):.3f} ± {np.std(runs, ddof=1):.3f} |" in measured.table("set-size")


def test_the_errors_that_are_explained_are_those_that_are_raised():
    texts = [(ROOT / "ci/environment.sh").read_text("utf-8").replace('" \\\n        "', " ")]
    for path in [*(ROOT / "bdgan_lib").rglob("*.py"), ROOT / "ci/colab.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                texts += [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
    texts.append((ROOT / "bdgan_lib/annotation/widget.js").read_text("utf-8"))
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    terms = re.findall(r"^\*\*(?:Colab: )?`(?!ModuleNotFound)(.+?)`", page, re.MULTILINE)
    assert len(terms) > 30
    for term in terms:
        for piece in filter(None, map(str.strip, term.split("…"))):
            assert any(piece in text for text in texts), f"nothing says {piece!r}"


def test_the_page_on_generators_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, _recipes = (DOCS / "own_generator.md").read_text("utf-8").split("\n## Recipes\n")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    names = {"__name__": "page"}
    exec(compile(code, "own_generator.md", "exec"), names)
    assert names["images"].shape == (100, 32, 32, 3) and names["masks"].shape == (100, 32, 32)


def test_the_clicks_beside_sam_are_those_that_were_measured():
    page = (DOCS / "why_not_sam.md").read_text("utf-8")
    result = json.loads((ROOT / "assets/pocket/experiments/annotation-clicks.json").read_text("utf-8"))
    groups: dict[str, list] = {}
    for cell in result["cells"].values():
        groups.setdefault(cell["tool"], []).append(cell)
    for tool, cells in groups.items():
        mean, median, reached = (
            np.mean([c[key] for c in cells]) for key in ("mean_clicks", "median_clicks", "reached")
        )
        assert f" | {mean:.1f} | {median:g} | {reached:.0%} |" in page, tool
    head = json.loads((ROOT / "assets/pocket/experiments/label-head.json").read_text("utf-8"))[
        "cells"
    ].values()
    assert f"{np.mean([c['fgbg_miou'] for c in head if c['trial'] == 'fast']):.3f}" in page


PAGES = {*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "assets/README.md"} - {ROOT / "CHANGELOG.md"}


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_and_every_name_that_a_page_mentions_is_there(page):
    text = page.read_text("utf-8")
    rooms = "bdgan_lib|tests|ci|docs|assets|benchmarks|notebooks"
    for path in re.findall(rf"(?<![\w./-])((?:{rooms})/[\w./-]*\w)", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:bdgan_lib|benchmarks)[\w.]*\w)", text):
        assert module == "benchmarks.NAME" or importlib.util.find_spec(module), module
    names = re.findall(r"<(bdgan_lib[\w.]+)\.(\w+)>", text)
    for module, imported in re.findall(r"^from (bdgan_lib[\w.]*) import (.+)$", text, re.MULTILINE):
        names += [(module, name) for name in imported.split(", ")]
    for module, name in names:
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_a_folder_that_is_no_site_is_not_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, str(DOCS / "make"), "--out", str(tmp_path), "--figures", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
