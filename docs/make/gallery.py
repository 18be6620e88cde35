"""The gallery: figures that `bdgan figures` wrote, small in a grid, then large with their captions."""

import json
import re
import shutil
from pathlib import Path

from PIL import Image
from prose import plain

THUMBNAIL = 480, 360  # pixels at most
NUMBERED = {"fig": "Figure", "tab": "Table"}


def write_gallery(figures: Path, docs: Path) -> None:
    """Write `gallery.md` and its pictures, large and small. figures: a folder with `figures.json`."""
    shown, small = docs / "_static/figures", docs / "thumbnails"
    shown.mkdir(parents=True)
    small.mkdir()
    tiles, sections = [], []
    for figure in json.loads((figures / "figures.json").read_text("utf-8")):
        name, alt = figure["name"], plain(" ".join(figure["alt"].split()))
        title = plain(f"{_number(figure['number'])} · {figure['title']}")
        png, svg = (
            f"_static/figures/{shutil.copy(figures / figure[kind], shown).name}" for kind in ("png", "svg")
        )
        with Image.open(docs / png) as picture:
            picture.thumbnail(THUMBNAIL)
            picture.save(small / f"{name}.png")
        tiles.append(f"[![{alt}](thumbnails/{name}.png) {title}](#figure-{name})")
        sections.append(
            f"(figure-{name})=\n## {title}\n\n[![{alt}]({png})]({svg})\n\n{plain(figure['caption'])}\n\n"
            f"As a file: [PNG]({png}), [SVG]({svg})."
        )
    head = (
        "# Gallery\n\nThe paper's figures and tables on the pocket profile, none drawn by hand. "
        "`bdgan figures --profile pocket --out DIR` makes them again, each as PNG and SVG.\n\n"
    )
    grid = ":::{container} gallery\n" + "\n\n".join(tiles) + "\n:::\n\n"
    (docs / "gallery.md").write_text(head + grid + "\n\n".join(sections) + "\n", "utf-8")


def _number(short: str) -> str:
    """ "fig6" -> "Figure 6"; anything else as it is."""
    found = re.fullmatch(r"(fig|tab)[a-z]*[ _.]?(\d+\w*)", short, re.IGNORECASE)
    return f"{NUMBERED[found[1].lower()]} {found[2]}" if found else short
