"""Records the session that notebook 02 replays, and the picture of the annotator in the docs.

    python tests/browser/record.py

A robot's hand labels ten samples in a real browser: it knows the oracle's masks, clicks polygons round four
of them, and then takes the model's proposals and brushes them right. Writes assets/pocket/session.json and
assets/figures/annotator.jpg; then `bdgan record-assets`.
"""

import io
import json
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from lab import Hand, browser, jupyter_lab, run_all, write_notebook  # noqa: E402

from bdgan_lib.annotation.candidates import image_source  # noqa: E402
from bdgan_lib.annotation.simulate import draw_polygon, draw_proposal  # noqa: E402
from bdgan_lib.datasets.annotation_store import AnnotationStore  # noqa: E402
from bdgan_lib.profiles import load_profile  # noqa: E402
from bdgan_lib.profiles.annotated import candidates  # noqa: E402

CLASSES = ["mug", "robin"]
BY_HAND = 4  # samples before the model helps
CELL = f"""
from bdgan_lib.annotation.candidates import image_source
from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.annotated import candidates

profile = load_profile("pocket")
generator = profile.generator()
items = candidates(profile, generator, classes={CLASSES})
session = Session(
    AnnotationStore("labels"), items, image_source(generator), "recorded robot", Proposer(generator, items)
)
Annotator(session)
"""


def main() -> None:
    profile = load_profile("pocket")
    generator = profile.generator()
    items, picture = candidates(profile, generator, classes=CLASSES), image_source(generator)
    truth = {a.id: profile.oracle.annotate(picture(a)[None], np.array([a.class_id]))[0] > 0 for a in items}
    cell = nbformat.v4.new_code_cell(CELL.strip(), metadata={"jupyter": {"source_hidden": True}})
    with tempfile.TemporaryDirectory() as folder:
        root, profile_folder = Path(folder) / "root", Path(folder) / "work"
        root.mkdir()
        profile_folder.mkdir()
        write_notebook(root / "record.ipynb", [cell])
        with jupyter_lab(root, profile_folder) as address, browser(profile_folder) as page:
            run_all(page, address, "record.ipynb")
            hand = Hand(page, profile.image_size)
            hand.root.focus()
            for k, item in enumerate(items):
                if k:
                    hand.key("d")  # done: opens the next
                    hand.done(2)
                assert hand.id() == item.id
                if k == BY_HAND + 2:
                    shot = _preview_shot(hand, truth[item.id])
                if k < BY_HAND:
                    _by_hand(hand, truth[item.id])
                else:
                    store = AnnotationStore(root / "labels")
                    _with_the_model(hand, store, truth[item.id], first=k == BY_HAND)
            hand.key("d")
            hand.done()
        store = AnnotationStore(root / "labels")
        lines = (root / "labels" / "journal.jsonl").read_text().splitlines()
        entries = [json.loads(line)["entry"] for line in lines]
        for a in store:
            both, either = ((a.mask > 0) & truth[a.id]).sum(), ((a.mask > 0) | truth[a.id]).sum()
            print(a.id, a.extra["clicks"], "clicks", a.extra["tools"], f"IoU {both / either:.3f}")
    place = ("origin", "generator_sha256")  # of this session, and of no meaning to one that replays it
    log = [{k: v for k, v in entry.items() if k not in place} for entry in entries if entry["do"] != "open"]
    (ROOT / "assets/pocket/session.json").write_text(json.dumps(log, indent=0) + "\n", "utf-8")
    Image.open(io.BytesIO(shot)).convert("RGB").save(ROOT / "assets/figures/annotator.jpg", quality=88)


def _preview_shot(hand: Hand, truth: np.ndarray) -> bytes:
    """The annotator with the preview that a click in the middle of the object shows; nothing is drawn."""
    rows, columns = np.nonzero(truth)
    middle = np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean()))
    hand.key("g")
    hand.click([columns[middle] + 0.5, rows[middle] + 0.5])
    hand.done()
    hand.until("!root.querySelector('[data-name=accept]').disabled")
    hand.page.wait_for_timeout(3000)  # the small pictures
    shot = hand.page.screenshot(clip=hand.root.bounding_box())
    hand.key("Escape")
    return shot


def _by_hand(hand: Hand, truth: np.ndarray) -> None:
    """A polygon, with one corner too many taken back; where it has several rings, one after the other."""
    hand.key("p")
    for ring in draw_polygon(truth, 0.95)[0].stroke["rings"]:
        hand.click(*ring[:-1], [3, 3])
        hand.key("Backspace")
        hand.click(ring[-1])
        hand.key("Enter")
        hand.done()
    hand.key("b")
    hand.drag([2, 2], [6, 6])  # a slip, undone
    hand.done()
    hand.key("z")
    hand.done()


def _with_the_model(hand: Hand, store: AnnotationStore, truth: np.ndarray, first: bool) -> None:
    """The model's proposal, then dabs where it is wrong."""
    if first:
        hand.key("l")
        hand.done()
    hand.key("m")
    hand.done()
    proposal = store.load(hand.id()).mask > 0
    for move in draw_proposal(proposal, truth, 0.92)[1:7]:
        if move.stroke["op"] != "brush":
            break  # good enough
        radius = min(16.0, max(0.5, round(2 * move.stroke["radius"]) / 2))
        hand.key("b" if move.stroke["label"] else "e")
        hand.page.get_by_label("brush", exact=True).fill(str(radius))
        hand.root.focus()
        hand.drag(*move.stroke["points"])
        hand.done()


if __name__ == "__main__":
    main()
