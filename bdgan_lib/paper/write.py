"""Figures on disk: a PNG and an SVG each, what they show as JSON, and a page of all."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.experiments.runner import commit
from bdgan_lib.paper.catalogue import CATALOGUE, Entry
from bdgan_lib.paper.figure_data import FigureData

Record = dict[str, str]


def chosen(only: Iterable[str] = ()) -> list[Entry]:
    """Entries by number ("fig6") or name ("mean-shapes"), all of them without any; BdganError for others."""
    keys = list(only)
    known = {key: entry for entry in CATALOGUE for key in (entry.number, entry.name)}
    for key in keys:
        if key not in known:
            names = ", ".join(f"{entry.number} {entry.name}" for entry in CATALOGUE)
            raise BdganError(f"no figure {key!r}; there is {names}")
    return [entry for entry in CATALOGUE if not keys or {entry.number, entry.name} & set(keys)]


def write_figures(data: FigureData, folder: Path, only: Iterable[str] = ()) -> list[Record]:
    """Draw the chosen figures into `folder`: PNG, SVG, `figures.json` and `index.html`.

    What stands there from an earlier call stays, so that a page of all is kept while one figure is redrawn.
    Without a choice, what the profile cannot draw is left out, with a line that says why; of chosen figures
    that is a BdganError.
    """
    only = list(only)
    entries = chosen(only)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "figures.json"
    records = {r["number"]: r for r in json.loads(path.read_text("utf-8"))} if path.exists() else {}
    for entry in tqdm(entries, "figures", unit="figure"):
        try:
            records[entry.number] = _written(entry, data, folder)
        except BdganError as error:
            if only:
                raise
            tqdm.write(f"{entry.number} {entry.name} is left out: {error}")
    written = [records[entry.number] for entry in CATALOGUE if entry.number in records]
    write_atomic(path, (json.dumps(written, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomic(folder / "index.html", _page(written, data).encode())
    return written


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
    """What a figure shows and where it comes from: profile, seeds, commit, how to measure it again."""
    stored = [data.result(name) for name in entry.experiments]
    if stored:
        profile, generator = stored[0]["profile"], stored[0]["generator_sha256"]
        about = "; ".join(
            f"`bdgan experiment {r['experiment']}`, {_seeds(r['cells'])} seeds, commit {r['commit']}"
            for r in stored
        )
    else:
        profile, generator = data.profile.name, data.workspace.generator.sha256
        about = f"seeds from 0, commit {commit()}"
    said = _described(entry, data)
    return f"{said} Profile {profile}, generator {generator[:12]}; {about}."


def _described(entry: Entry, data: FigureData) -> str:
    return entry.caption.format(tested_on=data.tested_on)


def _seeds(keys: Iterable[str]) -> str:
    """How many there are of each setting, "init / set / task / seed": "3", or "3 to 9"."""
    counts = Counter(key.rsplit(" / ", 1)[0] for key in keys).values()
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _encoded(figure: Figure, kind: str, title: str) -> bytes:
    file = io.BytesIO()
    date = {"Date": None} if kind == "svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):  # the same bytes each time
        figure.savefig(file, format=kind, dpi=200, metadata={"Title": title, **date}, bbox_inches="tight")
    return file.getvalue()


def _page(records: list[Record], data: FigureData) -> str:
    parts = []
    for r in records:
        caption = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(r["caption"]))
        picture = f'srcset="{r["png"]} 2x" src="{r["png"]}" alt="{escape(r["alt"])}" loading="lazy"'
        said = f"<b>{r['number']}. {escape(r['title'])}.</b> {caption}"
        parts.append(
            f'<figure id="{r["number"]}"><a href="{r["svg"]}"><img {picture}></a>'
            f"<figcaption>{said}</figcaption></figure>"
        )
    return _PAGE.format(name=escape(data.profile.name), version=__version__, figures="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Figures and tables, profile {name}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem;
  color: #222; background: #fff }}
figure {{ margin: 2.5rem 0 }}
img {{ max-width: 100%; height: auto }}
figcaption {{ max-width: 45rem; font-size: 0.9rem }}
</style>
</head>
<body>
<h1>Figures and tables</h1>
<p>Drawn on profile {name} with bdgan_lib {version}; each caption says what was measured where.
What is marked "paper" was published (Li et al., CVPR 2022) and was not measured here.</p>
{figures}
</body>
</html>
"""
