"""The committed notebooks as a reader meets them: headed, linked, described, with solutions that parse."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SOLUTION = re.compile(r"<details><summary>Solution</summary>\n\n(.*?)\n</details>", re.DOTALL)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, 4)


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_it_begins_with_what_one_learns_and_what_it_costs(notebook):
    head = notebook.cells[0].source
    for part in ("# ", "**Goal.**", "| You will learn |", "| Prerequisites |", "| Time and memory |"):
        assert part in head, part
    cost = next(line for line in head.splitlines() if "Time and memory" in line)
    for part in ("CPU", "T4", "A100", "estimated"):
        assert part in cost, part


def test_the_times_of_the_tutorial_are_those_that_were_measured():
    summary = json.loads((FOLDER.parent / "benchmarks/results/tutorial.json").read_text("utf-8"))
    for measured in summary["notebooks"]:
        head = nbformat.read(FOLDER / f"{measured['name']}.ipynb", 4).cells[0].source
        (seconds,) = re.findall(r"Time and memory \| (\d+) s", head)
        assert abs(int(seconds) - measured["seconds"]) <= 1, measured["name"]


def test_its_links_lead_to_notebooks_that_are_there(notebook):
    linked = re.findall(r"\]\(([\w.-]+\.ipynb)", prose(notebook))
    assert linked and all((FOLDER / name).exists() for name in linked), linked
    assert notebook.cells[-1].cell_type == "markdown" and ".ipynb)" in notebook.cells[-1].source


def test_every_exercise_has_a_solution_that_parses(notebook):
    _, _, exercises = prose(notebook).partition("## Exercises")
    solutions = SOLUTION.findall(exercises)
    assert len(re.findall(r"^\d\. ", exercises, re.MULTILINE)) == len(solutions) > 0
    for code in re.findall(r"```python\n(.*?)```", "\n".join(solutions), re.DOTALL):
        ast.parse(code)


def test_code_fits_on_a_screen_and_only_the_point_of_a_lesson_is_long(notebook):
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    shown = [*cells, *re.findall(r"```python\n(.*?)```", prose(notebook), re.DOTALL)]
    assert not [line for code in shown for line in code.splitlines() if len(line) > 110]
    assert sum(len(cell.splitlines()) > 25 for cell in cells) <= 1


def test_every_picture_has_words(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in [k for k in output.get("data", {}) if k in ("image/png", "image/jpeg")]:
                said = output.metadata.get(kind, {}).get("alt", "")
                assert len(said) > 12, cell.source


def test_it_is_small_and_names_no_place_of_its_making():
    for path in NOTEBOOKS:
        assert path.stat().st_size < 1_500_000, path
        assert not re.search(r"(?<![\w.])/(tmp|root|home|work)/", path.read_text("utf-8")), path
