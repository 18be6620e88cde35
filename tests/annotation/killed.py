"""Replays a session in a child process, again and again, and kills it at a random moment.

    python tests/annotation/killed.py FOLDER TIMES [SEED]

Prints one JSON: kills that came amid work, acknowledged strokes lost, files that cannot be read.
"""

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from bdgan_lib.annotation.session import Session
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore

SIDE = 64
BLANK = np.zeros((SIDE, SIDE), np.uint8)
NAMES = ("background", "foreground")
ITEMS = [
    Annotation(sample_id("robin", k), "robin", 0, k, Sampling(), "0" * 64, BLANK, "", NAMES)
    for k in range(4)
]  # fmt: skip


def commands(seed: int):
    """A session without end: strokes, undos, redos and steps from image to image."""
    noise = random.Random(seed)
    while True:
        do = noise.choice(["stroke"] * 6 + ["undo", "redo", "open"])
        if do == "open":
            yield {"do": "open", "id": noise.choice(ITEMS).id}
        elif do == "stroke":
            points = [[noise.uniform(0, SIDE), noise.uniform(0, SIDE)] for _ in range(3)]
            yield {
                "do": "stroke",
                "stroke": {"op": "brush", "points": points, "radius": 3, "label": noise.randrange(2)},
            }
        else:
            yield {"do": do}


def opened(folder: Path) -> Session:
    return Session(AnnotationStore(folder), ITEMS, lambda item: None, "ann")


def state(session: Session) -> dict[str, bytes]:
    found = {}
    for item in ITEMS:
        session.handle({"do": "open", "id": item.id})
        found[item.id] = session.state.history.maps.tobytes()
    return found


def work(folder: Path, seed: int, acknowledged: int) -> None:
    """Do commands until killed; tell the parent each one that is done and saved."""
    with opened(folder) as session:
        for command in commands(seed):
            try:
                session.handle(command)
                assert session.saved, session.error
            except BdganError:
                pass  # nothing to undo
            os.write(acknowledged, b".")


def expected(seed: int, count: int, scratch: Path) -> list[dict[str, bytes]]:
    """What stands after `count` commands, and after one more."""
    found = []
    for n in (count, count + 1):
        with opened(scratch / str(n)) as session:
            for command, _ in zip(commands(seed), range(n)):
                with suppress(BdganError):  # nothing to undo
                    session.handle(command)
            found.append(state(session))
    return found


def main(root: Path, times: int, seed: int) -> dict[str, int]:
    noise, counts = random.Random(seed), {"kills": 0, "acknowledged": 0, "lost": 0, "unreadable": 0}
    for k in range(times):
        folder = root / str(k)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            work(folder, k, write)
            os._exit(0)
        os.close(write)
        time.sleep(noise.uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        count = 0
        while data := os.read(read, 65536):
            count += len(data)
        os.close(read)
        counts["kills"] += 1
        counts["acknowledged"] += count
        try:
            for id in AnnotationStore(folder).ids():
                AnnotationStore(folder).load(id)
            with opened(folder) as session:
                found = state(session)
        except (BdganError, OSError) as error:
            print(k, error, file=sys.stderr)
            counts["unreadable"] += 1
            continue
        if found not in expected(k, count, root / f"{k}-plain"):
            counts["lost"] += 1
    return counts


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)))
