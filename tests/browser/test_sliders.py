"""The first sliders of notebook 01 in a real browser: a move draws another picture, a move back the first."""

from pathlib import Path

import nbformat
import pytest

from .lab import browser, jupyter_lab, run_all

pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).parents[2] / "notebooks/01_feature_probing.ipynb"


def test_moving_a_slider_changes_the_picture(tmp_path):
    root, work = tmp_path / "root", tmp_path / "work"
    root.mkdir()
    work.mkdir()
    notebook = nbformat.read(NOTEBOOK, 4)
    last = next(i for i, cell in enumerate(notebook.cells) if "show_sliders(" in cell.source)
    notebook.cells = notebook.cells[: last + 1]
    nbformat.write(notebook, root / NOTEBOOK.name)
    with jupyter_lab(root, work) as address, browser(work) as page:
        run_all(page, address, NOTEBOOK.name)
        box = page.locator(".bdgan-sliders")
        box.wait_for(timeout=120_000)
        block, unit = box.get_by_role("slider").all()
        picture = box.locator("img")

        def after(move, handle):
            """What is shown once the picture has changed."""
            old = picture.get_attribute("src")
            handle.focus()
            page.keyboard.press(move)
            page.wait_for_function("old => document.querySelector('.bdgan-sliders img').src !== old", arg=old)
            page.wait_for_function("() => document.querySelector('.bdgan-sliders img').complete")
            return picture.screenshot()

        picture.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        first = picture.screenshot()
        second = after("ArrowRight", unit)
        assert second != first and box.locator(".widget-readout").all_inner_texts() == ["block1", "1"]
        assert after("ArrowRight", block) not in (first, second)
        after("ArrowLeft", block)
        assert after("ArrowLeft", unit) == first
