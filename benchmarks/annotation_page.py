"""The annotator's own part in the browser, without Jupyter: how long a step of the opacity slider takes."""

import base64
import shutil
from typing import Any

import numpy as np

from bdgan_lib.annotation.widget import Annotator

FLAGS = ["--no-sandbox", "--disable-gpu"]
PAGE = """async ({ code, state }) => {
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const { default: widget } = await import(address);
    const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
    state.picture = bytes(state.picture); state.maps.data = bytes(state.maps.data);
    const model = { get: key => state[key], on() {}, off() {}, send() {} };
    widget.render({ model, el: document.body });
}"""
STEPS = """async steps => {
    const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d"), times = [];
    const slider = document.querySelector("[aria-label=opacity]");
    for (let k = 0; k < steps; k++) {
        const start = performance.now();
        slider.value = 0.2 + (0.05 * k) % 0.8; slider.dispatchEvent(new Event("input", { bubbles: true }));
        pen.getImageData(0, 0, 1, 1); // waits until it is drawn
        times.push(performance.now() - start);
    }
    return times;
}"""


def opacity_ms(widget: Annotator, steps: int) -> list[float]:
    """Milliseconds of each step of the opacity slider, in headless Chromium without a graphics card."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    state: dict[str, Any] = {key: widget.get_state(key)[key] for key in ("state", "items", "picture", "maps")}
    state["picture"] = base64.b64encode(state["picture"]).decode()
    state["maps"]["data"] = base64.b64encode(state["maps"]["data"]).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1366, "height": 1000})
        page.evaluate(PAGE, {"code": widget._esm, "state": state})
        page.wait_for_function("document.querySelector('.bdgan').dataset.saved === 'yes'")
        page.add_style_tag(content=str(widget._css))
        page.wait_for_timeout(500)
        times: list[float] = page.evaluate(STEPS, steps)
        browser.close()
    return np.asarray(times)[1:].tolist()
