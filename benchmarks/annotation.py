"""How long a stroke takes from its arrival in Python until it is on the disk, and what the browser needs.

    python -m benchmarks.annotation            400 strokes, 500 schedules; writes results/annotation.json
    python -m benchmarks.annotation --quick    60 strokes, 10 schedules; writes annotation_quick.json

Beside the strokes, in turns, the same on a drawing in memory: what no disk can change. Schedules are two
browsers' views of one session at random, with late answers, commands sent twice and kernels that restart.

And how long a click's preview takes from its arrival, and the clicks that the shipped result of
`bdgan experiment annotation-clicks` counts.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.undo_history import UndoHistory
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.experiments.runner import shipped_result
from bdgan_lib.profiles import load_profile
from benchmarks.annotation_page import opacity_ms
from benchmarks.annotation_schedules import blank, picture, schedule
from benchmarks.command import command

STROKES, SCHEDULES = {"full": 400, "quick": 60}, {"full": 500, "quick": 10}


def strokes(count: int, side: int) -> list[dict]:
    """Brushes, erasers, polygons with a hole and fills, as large as a hand draws them."""
    noise, drawn = np.random.default_rng(0), []
    for k in range(count):
        centre, turn = noise.uniform(100, side - 100, 2), np.linspace(0, 2 * np.pi, 40, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], 1) * noise.uniform(0.8, 1.2, (40, 1))
        target = {"label": int(k % 5 > 0) * (1 + k % 3), "instance": 1 + k % 4}
        if k % 4 == 3:
            stroke = {"op": "fill", "point": centre.tolist()}
        elif k % 2:
            stroke = {"op": "polygon", "rings": [(centre + s * circle).tolist() for s in (90, 30)]}
        else:
            stroke = {"op": "brush", "points": (centre + 80 * circle).tolist(), "radius": 12}
        drawn.append({**stroke, **target})
    return drawn


def stroke_times(side: int, count: int) -> tuple[list[float], list[float], float, list[float]]:
    """Seconds of strokes to the disk and of drawing alone, and of opening; ms of opacity steps."""
    item = blank(0, side)
    memory, saved, drawn = UndoHistory(np.zeros((2, side, side), np.uint8), len(item.classes)), [], []
    with tempfile.TemporaryDirectory() as folder:
        with Session(AnnotationStore(folder), [item], picture, "bench") as session:
            widget = Annotator(session)
            for n, stroke in enumerate(strokes(count, side)):
                message = {"view": "v", "n": n, "command": {"do": "stroke", "stroke": stroke}}
                start = time.perf_counter()
                widget._take(widget, message, [])
                saved.append(time.perf_counter() - start)
                assert session.saved and widget.state["acks"] == {"v": n}
                start = time.perf_counter()
                memory.draw(stroke)
                drawn.append(time.perf_counter() - start)
            assert np.array_equal(session.store.load(item.id).mask, memory.labels)
            opacity = opacity_ms(widget, 40)
        start = time.perf_counter()
        Session(AnnotationStore(folder), [item], picture, "bench").close()
        opened = time.perf_counter() - start
    return saved, drawn, opened, opacity


def measure(size: str) -> dict[str, float]:
    """All figures; times are 95% percentiles in ms where the name says nothing else."""
    result: dict[str, float] = {"strokes": STROKES[size]}
    for side in (512, 2048):
        saved, drawn, opened, opacity = stroke_times(side, STROKES[size] * 512 // side)
        for name, seconds in (("stroke", saved), ("drawing", drawn)):
            result[f"{name}_ms_{side}"] = round(1e3 * float(np.percentile(seconds, 95)), 2)
            result[f"{name}_ms_{side}_median"] = round(1e3 * float(np.median(seconds)), 2)
        result[f"resume_seconds_{side}"] = round(opened, 2)
        result[f"opacity_ms_{side}"] = round(float(np.percentile(opacity, 95)), 1)
    with tempfile.TemporaryDirectory() as folder:
        runs = [schedule(Path(folder) / str(seed), seed) for seed in range(SCHEDULES[size])]
    wrong, lost, false_saved = np.sum(runs, 0).tolist()
    return {
        **result,
        **counted_clicks(),
        **previews(0.2 if size == "quick" else 2),
        "schedules": len(runs),
        "wrong_image_strokes": wrong,
        "lost_strokes": lost,
        "false_saved": false_saved,
    }


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
    """The 95th percentile of the time, in ms, from one to six varied clicks to the preview."""
    result = {}
    for side in (64, 512, 2048):
        rows, columns = np.indices((side, side), np.float32) / side
        inside = np.hypot(rows - 0.5, columns - 0.45) < 0.25 + 0.05 * np.sin(9 * rows)
        noise = np.random.default_rng(0)
        image = np.where(inside[..., None], (190, 90, 60), (70, 140, 90)) + noise.normal(
            0, 15, (side, side, 3)
        )
        image = np.clip(image, 0, 255).astype(np.uint8)
        times, shown = list[float](), partial(lambda image, _: image, image)
        with (
            tempfile.TemporaryDirectory() as folder,
            Session(AnnotationStore(folder), [blank(0, side)], shown, "bench") as session,
        ):
            widget, begun = Annotator(session), time.perf_counter()
            while time.perf_counter() - begun < seconds + 1:
                places = noise.integers(0, side, (noise.integers(1, 7), 2)).tolist()
                points = [[side * 0.45, side / 2, 1], *([x, y, int(inside[y, x])] for x, y in places)]
                command = {"do": "preview", "points": points}
                start = time.perf_counter()
                widget._take(widget, {"view": "v", "n": len(times), "command": command}, [])
                times.append(time.perf_counter() - start)
                assert session.preview is not None
        result[f"click_preview_ms_{side}"] = round(1e3 * float(np.percentile(times, 95)), 1)
    return result


if __name__ == "__main__":
    command("annotation", __doc__, measure, "a minute")
