"""Two browsers' views of one annotation session at random, beside a model of what was drawn."""

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.undo_history import UndoHistory
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore

SIDE = 32


def blank(seed: int, side: int = SIDE) -> Annotation:
    """An item to label."""
    mask = np.zeros((side, side), np.uint8)
    classes = ("background", "a", "b", "c")
    return Annotation(f"robin_{seed:08d}", "robin", 0, seed, Sampling(), "0" * 64, mask, "", classes)


def picture(item: Annotation) -> NDArray[np.uint8]:
    """Its image: noise."""
    return np.random.default_rng(item.seed).integers(0, 255, (*item.mask.shape, 3), np.uint8)


def schedule(folder, seed: int) -> tuple[int, int, int]:
    """Two browsers' views of one session at random: late views, commands sent twice, kernels that restart.

    Returns the images that differ from what was drawn on them, commands lost, and times "saved" was false.
    """
    rng = np.random.default_rng(seed)
    items = [blank(k) for k in range(3)]
    drawn = {a.id: UndoHistory(np.zeros((2, SIDE, SIDE), np.uint8), 3) for a in items}
    skipped = dict.fromkeys(drawn, False)
    views, sent, false_saved, outbox, arrived = [items[0].id] * 2, [0, 0], 0, [], []

    def start() -> list[Annotator]:
        session = Session(AnnotationStore(folder), items, picture, "ann")
        return [Annotator(session), Annotator(session)]

    widgets = start()
    for _ in range(40):
        view = int(rng.integers(2))
        if rng.random() < 0.6:  # a hand, at what this view shows
            x, y, label = rng.integers(2, SIDE - 2, 2).tolist() + [int(rng.integers(3))]
            dab = {"op": "brush", "points": [[x, y]], "radius": 3, "label": label, "instance": 1}
            kinds = [
                {"do": "stroke", "stroke": dab},
                {"do": "undo"},
                {"do": "redo"},
                {"do": "skip"},
                {"do": "next"},
            ]
            command = dict(kinds[rng.choice(5, p=[0.55, 0.15, 0.1, 0.05, 0.15])])
            sent[view] += 1
            if command["do"] != "next":
                command |= {"image": views[view], "origin": [f"{view}", sent[view]]}
            outbox.append((view, sent[view], command))
        elif (
            rng.random() < 0.15
        ):  # the kernel dies; what was not answered comes again, and something that was
            widgets[0].session.close()
            widgets = start()
            for command in arrived[-int(rng.integers(1, 4)) :]:
                widgets[0]._take(widgets[0], {"view": "late", "n": 1, "command": command}, [])
        elif outbox:  # the kernel takes the oldest command
            view, number, command = outbox.pop(0)
            widgets[view]._take(widgets[view], {"view": str(view), "n": number, "command": command}, [])
            state = widgets[view].state
            false_saved += not (state["saved"] and state["acks"][str(view)] == number)
            if "origin" in command:
                arrived += [] if state["message"] else [command]
                _draw(drawn, skipped, command)
        if rng.random() < 0.5:  # a view catches up
            views[view] = widgets[view].state["id"]
    for view, number, command in outbox:
        widgets[view]._take(widgets[view], {"view": str(view), "n": number, "command": command}, [])
        if "origin" in command:
            _draw(drawn, skipped, command)
    session = widgets[0].session
    done = [entry.get("origin") for entry in session.log()]
    lost = sum(c["origin"] not in done and c["do"] == "stroke" for c in arrived)
    wrong = 0
    for id, history in drawn.items():
        session.handle({"do": "open", "id": id})
        same = np.array_equal(session.state.history.maps, history.maps)
        wrong += not (same and session.state.skipped == skipped[id])
    session.close()
    return wrong, lost, false_saved


def _draw(drawn: dict, skipped: dict, command: dict) -> None:
    history, do = drawn[command["image"]], command["do"]
    done = {"stroke": lambda: history.draw(command["stroke"]), "undo": history.undo, "redo": history.redo}
    if do == "skip":
        skipped[command["image"]] = True
    elif (do == "undo" and skipped[command["image"]]) or done[do]() is not False:
        skipped[command["image"]] = False
