"""Notebook 02 in a real browser: what a hand draws is on disk, and there again when the kernel was killed."""

import signal
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe

from bdgan_lib.datasets.annotation_store import AnnotationStore

from .lab import Hand, browser, jupyter_lab, luminance, run_all, write_notebook

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

    hand.root.focus()
    hand.key("p")
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

    kill_kernels(root)
    hand.key("p")
    hand.click([50, 50], [60, 50], [60, 60])
    hand.key("Enter")  # goes nowhere
    hand.until("root.querySelector('.bdgan-chip').textContent === 'not saved'", timeout=20_000)
    assert "Run the cell again" in hand.says("message") and np.array_equal(on_disk(second), before)

    hand = opened("again.ipynb", cells_of_notebook_02())
    assert hand.id() == second, "it goes on at the same image"
    hand.done()  # what went nowhere was sent again
    assert on_disk(second)[52, 58] == 1
    hand.root.focus()
    hand.key("z")
    hand.done()
    assert np.array_equal(on_disk(second), before)
    assert np.array_equal(np.array(hand.labels_on_screen()), before > 0)
    hand.key(",")
    hand.done()
    assert hand.id() == first and np.array_equal(np.array(hand.labels_on_screen()), drawn > 0)
    assert np.array_equal(on_disk(first), drawn)
    hand.root.focus()
    hand.key("z")  # what was drawn before the kernel died can still be undone
    hand.done()
    assert first not in store.ids()


def kill_kernels(root: Path) -> None:
    for process in psutil.process_iter(["cmdline"]):
        if "ipykernel_launcher" in " ".join(process.info["cmdline"] or []) and _is_of(process, root):
            process.send_signal(signal.SIGKILL)


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
    assert (
        "<img src=x" in hand.root.inner_text() and page.locator(".bdgan img:not([src^='blob:'])").count() == 0
    )
    assert not page.evaluate("window.hacked")
    hand.root.focus()
    hand.key("p", "Space", *["Shift+ArrowRight"] * 2, "Space", *["Shift+ArrowDown"] * 2, "Space", "Enter")
    hand.done()
    mask = AnnotationStore(root / "hostile").load("a0").mask  # a triangle from the middle: 32, 52 x 32, 52
    assert mask[34, 48] == 1 and mask[48, 34] == 0 and abs(int(mask.sum()) - 200) <= 20
    assert hand.page.locator(".jp-Cell").count() == 1, "the keys were no notebook's shortcuts"


SLOW = """
import time
import numpy as np
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.core.sampling import Sampling

class Slow:
    labels = 0
    def fit(self, annotations):
        time.sleep(4)
        self.labels = 1
    def propose(self, id):
        return np.ones((64, 64), np.uint8)

items = [
    Annotation(f"mug_{k}", "mug", 0, k, Sampling(), "0" * 64, np.zeros((64, 64), np.uint8), "",
               ("background", "body"))
    for k in range(3)
]
session = Session(
    AnnotationStore("slow"), items, lambda a: np.full((64, 64, 3), 60 + 60 * a.seed, np.uint8), "you", Slow()
)
Annotator(session)
"""
KEY = """(root, [key, code, more]) =>
    root.dispatchEvent(new KeyboardEvent('keydown', {key, code, bubbles: true, ...more}))"""


def test_the_screen_never_lies(page_of):
    page, opened, root = page_of
    second_view = nbformat.v4.new_code_cell("Annotator(session)")
    hand = opened("slow.ipynb", [nbformat.v4.new_code_cell(SLOW), second_view])
    other, store = Hand(page, SIDE, nth=1), AnnotationStore(root / "slow")
    hand.canvas.scroll_into_view_if_needed()
    hand.settle()

    # Draw while the kernel learns and the next image is already asked for.
    hand.root.focus()
    hand.key("l", ".", "p")
    assert "learning" in hand.says("chip")
    hand.click([10, 10], [30, 10], [30, 30])
    hand.key("Enter")
    page.wait_for_timeout(1500)
    assert hand.root.get_attribute("data-saved") == "no" and hand.says("chip") != "not saved"
    hand.done(3)
    assert hand.id() == other.id() == "mug_1" and store.ids() == ["mug_0"] and not list(store)
    assert store.load("mug_0").mask[15, 27] == 1

    # The other view moves on; both show it, and each draws where it says.
    other.canvas.scroll_into_view_if_needed()
    other.root.focus()
    other.key(".")
    other.done()
    assert hand.id() == "mug_2"

    # An open polygon outlives another tool and another image, and undo takes its last corner back.
    hand.canvas.scroll_into_view_if_needed()
    hand.root.focus()
    hand.key("p")
    hand.click([10, 10], [40, 10], [40, 40], [10, 60])
    hand.key("z", "b", "p", ",")
    hand.done()
    hand.key(".")
    hand.done()
    hand.root.evaluate(KEY, ["Enter", "Enter", {}])
    hand.done()
    triangle = store.load("mug_2").mask
    assert triangle[15, 35] == 1 and triangle[45, 12] == 0 and abs(int(triangle.sum()) - 450) < 25

    # Keys by position: a Cyrillic layout, CapsLock, Cmd with Shift.
    for key, code, more, drawn in (
        ("я", "KeyZ", {}, False), ("Z", "KeyZ", {"metaKey": True, "shiftKey": True}, True),
        ("Z", "KeyZ", {}, False), ("Я", "KeyZ", {"shiftKey": True}, True),
    ):  # fmt: skip
        hand.root.evaluate(KEY, [key, code, more])
        hand.done()
        assert ("mug_2" in store.ids()) == drawn, key
    hand.key("Control+s")
    hand.done()
    assert "saved as you draw" in hand.says("message")

    # Skip pressed twice is a toggle, and drawing takes a skip back.
    hand.key("x", "x")
    hand.done(2)
    assert hand.root.locator("[data-name=skip]").get_attribute("aria-pressed") == "false"
    hand.key("x", "b")
    hand.done()
    assert store.load("mug_2").skipped
    hand.drag([50, 50], [55, 50])
    hand.done()
    assert not store.load("mug_2").skipped and store.load("mug_2").mask[50, 52] == 1
    assert hand.root.locator("[data-name=skip]").get_attribute("aria-pressed") == "false"

    # A window of another size leaves what is zoomed in on in the middle.
    def middle() -> list[int]:
        return page.evaluate(
            """() => { const canvas = document.querySelector('.bdgan-canvas'), side = canvas.width / 2;
            return [...canvas.getContext('2d').getImageData(side, side, 1, 1).data]; }"""
        )

    hand.key("r")
    page.mouse.move(*hand.at([52, 50]))
    hand.key(*"++++++")
    width, seen = hand.canvas.bounding_box()["width"], middle()
    for size in ({"width": 700, "height": 500}, {"width": 1280, "height": 1000}):
        page.set_viewport_size(size)
        page.wait_for_timeout(600)
        assert middle() == seen
    assert hand.canvas.bounding_box()["width"] == width


OBJECTS = """
import numpy as np
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.core.sampling import Sampling

items = [
    Annotation(f"mug_{k}", "mug", 0, k, Sampling(), "0" * 64, np.zeros((64, 64), np.uint8), "",
               ("background", *(f"part {n}" for n in range(1, 13))))
    for k in range(12)
]

def picture(item):
    image = np.random.default_rng(item.seed).integers(0, 40, (64, 64, 3), np.uint8)
    image[16:48, 8:40] += 150
    return image

session = Session(AnnotationStore("objects"), items, picture, "you")
Annotator(session)
"""


def pixel(page) -> list[int]:
    """The colour of the canvas on the square, beside the click."""
    return page.evaluate(
        """() => { const canvas = document.querySelector('.bdgan-canvas');
        const [x, y] = [canvas.width * 0.3, canvas.height * 0.4];
        return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]; }"""
    )


def test_clicks_objects_and_images(page_of):
    page, opened, root = page_of
    hand = opened("objects.ipynb", [nbformat.v4.new_code_cell(OBJECTS)])
    store, square = AnnotationStore(root / "objects"), np.zeros((SIDE, SIDE), bool)
    square[16:48, 8:40] = True

    def labels(id: str = "mug_0") -> np.ndarray:
        return store.load(id).mask

    # Clicks show a preview and draw nothing; Enter accepts what was shown.
    hand.root.focus()
    hand.key("g")
    hand.drag([4, 12], [44, 52])
    hand.done()
    hand.click([24, 32])
    hand.done()
    page.mouse.click(*hand.at([58, 58]), button="right")
    hand.done()
    hand.until("root.dataset.preview === '3'")
    page.screenshot(path=str(root / "preview.png"))
    hand.key("Backspace")  # takes the last click back
    hand.done()
    assert store.ids() == []
    hand.until("root.dataset.preview === '4'")
    seen = []
    for keys in ("2", "1", "cc", "c"):  # the preview has the colour of what Enter would draw
        hand.key(*keys)
        seen.append(pixel(page))
    assert seen[1] == seen[3] not in (seen[0], seen[2]) and seen[0] != seen[2]
    hand.key("Enter")
    hand.done()
    assert ((labels() == 1) == square).mean() > 0.98

    # Another object with another label: others are protected, and pixels are taken away.
    hand.key("i", "2", "c", "b")
    hand.page.get_by_label("brush", exact=True).fill("6")
    hand.root.focus()
    hand.drag([30, 20], [60, 20])
    hand.done()
    assert labels()[20, 20] == 1 and labels()[20, 55] == 2 and labels()[20, 36] == 1
    hand.key("c", "b")
    hand.drag([55, 20], [55, 21])
    hand.done()
    assert labels()[20, 55] == 0 and labels()[20, 46] == 2 and labels()[20, 36] == 1
    hand.key("c")

    # The list of objects: another label, hidden, merged, deleted; each can be undone.
    objects = hand.root.locator("[aria-label=objects] .bdgan-row")
    assert objects.count() == 2
    hand.root.get_by_label("label of part 2 2").select_option(label="part 12")
    hand.done()
    assert labels()[20, 46] == 12
    objects.nth(0).locator("button").first.click()  # choose part 1
    objects.nth(1).locator("[data-name=merge]").click()
    hand.done()
    assert labels()[20, 46] == 1 and objects.count() == 1
    objects.nth(0).locator("[data-name=delete]").click()
    hand.done()
    assert "mug_0" not in store.ids()
    hand.root.focus()
    hand.key("z")
    hand.done()
    assert labels()[20, 46] == 1

    # More than nine labels are found by name.
    hand.key("/")
    page.keyboard.type("part 11")
    page.keyboard.press("Enter")
    assert hand.root.locator("[data-label='11']").get_attribute("aria-checked") == "true"

    # Done counts, and opens the next; the strip shows and opens images.
    hand.key("d")
    hand.done(2)
    assert hand.id() == "mug_1" and [a.id for a in store] == ["mug_0"]
    hand.key("d")
    assert hand.id() == "mug_1" and "Nothing is drawn" in hand.says("message")
    thumb = hand.root.locator(".bdgan-thumb[data-id=mug_4]")
    hand.until("root.querySelectorAll('.bdgan-thumb img').length === 9")
    assert "done" in str(hand.root.locator(".bdgan-thumb[data-id=mug_0]").get_attribute("aria-label"))
    thumb.click()
    hand.done()
    assert hand.id() == "mug_4"

    # Usable without a mouse and without good eyes, in both themes.
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', { theme: t })", theme)
        page.wait_for_timeout(1500)
        for help_card in (False, True):
            result = Axe().run(page, context=".bdgan").response
            violations = result["violations"]
            assert len(result["passes"]) > 10
            serious = [v for v in violations if v["impact"] in ("serious", "critical")]
            assert not serious, [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in serious]
            hand.root.focus()
            hand.key("?") if not help_card else hand.key("Escape")
        hand.root.locator("[role=radio][aria-checked=true]").hover()
        page.wait_for_timeout(200)
        text, paper = (luminance(colour) + 0.05 for colour in hand.root.evaluate(HOVERED))
        assert max(text, paper) / min(text, paper) >= 4.5, "what is chosen is read under the pointer, too"

    # Space and a drag pan; two fingers zoom and draw nothing.
    seen = hand.root.evaluate(PAN)
    assert seen["moved"] and seen["zoomed"] and "mug_4" not in store.ids()
    hand.done(0)


NEWCOMER = OBJECTS.replace('"objects"', '"newcomer"')


def test_five_images_are_labelled_by_what_the_screen_says(page_of):
    """A click, Enter, d: no tool is chosen, and the help stays closed."""
    _, opened, root = page_of
    hand = opened("newcomer.ipynb", [nbformat.v4.new_code_cell(NEWCOMER)])
    assert hand.says("hint").startswith("Click on the object")
    for k in range(5):
        hand.click([24, 32])
        hand.done()
        hand.until("!root.querySelector('[data-name=accept]').disabled")
        assert "Enter accepts" in hand.says("hint")
        hand.key("Enter")
        hand.done()
        assert "or press d: done" in hand.says("hint") and hand.id() == f"mug_{k}"
        hand.key("d")
        hand.done(2)
    square = np.zeros((SIDE, SIDE), bool)
    square[16:48, 8:40] = True
    labelled = list(AnnotationStore(root / "newcomer"))
    assert [a.id for a in labelled] == [f"mug_{k}" for k in range(5)]
    assert all(((a.mask == 1) == square).mean() > 0.97 for a in labelled)


SQUARES = """
import time
import numpy as np
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.core.sampling import Sampling

class Squares:
    name = "squares"
    def start(self, id, image):
        return self
    def predict(self, points, box=None):
        time.sleep(SECONDS)
        x, y, _ = points[-1]
        mask = np.zeros((SIDE, SIDE), bool)
        mask[int(y) - SIDE // 4 : int(y) + SIDE // 4, int(x) - SIDE // 4 : int(x) + SIDE // 4] = True
        return mask, np.zeros(mask.shape, np.float32)

items = [
    Annotation("mug_0", "mug", 0, 0, Sampling(), "0" * 64, np.zeros((SIDE, SIDE), np.uint8), "",
               ("background", "body"))
]
picture = lambda item: np.full((SIDE, SIDE, 3), 90, np.uint8)
session = Session(AnnotationStore(FOLDER), items, picture, "you", segmenters=[Squares()])
Annotator(session)
"""


def test_esc_cancels_a_preview_that_is_still_computed(page_of):
    page, opened, root = page_of
    values = 'SIDE, SECONDS, FOLDER = 64, 2, "cancelled"'
    hand = opened("cancelled.ipynb", [nbformat.v4.new_code_cell(values + SQUARES)])
    hand.root.evaluate(
        """root => { window.previews = [];
        new MutationObserver(() => window.previews.push(root.dataset.preview)).observe(
            root, { attributeFilter: ["data-preview"] }); }"""
    )
    hand.click([16, 16])
    assert hand.says("hint").startswith("Enter accepts")
    hand.key("Escape", "d")  # what is asked for is not drawn
    assert "Nothing is drawn here" in hand.says("message") and hand.id() == "mug_0"
    hand.click([44, 44])
    hand.key("Enter")  # nothing is shown yet that it could accept
    assert "not there yet" in hand.says("message")
    hand.done(2)
    hand.until("root.dataset.preview")
    assert page.evaluate("window.previews") == ["2"], "the first answer came and was not shown"
    hand.click([50, 50])  # another click: what is shown is not what Enter would draw
    hand.key("Enter")
    hand.done()
    hand.until("root.dataset.preview === '3'")
    assert AnnotationStore(root / "cancelled").ids() == []
    hand.key("Enter")
    hand.done()
    assert AnnotationStore(root / "cancelled").load("mug_0").mask[60, 60] == 1


def test_a_widget_without_its_kernel_is_not_called_saved(page_of):
    page, opened, root = page_of
    values = 'SIDE, SECONDS, FOLDER = 64, 0, "gone"'
    cells = [values + SQUARES, "Annotator(session)"]
    hand = opened("gone.ipynb", [nbformat.v4.new_code_cell(cell) for cell in cells])
    other = Hand(page, SIDE, nth=1)
    assert hand.says("chip") == other.says("chip") == "saved"
    kill_kernels(root)
    for each in (hand, other):
        each.until("root.dataset.saved === 'no'", timeout=20_000)
        assert each.says("chip") == "no kernel" and "Run the cell again" in each.says("message")
    page.evaluate(
        """async () => { const notebook = window.jupyterapp.shell.currentWidget.content;
        notebook.activeCellIndex = 0; await window.jupyterapp.commands.execute('notebook:run-cell'); }"""
    )
    hand.settle()
    assert hand.says("chip") == "saved" and other.says("chip") == "no kernel"
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    hand.until("root.dataset.saved === 'no'", timeout=20_000)


def test_a_notebook_saved_with_its_widgets_shows_them_without_a_kernel(page_of):
    page, opened, root = page_of
    values = 'SIDE, SECONDS, FOLDER = 64, 0, "saved"'
    hand = opened("saved.ipynb", [nbformat.v4.new_code_cell(values + SQUARES)])
    page.evaluate(
        "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    )
    hand.click([24, 32])
    hand.done()
    hand.until("root.dataset.preview")
    hand.key("Enter")
    hand.done()
    drawn = AnnotationStore(root / "saved").load("mug_0").mask
    page.wait_for_timeout(2500)  # the page keeps the labels a second after the last stroke
    for _ in range(50):  # until the setting has reached the page's widgets
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        if "widgets" in nbformat.read(root / "saved.ipynb", 4).metadata:
            break
        page.wait_for_timeout(200)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    hand = Hand(page, SIDE, settled=False)
    hand.until("root.querySelector('.bdgan-chip').textContent === 'no kernel'")
    page.wait_for_timeout(1000)
    assert np.array_equal(np.array(hand.labels_on_screen()), drawn > 0)


def test_an_image_of_eight_pixels_is_seen_under_its_preview_and_its_labels(page_of):
    page, opened, root = page_of
    opened("tiny.ipynb", [nbformat.v4.new_code_cell('SIDE, SECONDS, FOLDER = 8, 0, "tiny"' + SQUARES)])
    hand = Hand(page, 8)
    hand.click([4, 4])
    hand.done()
    hand.until("root.dataset.preview")
    page.screenshot(path=str(root / "tiny_preview.png"))
    for accepted in (False, True):  # under the preview, and under the label that it becomes
        if accepted:
            hand.key("Enter")
            hand.done()
        page.wait_for_timeout(300)
        inside = np.array(hand.root.evaluate(CORNERS))
        assert (inside == inside[0]).all() and inside[0].max() < 200, "not white"
    page.screenshot(path=str(root / "tiny.png"))


CORNERS = """root => { // near the middles of the pixels 2 and 5 of an image of 8, where no click is marked
    const canvas = root.querySelector('canvas'), pen = canvas.getContext('2d');
    const at = k => Math.floor((k + 0.5) * canvas.width / 8), all = [2, 5];
    return all.flatMap(y => all.map(x => [...pen.getImageData(at(x), at(y), 1, 1).data].slice(0, 3))); }"""


HOVERED = """root => {
    const style = getComputedStyle(root.querySelector('[role=radio][aria-checked=true]'));
    return [style.color, style.backgroundColor]; }"""
PAN = """async root => {
    const canvas = root.querySelector('canvas'), box = canvas.getBoundingClientRect();
    const look = () => canvas.toDataURL();
    canvas.setPointerCapture = () => {};
    const fire = (type, x, y, more) => canvas.dispatchEvent(new PointerEvent(`pointer${type}`,
        { bubbles: true, clientX: box.left + x, clientY: box.top + y, button: 0, pointerId: 1, ...more }));
    const space = type => root.dispatchEvent(
        new KeyboardEvent(`key${type}`, { key: ' ', code: 'Space', bubbles: true }));
    const before = look();
    space('down'); fire('down', 50, 50); fire('move', 90, 70); fire('up', 90, 70); space('up');
    const panned = look();
    for (const [type, pointerId, x] of [['down', 2, 100], ['down', 3, 200], ['move', 3, 300], ['up', 3, 300]])
        fire(type, x, 100, { pointerId, pointerType: 'touch' });
    fire('up', 100, 100, { pointerId: 2, pointerType: 'touch' });
    return { moved: panned !== before, zoomed: look() !== panned };
}"""
