"""The figures of the photographs' chapter: runs the notebook and keeps what it measured.

python -m benchmarks.photographs       a quarter of an hour, and two hours for the generator, once
"""

import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NAME = "extra_photographs.ipynb"


def figures(notebook: NotebookNode) -> dict[str, float]:
    """What the cells of an executed notebook printed as `photographs.NAME = VALUE`."""
    outputs = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    found = re.findall(r"^photographs\.(\w+) = (\S+)$", "".join(outputs), re.MULTILINE)
    return {name: float(value) for name, value in found}


def main() -> int:
    """Run the chapter and write `results/photographs.json`."""
    from papermill.execute import execute_notebook

    executed = ROOT / "runs" / NAME
    executed.parent.mkdir(exist_ok=True)
    execute_notebook(str(ROOT / "notebooks" / NAME), str(executed), cwd=str(ROOT / "notebooks"))
    text = json.dumps(figures(nbformat.read(executed, 4)), indent=1) + "\n"
    (ROOT / "benchmarks/results/photographs.json").write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
