"""Writes figures: a PNG and an SVG each, their captions as JSON, and one HTML page with all of them."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import OTHER_FILE, write_json
from bdgan_lib.core.templates import page_template
from bdgan_lib.core.types import BdganError
from bdgan_lib.experiments.runner import commit, rows
from bdgan_lib.paper.catalogue import CATALOGUE, Entry
from bdgan_lib.paper.figure_data import FigureData

Record = dict[str, str]
_PAGE = page_template(Path(__file__).with_name("page.html.j2"))


def chosen(only: Iterable[str] = ()) -> list[Entry]:
    """The entries of the catalogue with the given numbers ("fig6") or names ("mean-shapes"); by default all.

    Raises:
        BdganError: there is no such figure or table.
    """
    keys = list(only)
    known = {key: entry for entry in CATALOGUE for key in (entry.number, entry.name)}
    if unknown := [key for key in keys if key not in known]:
        names = ", ".join(f"{entry.number} {entry.name}" for entry in CATALOGUE)
        raise BdganError(f"unknown figure {unknown[0]!r}; choose from {names}")
    return [entry for entry in CATALOGUE if not keys or {entry.number, entry.name} & set(keys)]


def write_figures(data: FigureData, folder: Path, only: Iterable[str] = ()) -> list[Record]:
    """Draw the chosen figures into `folder`: PNG, SVG, `figures.json` and `index.html`.

    Files of an earlier call are kept, so one figure can be redrawn without losing the rest of the page.

    Args:
        data: what the figures show.
        folder: made if missing.
        only: numbers or names. If empty, all figures are drawn except those that the profile cannot draw; a
            printed line says why each is left out.

    Returns:
        The records of all figures in the folder, as in `figures.json`.

    Raises:
        BdganError: a chosen figure is unknown or cannot be drawn, or would replace another file.
    """
    only = list(only)
    entries = chosen(only)
    records = _earlier(folder, entries)
    folder.mkdir(parents=True, exist_ok=True)
    written = list[Record]()
    for entry in tqdm(entries, "figures", unit="figure"):
        try:
            records[entry.number] = _written(entry, data, folder)
        except BdganError as error:
            if only:
                raise
            tqdm.write(f"{entry.number} {entry.name} is left out: {error}")
        written = [records[entry.number] for entry in CATALOGUE if entry.number in records]
        write_json(
            folder / "figures.json", written, ascii_only=False
        )  # each time: it tells which files are ours
    page = _PAGE.render(records=written, profile=data.profile.name, version=__version__)
    write_atomic(folder / "index.html", page.encode())
    return written


def _earlier(folder: Path, entries: Iterable[Entry]) -> dict[str, Record]:
    """The records of an earlier call by number; BdganError if a file of another kind would be replaced."""
    path, records = folder / "figures.json", dict[str, Record]()
    if path.exists():
        try:
            records = {record["number"]: record for record in json.loads(path.read_bytes())}
        except (KeyError, TypeError, ValueError) as error:
            raise BdganError(f"{path} is no list of figures; {OTHER_FILE}") from error
    files = {record[kind] for record in records.values() for kind in ("png", "svg")}
    files |= {"index.html"} if records else set()
    for name in ("index.html", *(f"{entry.file}.{kind}" for entry in entries for kind in ("png", "svg"))):
        if name not in files and (folder / name).exists():
            raise BdganError(f"{folder / name} is of no figure in {path.name}; {OTHER_FILE}")
    return records


def _written(entry: Entry, data: FigureData, folder: Path) -> Record:
    figure = entry.drawn(data)
    for kind in ("png", "svg"):
        write_atomic(folder / f"{entry.file}.{kind}", _encoded(figure, kind, entry.title))
    plt.close(figure)
    return {
        "number": entry.number,
        "name": entry.name,
        "title": entry.title,
        "caption": caption(entry, data),
        "alt": f"{entry.title}. {_described(entry, data)}",
        "png": f"{entry.file}.png",
        "svg": f"{entry.file}.svg",
    }


def caption(entry: Entry, data: FigureData) -> str:
    """What a figure shows and how it was measured: profile, seeds, commit, the command to repeat it."""
    stored = [data.result(name) for name in entry.experiments]
    if stored:
        profile, generator = stored[0]["profile"], stored[0]["generator_sha256"]
        about = "; ".join(
            f"`bdgan experiment {r['experiment']}`, {_seeds(r)} seeds, commit {r['commit']}" for r in stored
        )
    else:
        profile, generator = data.profile.name, data.workspace.generator.sha256
        about = f"seeds from 0, commit {commit()}"
    return f"{_described(entry, data)} Profile {profile}, generator {generator[:12]}; {about}."


def _described(entry: Entry, data: FigureData) -> str:
    return entry.caption.format(tested_on=data.tested_on)


def _seeds(result: Mapping[str, Any]) -> str:
    """Number of seeds of each setting: "3", or "3 to 9"."""
    counts = Counter(tuple(row[f] for f in result["factors"][:-1]) for row in rows(result)).values()
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _encoded(figure: Figure, kind: str, title: str) -> bytes:
    file = io.BytesIO()
    date = {"Date": None} if kind == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):  # the same bytes each time
        figure.savefig(file, format=kind, dpi=200, metadata={"Title": title, **date}, bbox_inches="tight")
    return file.getvalue()
