"""The gallery: figures that `bdgan figures` wrote, small in a grid, then large with their captions."""

import json
import re
import shutil
from html import escape
from pathlib import Path

from docutils.nodes import make_id
from PIL import Image
from prose import plain

_IN_NOTEBOOK = "[Notebook 07](chapters/07_paper_figures.ipynb) says what to look at."
THUMBNAIL = 480, 360  # pixels at most
NUMBERED = {"fig": "Figure", "tab": "Table"}


def write_gallery(figures: Path, docs: Path) -> None:
    """Write `gallery.md` and its pictures, large and small, each with its text of `figure_readings.md`.

    figures: a folder with `figures.json`.
    """
    readings = docs / "figure_readings.md"
    text = re.split(r"(?m)^## (.+)$", readings.read_text("utf-8"))
    reading = {name: words.strip() for name, words in zip(text[1::2], text[2::2])}
    readings.unlink()  # no page of its own
    place = docs / "_static/figures"
    (place / "small").mkdir(parents=True)
    tiles, sections = [], []
    for figure in json.loads((figures / "figures.json").read_text("utf-8")):
        png, svg = figure["png"], figure["svg"]
        for file in (png, svg):
            shutil.copy(figures / file, place)
        with Image.open(place / png) as picture:
            width, height = picture.size
            picture.thumbnail(THUMBNAIL)
            picture.save(place / "small" / png)
        title = f"{_number(figure['number'])} · {figure['title']}"
        alt = escape(" ".join(figure["alt"].split()))
        anchor = make_id(f"figure-{figure['name']}")
        small = f'<img src="_static/figures/small/{png}" alt="{alt}">'
        size = f'width="{width}" height="{height}"'
        large = f'<img src="_static/figures/{png}" alt="{alt}" {size} loading="lazy">'
        tiles.append(f'<a href="#{anchor}">{small}<span>{escape(title)}</span></a>')
        sections.append(
            f'({anchor})=\n## {plain(title)}\n\n<p><a href="_static/figures/{svg}">{large}</a></p>\n\n'
            f"{plain(figure['caption'])}\n\n{reading.get(figure['name'], _IN_NOTEBOOK)}\n"
        )
    head = (
        "# Gallery\n\nThe paper's figures and tables on the pocket profile, none drawn by hand; "
        "`bdgan figures --profile pocket --out DIR` makes them again, as PNG and SVG. A picture below opens "
        "as SVG, to be enlarged as far as you like.\n\n"
    )
    grid = "\n".join(['<div class="gallery">', *tiles, "</div>", "", ""])
    (docs / "gallery.md").write_text(head + grid + "\n".join(sections), "utf-8")


def _number(short: str) -> str:
    """Spell out a number: "fig6" -> "Figure 6"; anything else as it is."""
    match = re.fullmatch(r"(fig|tab)[a-z]*[ _.]?(\d+\w*)", short, re.IGNORECASE)
    return f"{NUMBERED[match[1].lower()]} {match[2]}" if match else short
