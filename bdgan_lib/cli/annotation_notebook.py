"""The notebook in which a folder of pictures is labelled: written beside the labels, and opened."""

import getpass
import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.parallel import module_command
from bdgan_lib.core.types import BdganError

NOTEBOOK = "annotate.ipynb"
VIEWERS = {"lab": "jupyterlab", "voila": "voila"}  # option -> module
_PACKAGES = {"anywidget": "'bdgan-lib[widget]'", "jupyterlab": "'bdgan-lib[notebooks]'", "voila": "voila"}
_TEXT = """# Label your pictures

Run the cell below with Shift+Enter. Every stroke is saved in this folder, so you can stop at any time and go
on later. Click into the picture and press `?` for the keys."""
_CODE = """from bdgan_lib.annotation import Annotator, Session, photographs
from bdgan_lib.datasets import AnnotationStore

store = AnnotationStore(".")  # this folder
items, picture = photographs(store=store)  # of the folder and labels recorded here
Annotator(Session(store, items, picture, annotator={annotator}))"""


def check_viewer(viewer: str) -> None:
    """Check that a notebook can be opened with a program of this name, be it installed or not.

    Raises:
        BdganError: there is none of this name.
    """
    if viewer not in (*VIEWERS, "no"):
        raise BdganError(f"expected --open {', '.join(VIEWERS)} or no, got {viewer!r:.40}")


def write_notebook(folder: Path) -> Path:
    """Write the notebook into a folder of labels, unless there is one, and return its path."""
    path = folder / NOTEBOOK
    if not path.exists():
        try:
            annotator = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container whose user has no name
            annotator = "me"
        code = _CODE.format(annotator=json.dumps(annotator))
        cells: list[dict[str, object]] = [
            {"cell_type": "markdown", "id": "about", "metadata": {}, "source": _TEXT},
            {"cell_type": "code", "id": "annotator", "metadata": {}, "source": code, "outputs": [],
             "execution_count": None},
        ]  # fmt: skip
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        write_json(path, {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    return path


def open_notebook(path: Path, viewer: str) -> None:
    """Open a notebook and wait until its server is stopped, or print how it can be opened.

    Raises:
        BdganError: the server ended with an error.
    """
    modules = ["anywidget", *([VIEWERS[viewer]] if viewer in VIEWERS else [])]
    missing = [_PACKAGES[module] for module in modules if find_spec(module) is None]
    if missing or viewer == "no":
        first = f"pip install {' '.join(missing)}; then " if missing else ""
        print(f"{first}open the notebook: jupyter lab {path}")
        return
    print(f"opening {path}; stop with Ctrl-C, and go on with the same command", flush=True)
    server = subprocess.Popen(module_command(VIEWERS[viewer], path.name), cwd=path.parent)
    while True:
        try:
            code = server.wait()
            break
        except KeyboardInterrupt:  # the server has it as well, and asks or ends
            continue
    if code:
        raise BdganError(f"{VIEWERS[viewer]} ended with code {code}; open {path} in the Jupyter that you use")
