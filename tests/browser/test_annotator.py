"""Notebook 02 in a real browser: what a hand draws is on disk, and there again when the kernel was killed."""

import signal
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest

from bdgan_lib.datasets.annotation_store import AnnotationStore

from .lab import Hand, browser, jupyter_lab, run_all, write_notebook

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SIDE = 64


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """(page, function that opens and runs a notebook of these cells, folder the notebooks run in)."""
    root, work = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("work")
    with jupyter_lab(root, work) as address, browser(work) as page:

        def opened(name: str, cells: list) -> Hand:
            write_notebook(root / name, cells)
            run_all(page, address, name)
            return Hand(page, SIDE)

        yield page, opened, root


def cells_of_notebook_02() -> list:
    """Up to the widget, with other parameters."""
    cells = nbformat.read(ROOT / "notebooks/02_annotation.ipynb", 4).cells
    last = next(i for i, cell in enumerate(cells) if cell.source.rstrip().endswith("Annotator(session)"))
    parameters = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    changes = nbformat.v4.new_code_cell('REPLAY, RUN_DIR = False, "run"')
    return [*cells[: parameters + 1], changes, *cells[parameters + 1 : last + 1]]


def test_a_hand_draws_and_nothing_is_lost(page_of):
    page, opened, root = page_of
    hand, store = opened("02_annotation.ipynb", cells_of_notebook_02()), AnnotationStore(root / "run/labels")
    first = hand.id()
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[12:40, 16:48] = 1

    def on_disk(id: str) -> np.ndarray:
        return store.load(id).mask

    hand.click([16, 12], [48, 12], [50, 50])
    hand.key("Backspace")  # the last corner, taken back
    hand.click([48, 40], [16, 40])
    hand.key("Enter")
    hand.done()
    assert np.array_equal(on_disk(first), drawn)

    hand.key("e")
    hand.drag([20, 20], [30, 20])
    hand.done()
    erased = on_disk(first)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    distance = np.hypot(x - np.clip(x, 20, 30), y - 20)
    sure = abs(distance - 4) > 0.3  # the brush has a radius of 4
    assert np.array_equal(erased[sure], np.where(distance < 4, 0, drawn)[sure]) and (erased != drawn).any()
    hand.key("z")
    hand.done()
    assert np.array_equal(on_disk(first), drawn)

    hand.key(".")
    hand.done()
    second = hand.id()
    assert second != first
    hand.key("p")
    hand.click([10, 10], [30, 10], [30, 30], [10, 30], [10, 10])  # the first corner again closes it
    hand.done()
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[10:30, 10:30] = 1
    assert np.array_equal(on_disk(second), square)
    hand.key("v")
    hand.click([20, 20])
    hand.done()
    hand.drag([20, 10], [20, 3])  # a new corner, out of a side
    hand.done()
    assert on_disk(second)[5, 20] == 1 and (on_disk(second) >= square).mean() > 0.995
    hand.drag([20, 3], [20, 6])
    hand.done()
    assert on_disk(second)[5, 20] == 0 and on_disk(second)[8, 20] == 1
    page.mouse.click(*hand.at([20, 6]), button="right")
    hand.done()
    assert on_disk(second)[8, 20] == 0
    hand.key("z")
    hand.done()
    before = on_disk(second)
    assert before[8, 20] == 1
    page.screenshot(path=str(root / "widget.png"))

    for process in psutil.process_iter(["cmdline"]):  # the kernel dies
        if "ipykernel_launcher" in " ".join(process.info["cmdline"] or []) and _is_of(process, root):
            process.send_signal(signal.SIGKILL)
    hand.key("z")  # goes nowhere
    unsaved = "document.querySelector('.bdgan-chip').textContent.startsWith('not saved')"
    page.wait_for_function(unsaved, timeout=20_000)
    assert np.array_equal(on_disk(second), before)

    hand = opened("again.ipynb", cells_of_notebook_02())
    assert hand.id() == second, "it goes on at the same image"
    assert np.array_equal(np.array(hand.labels_on_screen()), before > 0)
    hand.key(",")
    hand.done()
    assert hand.id() == first and np.array_equal(np.array(hand.labels_on_screen()), drawn > 0)
    assert np.array_equal(on_disk(first), drawn)
    hand.root.focus()
    hand.key("z")  # what was drawn before the kernel died can still be undone
    hand.done()
    assert first not in store.ids()


def _is_of(process: psutil.Process, root: Path) -> bool:
    try:
        return Path(process.cwd()).resolve() == root.resolve()
    except psutil.Error:
        return False


HOSTILE = """
import numpy as np
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.core.sampling import Sampling

attack = "<img src=x onerror=window.hacked=1>"
items = [
    Annotation(f"a{k}", attack, 0, k, Sampling(), "0" * 64, np.zeros((64, 64), np.uint8), "",
               ("background", attack, "b" * 4096))
    for k in range(2)
]
Annotator(Session(AnnotationStore("hostile"), items, lambda a: np.full((64, 64, 3), 90, np.uint8), attack))
"""


def test_names_are_text_and_the_keyboard_is_enough(page_of):
    page, opened, root = page_of
    hand = opened("hostile.ipynb", [nbformat.v4.new_code_cell(HOSTILE)])
    assert "<img src=x" in hand.root.inner_text() and page.locator(".bdgan img").count() == 0
    assert not page.evaluate("window.hacked")
    hand.root.focus()
    hand.key("p", "Space", *["Shift+ArrowRight"] * 2, "Space", *["Shift+ArrowDown"] * 2, "Space", "Enter")
    hand.done()
    mask = AnnotationStore(root / "hostile").load("a0").mask  # a triangle from the middle: 32, 52 x 32, 52
    assert mask[34, 48] == 1 and mask[48, 34] == 0 and abs(int(mask.sum()) - 200) <= 20
    assert hand.page.locator(".jp-Cell").count() == 1, "the keys were no notebook's shortcuts"
