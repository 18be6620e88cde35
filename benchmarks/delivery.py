"""What reaches users: ONNX file, the page that runs it, the Hub, and recipes for other trainers.

    python -m benchmarks.delivery                 writes results/delivery.json
    python -m benchmarks.delivery --only page     measures one part again; the others stay in the file
    python -m benchmarks.delivery --quick         fewer samples; writes delivery_quick.json

`onnx` needs the extra onnx, `recipes` the extra trainers; `page` needs Chromium, and npm once. Times of the
page are headless Chromium's, without a graphics card, of a server on this machine: from the navigation to the
first picture, and from a move of the pad to the picture it asks for. The differences are largest ones over
200,000 pixels and more.
"""

import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import command

LOADS, MOVES = {"full": 7, "quick": 3}, {"full": 100, "quick": 30}
FLAGS = ["--no-sandbox", "--disable-gpu"]
sys.path.append(str(Path(__file__).parents[1] / "docs/make"))  # what the site's page is made with


def onnx(size: str) -> dict[str, Any]:
    """The pocket's graph in both precisions, with the head of the page."""
    from model_page import FEATURES, HEAD, TRAINING

    from bdgan_lib import load_profile, train_head
    from bdgan_lib.heads.onnx_export import export_onnx
    from bdgan_lib.heads.onnx_graph import OPSET
    from bdgan_lib.profiles.annotated import training_annotations

    profile = load_profile("pocket")
    generator, annotations = training_annotations(profile)
    head, _ = train_head(generator, annotations, TRAINING, HEAD, progress=None)
    result: dict[str, Any] = {"onnx_opset": OPSET}
    with tempfile.TemporaryDirectory() as folder:
        full, half = Path(folder) / "fp32.onnx", Path(folder) / "fp16.onnx"
        gaps = export_onnx(generator, head, full, "fp32", profile.sampling)
        result["onnx_max_difference"] = float(f"{gaps.largest:.2e}")
        result["onnx_fp32_mb"] = round(full.stat().st_size / 1e6, 2)
        gaps = export_onnx(generator, head, half, "fp16", profile.sampling, FEATURES)
        result["onnx_fp16_other_labels"] = float(f"{gaps.mask:.2e}")
        result["onnx_fp16_image_difference"] = float(f"{gaps.image:.2e}")
        result["onnx_mb"] = round(half.stat().st_size / 1e6, 2)
    return result


def page(size: str) -> dict[str, Any]:
    """The page, loaded anew several times, and then dragged; medians, and of drags the 95th percentile."""
    from model_page import write_lone_site
    from playwright.sync_api import sync_playwright
    from runtime import runtime

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None or (package := runtime()) is None:
        sys.exit("error: the page needs Chromium and npm")
    firsts, drags = [], []
    with tempfile.TemporaryDirectory() as folder:
        site = write_lone_site(Path(folder), package)
        with sync_playwright() as playwright, served(site) as address:
            for _ in range(LOADS[size]):
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                tab = browser.new_page(viewport={"width": 1280, "height": 900})
                tab.goto(f"{address}play.html")
                tab.wait_for_function("document.getElementById('play').dataset.warm", timeout=120_000)
                firsts.append(float(tab.evaluate("document.getElementById('play').dataset.first")) / 1000)
                if len(firsts) == LOADS[size]:
                    drags = _drags(tab, MOVES[size])
                browser.close()
    return {
        "page_first_image_s": round(statistics.median(firsts), 2),
        "page_first_image_s_slowest": round(max(firsts), 2),
        "page_drag_ms": round(float(np.percentile(drags, 95)), 1),
        "page_drag_ms_median": round(statistics.median(drags), 1),
    }


def _drags(tab: Any, moves: int) -> list[float]:
    """Milliseconds of each move of the pad until its picture is drawn."""
    box = tab.locator("#play-pad").bounding_box()
    times = []
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    for k in range(moves):
        drawn = tab.evaluate("Number(document.getElementById('play').dataset.drawn)")
        turn = 2 * np.pi * k / 40
        x, y = 0.5 + 0.45 * np.cos(turn), 0.5 + 0.45 * np.sin(turn)
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        tab.wait_for_function("n => Number(document.getElementById('play').dataset.drawn) > n", arg=drawn)
        times.append(float(tab.evaluate("document.getElementById('play').dataset.ms")))
    tab.mouse.up()
    return times


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; yields its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def hub(size: str) -> dict[str, Any]:
    """A data set, a head and a model to a stand-in of the Hub and back."""
    from benchmarks.hub import hub_round_trip_equal

    return {"hub_round_trip_equal": hub_round_trip_equal()}


def recipes(size: str) -> dict[str, Any]:
    """The recipes that trained as they are written, with a falling loss and the right number of classes."""
    from benchmarks.recipes import recipes_trained

    return {"recipes_trained": recipes_trained()}


if __name__ == "__main__":
    command("delivery", __doc__, {"onnx": onnx, "page": page, "hub": hub, "recipes": recipes}, "ten minutes")
