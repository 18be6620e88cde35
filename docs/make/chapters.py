"""Notebooks as chapters: as they were executed, their figures as files with a text in place of each."""

import re
from binascii import a2b_base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode
from prose import overview, plain

KINDS = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}  # of pictures, the best first
WIDGET = "application/vnd.jupyter.widget-view+json"
REMOTE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)|<img\b[^>]*\bsrc=.https?://[^>]*>")


def write_chapters(notebooks: Path, out: Path) -> None:
    """Write every notebook to `out`, and `index.md`, their list: 00 to 07 and then the extras."""
    (out / "images").mkdir(parents=True)
    items, paths = [], sorted(notebooks.glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "colab" not in cell.metadata.get("tags", [])]
        heading = title = ""
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                cell.source = REMOTE.sub(lambda image: image[1] or "", cell.source)  # a badge, say
                heading = ([heading] + re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE))[-1]
                title = title or heading
            elif cell.cell_type == "code":
                cell.outputs = list(_shown(cell, heading, out, f"images/{path.stem}_{number:02d}"))
        nbformat.write(notebook, out / path.name)
        items.append(f"[{plain(title or path.stem)}]({quote(path.name)})")
    text = (
        "Each is a notebook in the repository's folder `notebooks`, shown as it ran on the pocket profile on "
        "two CPU cores. Run it there with other settings."
    )
    names = [path.stem for path in paths]
    (out / "index.md").write_text(overview("Chapters", text, items, names), "utf-8")


def _shown(cell: NotebookNode, heading: str, out: Path, stem: str) -> Iterator[NotebookNode]:
    """A cell's outputs; pictures become Markdown that names a file under `out`.

    Widgets need a kernel: what they show without one stands beside them or not at all.
    """
    alone, number = sum(bool(_kind(output)) for output in cell.outputs) == 1, 0
    for output in cell.outputs:
        if kind := _kind(output):
            number += 1
            content, name = output.data[kind], f"{stem}_{number}.{KINDS[kind]}"
            (out / name).write_bytes(content.encode() if "+xml" in kind else a2b_base64(content))
            text = alternative(output, cell, heading, 0 if alone else number)
            output.data = {"text/markdown": f"![{plain(text)}]({quote(name)})"}
        elif output.get("data", {}).pop(WIDGET, None) and set(output.data) <= {"text/plain"}:
            continue
        yield output


def _kind(output: NotebookNode) -> str:
    """The kind of picture that an output has, "" if it has none."""
    return next((kind for kind in KINDS if kind in output.get("data", {})), "")


def alternative(output: NotebookNode, cell: NotebookNode, heading: str, number: int = 0) -> str:
    """The text that stands for a picture.

    It is `alt` in the metadata of the output (of its kind of picture, or of all); else that of the cell, else
    the heading above, with the number of the picture in its cell unless it is alone (0).
    """
    for metadata in (output.metadata.get(_kind(output), {}), output.metadata):
        if metadata.get("alt"):
            return str(metadata["alt"])
    shared = cell.metadata.get("alt") or f"Figure under the heading “{heading}”"
    return f"{shared}, {number}" if number else shared
