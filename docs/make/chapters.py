"""Notebooks as chapters: as they were executed, their figures as files with a text in place of each."""

import re
from binascii import a2b_base64
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from prose import plain

IMAGES = {
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpg",
}  # the first that an output has is shown
REMOTE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)|<img\b[^>]*\bsrc=.https?://[^>]*>")


def write_chapters(notebooks: Path, out: Path) -> None:
    """Write every notebook to `out`, in order 00 to 07 and then the extras, and `index.md` that lists them."""
    (out / "images").mkdir(parents=True)
    paths = sorted(notebooks.glob("*.ipynb"))
    lines = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "colab" not in cell.metadata.get("tags", [])]
        heading = path.stem
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                cell.source = REMOTE.sub(lambda image: image[1] or "", cell.source)  # a badge, say
                heading = ([heading] + re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE))[-1]
            if cell.cell_type == "code":
                stem = f"{path.stem}_{number:02d}"
                cell.outputs = list(_shown(cell, heading, out / "images", stem))
        nbformat.write(notebook, out / path.name)
        title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
        lines.append(f"- [{title[1] if title else path.stem}]({path.name})")
    names = "\n".join(path.stem for path in paths)
    (out / "index.md").write_text(
        "# Chapters\n\nEach is a notebook in the repository's folder `notebooks`, shown as it ran on the pocket "
        "profile on two CPU cores; run them there with other settings.\n\n"
        + "\n".join(lines)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n",
        "utf-8",
    )


def _shown(cell: NotebookNode, heading: str, folder: Path, stem: str) -> Iterator[NotebookNode]:
    """A cell's outputs; pictures become Markdown that names a file in `folder`.

    Widgets need a kernel: what they show without one stands beside them or not at all.
    """
    alone = sum(bool(_kind(output)) for output in cell.outputs) == 1
    number = 0
    for output in cell.outputs:
        if kind := _kind(output):
            number += 1
            content, name = output.data[kind], f"{stem}_{number}.{IMAGES[kind]}"
            (folder / name).write_bytes(content.encode() if "+xml" in kind else a2b_base64(content))
            text = alternative(output, cell, heading, 0 if alone else number)
            output.data = {"text/markdown": f"![{plain(text)}](images/{name})"}
        elif "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        yield output


def _kind(output: NotebookNode) -> str:
    """The kind of picture that an output has, "" if it has none."""
    return next((kind for kind in IMAGES if kind in output.get("data", {})), "")


def alternative(output: NotebookNode, cell: NotebookNode, heading: str, number: int = 0) -> str:
    """The text that stands for a picture.

    It is `alt` in the metadata of the output (of its kind of picture, or of all); else that of the cell, else
    the heading above, with the number of the picture in its cell unless it is alone (0).
    """
    for own in (output.metadata.get(_kind(output), {}), output.metadata):
        if own.get("alt"):
            return own["alt"]
    shared = cell.metadata.get("alt") or f"Figure under the heading “{heading}”"
    return f"{shared}, {number}" if number else shared
