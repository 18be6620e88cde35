"""The figures of the photographs' chapter: runs the notebook and keeps what it measured.

python -m benchmarks.photographs                   a quarter of an hour, and two hours for the generator, once
python -m benchmarks.photographs --biggan MODEL    keeps beside them what `bdgan train-generator` reported
"""

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NAME = "extra_photographs.ipynb"
RESULT = ROOT / "benchmarks/results/photographs.json"


def figures(notebook: NotebookNode) -> dict[str, float]:
    """What the cells of an executed notebook printed as `photographs.NAME = VALUE`."""
    outputs = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    found = re.findall(r"^photographs\.(\w+) = (\S+)$", "".join(outputs), re.MULTILINE)
    return {name: float(value) for name, value in found}


def reported(model: Path) -> dict[str, float]:
    """What a model folder of a BigGAN says of itself: `inversion_psnr`, and the rest as `biggan_NAME`."""
    report = json.loads((model / "report.json").read_text("utf-8"))
    del report["dropped"]
    return {name if name == "inversion_psnr" else f"biggan_{name}": value for name, value in report.items()}


def main() -> int:
    """Run the chapter, or read a report, and write `results/photographs.json`."""
    from papermill.execute import execute_notebook

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--biggan", type=Path)
    options = parser.parse_args()
    kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    if options.biggan:
        return keep({**kept, **reported(options.biggan)})
    executed = ROOT / "runs" / NAME
    executed.parent.mkdir(exist_ok=True)
    execute_notebook(str(ROOT / "notebooks" / NAME), str(executed), cwd=str(ROOT / "notebooks"))
    return keep({**kept, **figures(nbformat.read(executed, 4))})


def keep(found: dict[str, float]) -> int:
    """Write and print the figures."""
    text = json.dumps(found, indent=1) + "\n"
    RESULT.write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
