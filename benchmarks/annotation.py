"""How long a stroke takes from its arrival in Python until it is on the disk and ready to be shown.

    python -m benchmarks.annotation            400 strokes at 512 pixels; writes results/annotation.json
    python -m benchmarks.annotation --quick    60 strokes, a few seconds; writes annotation_quick.json

Beside it, in turns, the same strokes on a drawing in memory: what no disk can change.

And how long a click's preview takes by `GrabCutSegmenter`, and the clicks that the shipped result of
`bdgan experiment annotation-clicks` counts.
"""

import tempfile
import time
from typing import Any

import numpy as np

from bdgan_lib.annotation.segmenters import GrabCutSegmenter
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.undo_history import UndoHistory
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.experiments.runner import shipped_result
from bdgan_lib.profiles import load_profile
from benchmarks.command import command

SIDE = 512
STROKES = {"full": 400, "quick": 60}


def strokes(count: int) -> list[dict]:
    """Brushes, erasers, polygons with a hole and fills, as large as a hand draws them."""
    noise, found = np.random.default_rng(0), []
    for k in range(count):
        centre, turn = noise.uniform(100, SIDE - 100, 2), np.linspace(0, 2 * np.pi, 40, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1) * noise.uniform(0.8, 1.2, (40, 1))
        target = {"label": int(k % 5 > 0) * (1 + k % 3), "instance": 1 + k % 4}
        if k % 4 == 3:
            stroke = {"op": "fill", "point": centre.tolist()}
        elif k % 2:
            stroke = {"op": "polygon", "rings": [(centre + s * circle).tolist() for s in (90, 30)]}
        else:
            stroke = {"op": "brush", "points": (centre + 80 * circle).tolist(), "radius": 12}
        found.append({**stroke, **target})
    return found


def measure(size: str) -> dict[str, float]:
    count = STROKES[size]
    classes = ("background", "a", "b", "c")
    item = Annotation(
        "robin_00000000", "robin", 0, 0, Sampling(), "0" * 64, np.zeros((SIDE, SIDE), np.uint8), "", classes
    )
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    memory, saved, drawn = UndoHistory(np.zeros((2, SIDE, SIDE), np.uint8), len(classes)), [], []
    with tempfile.TemporaryDirectory() as folder:
        with Session(AnnotationStore(folder), [item], lambda _: image, "bench") as session:
            widget = Annotator(session)
            for n, stroke in enumerate(strokes(count)):
                message = {"view": "v", "n": n, "command": {"do": "stroke", "stroke": stroke}}
                start = time.perf_counter()
                widget._take(widget, message, [])
                saved.append(time.perf_counter() - start)
                assert session.saved and widget.state["acks"] == {"v": n}
                start = time.perf_counter()
                memory.draw(stroke)
                drawn.append(time.perf_counter() - start)
            assert np.array_equal(session.store.load(item.id).mask, memory.labels)
        start = time.perf_counter()
        Session(AnnotationStore(folder), [item], lambda _: image, "bench").close()
        opened = time.perf_counter() - start
    result = {}
    for name, seconds in (("stroke", saved), ("drawing", drawn)):
        for share in (50, 95):
            result[f"{name}_ms_p{share}"] = round(1e3 * float(np.percentile(seconds, share)), 2)
    result |= {"strokes": count, "resume_seconds": round(opened, 2)}
    return {**result, **counted_clicks(), **previews(0.2 if size == "quick" else 2)}


def counted_clicks() -> dict[str, float]:
    """Clicks to 90% IoU by the shipped result; what is not in it is left out."""
    mean = {
        cell["tool"]: cell["mean_clicks"]
        for cell in shipped_result(load_profile("pocket"), "annotation-clicks")["cells"].values()
    }
    result = {"clicks_own": mean["clicks_own"]} if "clicks_own" in mean else {}
    for tool in ("clicks_photographs", "clicks_box_photographs"):
        if tool in mean:
            result[f"{tool}_over_polygon"] = mean[tool] / mean["polygon_photographs"]
    return {key: round(value, 4) for key, value in result.items()}


def previews(seconds: float) -> dict[str, float]:
    """The 95th percentile of the time, in ms, that a mask takes with one to six varied clicks."""
    result = {}
    for side in (64, 512, 2048):
        rows, columns = np.indices((side, side), np.float32) / side
        inside = np.hypot(rows - 0.5, columns - 0.45) < 0.25 + 0.05 * np.sin(9 * rows)
        noise = np.random.default_rng(0)
        image = np.where(inside[..., None], (190, 90, 60), (70, 140, 90)) + noise.normal(
            0, 15, (side, side, 3)
        )
        one: Any = GrabCutSegmenter().start("", np.clip(image, 0, 255).astype(np.uint8))
        one.predict([(side / 2, side / 2, True)])
        times, begun = [], time.perf_counter()
        while time.perf_counter() - begun < seconds:
            places = noise.integers(0, side, (noise.integers(1, 7), 2)).tolist()
            points = [(side * 0.45, side / 2, True), *((x, y, bool(inside[y, x])) for x, y in places)]
            start = time.perf_counter()
            one.predict(points)
            times.append(time.perf_counter() - start)
        result[f"click_preview_ms_{side}"] = round(1e3 * float(np.percentile(times, 95)), 1)
    return result


if __name__ == "__main__":
    command("annotation", __doc__, measure, "a few seconds")
