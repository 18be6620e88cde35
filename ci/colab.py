"""On Colab: installs this project beside the packages that are there, and opens the door for widgets.

    %run /content/bdgan_lib/ci/colab.py          in a notebook: the first cell of each does this
    python ci/colab.py --repository ADDRESS      writes the address the cells clone from into all notebooks,
                                                 and for one on GitHub a link that opens each on Colab

What Colab brings (torch, torchvision, numpy) is held at its version: one made for its GPU drivers stays.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELD = ("torch", "torchvision", "torchaudio", "numpy")
CELL = """\
# Only on Colab: install the project beside the torch that is there.
import sys

if "google.colab" in sys.modules:
    !test -d /content/bdgan_lib || git clone -q --depth 1 {repository} /content/bdgan_lib
    %run /content/bdgan_lib/ci/colab.py"""
REPOSITORY = "https://example.org/bdgan_lib.git"
LINK = "[▶ Open in Colab](https://colab.research.google.com/github/{owner}/blob/main/notebooks/{name})"


def held() -> list[str]:
    """Constraints for pip: the versions that are installed."""
    found = []
    for name in HELD:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def install(root: Path) -> None:
    """The project (editable, so its assets are found) and its needs; RuntimeError with pip's own words."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "held.txt"
        constraints.write_text("\n".join(held()) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                   "--constraint", str(constraints), "--editable", f"{root}[vqgan,widget]"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"the installation failed ({last}); restart the session and run this cell again")


def prepare(root: Path) -> None:
    """Install, make the package importable in this very kernel, allow widgets, go where notebooks live."""
    install(root)
    sys.path.insert(0, str(root))
    os.chdir(root / "notebooks")
    from google.colab import output

    output.enable_custom_widget_manager()


def write_cells(notebooks: Path, repository: str) -> None:
    """Put the cell, cloning from `repository`, first of every notebook's code, and a link below its title."""
    on_github = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", repository)
    for path in sorted(notebooks.glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            if "colab" in cell["metadata"].get("tags", []):
                cell["source"] = CELL.format(repository=repository).splitlines(keepends=True)
        head = "".join(notebook["cells"][0]["source"])
        head = re.sub(r"\n\n\[▶ Open in Colab\]\S+", "", head)
        if on_github:
            link = LINK.format(owner=on_github[1], name=path.name)
            head = re.sub(r"^# .*$", rf"\g<0>\n\n{link}", head, count=1, flags=re.MULTILINE)
        notebook["cells"][0]["source"] = head.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    if "google.colab" in sys.modules:
        prepare(ROOT)
    else:
        parser = argparse.ArgumentParser(description="Set the address that Colab clones from.")
        parser.add_argument("--repository", required=True)
        write_cells(ROOT / "notebooks", parser.parse_args().repository)
