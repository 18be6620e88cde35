"""The tutorial's figures: runs every notebook afresh and keeps the summary.

python -m benchmarks.tutorial          about nine minutes on two cores
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Exit status of the run; the summary is kept only if every notebook was done."""
    status = subprocess.call([sys.executable, str(ROOT / "ci/notebooks.py"), "--fresh"])
    if status == 0:
        summary = json.loads((ROOT / "runs/tutorial/latest/summary.json").read_text("utf-8"))
        text = json.dumps(summary, indent=1) + "\n"
        (ROOT / "benchmarks/results/tutorial.json").write_text(text, "utf-8")
        print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
