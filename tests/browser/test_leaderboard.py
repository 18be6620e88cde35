"""The benchmark's page in a real browser: sorted by mouse and keys, narrow as a phone, deaf to bad names."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.downstream.benchmark.gallery import Example, Gallery
from bdgan_lib.downstream.benchmark.result import Result
from bdgan_lib.downstream.benchmark.site import write_site

from .lab import browser, luminance

HOSTILE = "</bdi></script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
LABELS = ("background", "robin", "blue jay", "a label whose name goes on and on", HOSTILE)


def result(name: str, right: int, date: str) -> Result:
    """Of a hundred pixels of each label so many are right; the others are called background."""
    wrong = 100 - right
    return Result(
        "pocket", "MC", name, LABELS, (100, *[right] * 4), (100 + 4 * wrong, *[right] * 4), (100,) * 5,
        (right / 200, right / 100), 12, ("robin_00000001",), ("mug_00000002",), "0" * 64, "f" * 64, "0.1.0",
        date,
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(page, what its console and its errors said, requests)."""
    work = tmp_path_factory.mktemp("work")
    results = [
        result("beta", 50, "2024-03-01"),
        result("Alpha 10", 90, "2024-01-01"),
        result(HOSTILE, 70, "2024-02-01"),
        result("averyveryveryverylongnamewithoutanyspaceatall" * 3, 60, "2023-02-02"),
        replace(result("on other labels", 20, "2024-02-02"), labels_sha256="e" * 64),
    ]
    noise = np.random.default_rng(0)
    masks = noise.integers(0, 5, (2, 8, 8)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    example = Example("robin_00000001", 0.5, noise.integers(0, 256, (64, 64, 3), np.uint8), *masks)
    path = write_site(results, work / "site", {1: Gallery((example,) * 5, (example,) * 5)})
    said, asked = [], []
    with browser(work) as page:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        yield page, said, asked


def test_a_click_sorts_and_another_turns_it_round(opened):
    page, said, _ = opened
    table = page.locator("table", has_text="beta")
    heads = table.locator("thead th")
    sorts = lambda: [heads.nth(k).get_attribute("aria-sort") for k in range(4)]
    column = lambda k: table.locator(f"tbody tr > :nth-child({k + 1})").all_inner_texts()
    assert sorts() == ["none", "descending", "none", "none"], "as it comes"
    rows = set(zip(*map(column, range(4))))
    assert len(rows) == 4 and column(1) == sorted(column(1), reverse=True)
    for k in (1, 2, 3, 0):
        seen = set()
        for _ in range(2):
            heads.nth(k).locator("button").click()
            order = sorts()
            assert [x == "none" for x in order] == [j != k for j in range(4)]
            assert set(zip(*map(column, range(4)))) == rows, "rows stay whole"
            assert k == 0 or column(k) == sorted(column(k), reverse=order[k] == "descending")
            seen.add(order[k])
        assert seen == {"ascending", "descending"}
    heads.nth(0).locator("button").click()
    assert [text[:8] for text in column(0)][1:] == ["Alpha 10", "averyver", "beta"], "case aside"
    assert said == []


def test_keys_alone_sort_too(opened):
    page, _, _ = opened
    heads = page.locator("table", has_text="beta").locator("thead th")
    sorts = lambda k: heads.nth(k).get_attribute("aria-sort")
    heads.nth(0).locator("button").focus()
    before = sorts(0)
    page.keyboard.press("Enter")
    assert sorts(0) in {"ascending", "descending"} - {before}
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert sorts(0) == "none" and sorts(1) == "descending"


def test_a_hostile_name_is_shown_as_it_is(opened):
    page, said, asked = opened
    assert page.evaluate("window.hacked") is None
    assert page.locator("tbody th", has_text=HOSTILE).is_visible()
    assert page.locator("script").count() == 1 and page.locator("img[src=x]").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == [] and said == []


def test_the_policy_stops_what_an_escape_would_miss(opened):
    page, said, _ = opened
    page.evaluate("""() => { const s = document.createElement("script"); s.textContent = "window.hacked = 3";
                             document.body.append(s); s.remove(); }""")
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in said)
    said.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_is_readable_by_day_and_night(opened, scheme, width, tmp_path):
    page, said, _ = opened
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("table", has_text="beta").bounding_box()["width"] <= width
    assert page.locator("figure img").first.bounding_box()["width"] >= 90
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    style = lambda of, what: page.locator(of).first.evaluate(f"x => getComputedStyle(x).{what}")
    ground = luminance(style("body", "backgroundColor"))
    others = [style("body", "color"), style(".note", "color"), style(".part", "fill")]
    assert (ground < 0.1) == (scheme == "dark")
    for other, least in zip(map(luminance, others), (7, 4.5, 3)):  # WCAG: text, small text, graphics
        assert (max(ground, other) + 0.05) / (min(ground, other) + 0.05) >= least
    assert said == []
    if folder := os.environ.get("BDGAN_PICTURES"):
        page.screenshot(path=Path(folder) / f"leaderboard_{scheme}_{width}.png", full_page=True)
