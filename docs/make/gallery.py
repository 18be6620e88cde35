"""The gallery: figures that `bdgan figures` wrote, small in a grid, then large with their captions."""

import json
import re
import shutil
from pathlib import Path

from PIL import Image
from prose import plain

THUMBNAIL = 480, 360  # pixels at most
KINDS = {"fig": "Figure", "tab": "Table"}


def write_gallery(figures: Path, docs: Path) -> None:
    """Write `gallery.md`, the pictures beside it and small ones of them. figures: a folder with `figures.json`."""
    shown, small = docs / "_static/figures", docs / "thumbnails"
    shown.mkdir(parents=True)
    small.mkdir()
    tiles, sections = [], []
    for figure in json.loads((figures / "figures.json").read_text("utf-8")):
        name, alt = figure["name"], plain(" ".join(figure["alt"].split()))
        title = plain(f"{_number(figure['number'])} · {figure['title']}")
        for file in (figure["png"], figure["svg"]):
            shutil.copy(figures / file, shown)
        with Image.open(figures / figure["png"]) as picture:
            picture.thumbnail(THUMBNAIL)
            picture.save(small / f"{name}.png")
        tiles.append(f"[![{alt}](thumbnails/{name}.png) {title}](#figure-{name})")
        sections.append(
            f"(figure-{name})=\n## {title}\n\n"
            f"[![{alt}](_static/figures/{figure['png']})](_static/figures/{figure['svg']})\n\n"
            f"{plain(figure['caption'])}\n\n"
            f"As file: [PNG](_static/figures/{figure['png']}), [SVG](_static/figures/{figure['svg']})."
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
    return f"{KINDS[found[1].lower()]} {found[2]}" if found else short
