"""The site in a real browser: whole, silent, nothing from elsewhere, narrow as a phone, by day and night."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from PIL import Image
from playwright.sync_api import expect

from benchmarks.delivery import served

from .lab import browser, luminance

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
NOWHERE = "http://127.0.0.1:9"  # whoever asks for the network there gets none
LOOK = """() => ({
    ids: [...document.querySelectorAll("[id]")].map(x => x.id),
    links: [...document.querySelectorAll("a[href]")].map(x => x.href),
    images: [...document.images].map(x => [x.getAttribute("src"), x.getAttribute("alt")]),
    width: document.documentElement.scrollWidth,
    title: document.title,
})"""
LOADED = """async () => {
    for (const x of document.images) x.loading = "eager";
    await Promise.all([...document.images].map(x => x.decode().catch(() => null)));
    return [...document.images].filter(x => !x.naturalWidth).map(x => x.src);
}"""


@dataclass
class Seen:
    """What a page holds, and what it did when it was opened on a phone."""

    ids: list[str]
    links: list[str]
    images: list[list[str]]  # [src, alt]
    width: int  # pixels that a reader could scroll to
    title: str
    said: list[str] = field(default_factory=list)  # console and errors
    asked: list[str] = field(default_factory=list)  # addresses
    unloaded: list[str] = field(default_factory=list)


def figures(folder: Path) -> Path:
    """What `bdgan figures` writes, in small: three pictures, with sizes and texts that try the page."""
    rows = []
    for number, size in enumerate([(900, 500), (400, 1200), (2400, 300)], 1):
        row = {
            "name": f"try_{number}",
            "number": f"fig{number}",
            "title": f"A figure [{number}]",
            "caption": "Profile pocket, seed 0; a < b, c_d * e_f. " * number,
            "alt": "A plain\nrectangle",
            "png": f"fig{number}_try.png",
            "svg": f"fig{number}_try.svg",
        }
        Image.new("RGB", size, (0, 90, 160)).save(folder / row["png"])
        width, height = size
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>'
        (folder / row["svg"]).write_text(svg, "utf-8")
        rows.append(row)
    (folder / "figures.json").write_text(json.dumps(rows), "utf-8")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """(folder, address) of the site, built without a network and served."""
    for package in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(package, reason="needs the extra `site`")
    work = tmp_path_factory.mktemp("site")
    drawn = figures(tmp_path_factory.mktemp("figures"))
    command = [sys.executable, str(ROOT / "docs/make"), "--out", str(work / "site"), "--figures", str(drawn)]
    offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(str(work / "site/index.html"))
    with served(work / "site") as address:
        yield work / "site", address


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("work")) as page:
        yield page


@pytest.fixture(scope="module")
def seen(site, page) -> dict[str, Seen]:
    """Every page, opened on a phone, by its path."""
    folder, address = site
    found = {}
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size(PHONE)
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        said.clear()
        asked.clear()
        page.goto(address + name, wait_until="load")
        unloaded = page.evaluate(LOADED)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        found[name] = Seen(**page.evaluate(LOOK), said=[*said], asked=[*asked], unloaded=unloaded)
    return found


def test_every_part_is_there(seen):
    notebooks = {f"chapters/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    guides = {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    guides -= {"figure_readings.html"}  # its texts stand in the gallery
    parts = {
        f"api/{path.stem}.html"
        for path in (ROOT / "bdgan_lib").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem not in ("__init__", "cli")
    }
    assert notebooks | guides | parts | {"gallery.html", "commands.html", "search.html"} <= set(seen)


def test_no_page_complains_or_asks_elsewhere(seen, site):
    _, address = site
    assert {name: x.said for name, x in seen.items() if x.said} == {}
    asked = [(name, url) for name, x in seen.items() for url in x.asked]
    assert [(name, url) for name, url in asked if not url.startswith((address, "data:"))] == []


def test_every_link_has_a_target(seen, site):
    folder, address = site
    broken = []
    for name, x in seen.items():
        for link in x.links:
            url, anchor = urldefrag(link)
            if not url.startswith(address):
                assert url.startswith("https://"), f"{name}: {link}"
                continue
            target = unquote(url.removeprefix(address)) or "index.html"
            there = (folder / target).is_file()
            if not there or (anchor and target in seen and unquote(anchor) not in seen[target].ids):
                broken.append((name, link))
    assert broken == []


def test_every_picture_comes_and_has_a_text(seen):
    assert {name: x.unloaded for name, x in seen.items() if x.unloaded} == {}
    texts = [(name, source, (alt or "").strip()) for name, x in seen.items() for source, alt in x.images]
    assert [x for x in texts if not x[2] or x[2].endswith((".png", ".jpg", ".svg"))] == []
    assert sum(len(x.images) for x in seen.values()) > 50


def test_nothing_is_wider_than_a_phone(seen):
    assert {name: x.width for name, x in seen.items() if x.width > PHONE["width"]} == {}


def test_every_page_has_a_title_of_its_own(seen):
    titles = [x.title for x in seen.values()]
    assert len(set(titles)) == len(titles) and all(titles)


@pytest.mark.parametrize(
    "name", ["index.html", "gallery.html", "chapters/03_label_head.html", "api/heads.html"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_by_day_and_night(site, page, name, scheme):
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme=scheme)
    page.goto(site[1] + name)
    colours = page.evaluate(
        """() => ["article p", "article p a", "article .sig", "article code", ".sidebar-tree a"].flatMap(
            of => [...document.querySelectorAll(of)].map(x => getComputedStyle(x).color))"""
    )
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.1) == (scheme == "dark") and colours
    for text in map(luminance, set(colours)):
        assert (max(ground, text) + 0.05) / (min(ground, text) + 0.05) >= 4.5  # WCAG 2, AA
    if folder := os.environ.get("BDGAN_PICTURES"):
        file = f"site_{name.replace('/', '_')}_{scheme}"
        page.screenshot(path=f"{folder}/{file}_desk.png")
        page.set_viewport_size(PHONE)
        page.screenshot(path=f"{folder}/{file}_phone.png")


def test_keys_alone_reach_the_cards_and_search(site, page):
    page.set_viewport_size(DESK)
    page.goto(site[1])
    wanted = {link.get_attribute("href") for link in page.locator(".ways a").all()}
    reached, outlines = set(), set()
    for _ in range(80):
        page.keyboard.press("Tab")
        href, kind, outline = page.evaluate(
            """() => { const x = document.activeElement;
                       return [x.getAttribute("href"), x.name, getComputedStyle(x).outlineStyle]; }"""
        )
        reached |= {href, kind}
        if href in wanted:
            outlines.add(outline)
    assert wanted and wanted <= reached and "q" in reached and outlines == {"solid"}


def test_search_finds_a_function(site, page):
    page.goto(site[1] + "search.html?q=js+divergence")
    found = page.locator("#search-results li a", has_text="heads").first  # they come one by one
    expect(found).to_be_visible(timeout=20_000)


def test_a_thumbnail_leads_to_the_large_picture(site, page):
    page.set_viewport_size(PHONE)
    page.goto(site[1] + "gallery.html")
    page.locator(".gallery a").nth(1).click()
    section = page.locator("section#figure-try-2")
    expect(section.locator("h2", has_text="Figure 2 · A figure [2]")).to_be_in_viewport()
    assert "a < b, c_d * e_f." in section.inner_text()
    assert section.locator("img").get_attribute("alt") == "A plain rectangle"
