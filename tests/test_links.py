"""No dead link: what README, the guides and the notebooks point to exists, heading included."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "notebooks/*.ipynb", "assets/*.md")
    for page in sorted(ROOT.glob(pattern))
]
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
MADE = {"chapters", "api", "gallery.md", "commands.md", "play.md"}  # by docs/make, when the site is built


def markdown(page: Path) -> str:
    """The text of a page, without code."""
    text = page.read_text("utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", markdown(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in filter(None, (one or other for one, other in LINK.findall(markdown(page)))):
        target, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue  # another site
        place = (page.parent / target).resolve() if target else page
        if place.is_relative_to(ROOT / "docs") and place.relative_to(ROOT / "docs").parts[0] in MADE:
            continue
        assert place.exists(), f"{link} leads nowhere"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place), f"{link} has no such heading"
