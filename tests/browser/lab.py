"""JupyterLab on loopback in the system's Chromium: a notebook opened, run, and asked."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# no sandbox: tests may run as root in a container; the rest keeps it from calling home
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


@contextmanager
def jupyter_lab(root: Path, work: Path) -> Iterator[str]:
    """Serve the folder `root`; settings and logs go to `work`. Yields its address, for a `{path}`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    homes = {
        name: str(work / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                     "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }  # fmt: skip
    quiet = Path(homes["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension"
    quiet.mkdir(parents=True)
    settings = '{"fetchNews": "false", "checkForUpdates": false}'
    (quiet / "notification.jupyterlab-settings").write_text(settings)
    with (work / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
             f"--ServerApp.root_dir={root}", "--expose-app-in-browser",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **homes},
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}")
            yield f"http://127.0.0.1:{port}/lab/tree/{{path}}?token={token}&reset"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


@contextmanager
def browser(work: Path) -> Iterator[Page]:
    """A page of the system's Chromium; what it says goes to `work/console.log`."""
    with sync_playwright() as playwright, (work / "console.log").open("w") as log:
        context = playwright.chromium.launch_persistent_context(
            str(work / "chromium"), executable_path=CHROMIUM, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )  # fmt: skip
        page = context.pages[0]
        page.on("console", lambda message: print(message.type, message.text[:500], file=log, flush=True))
        page.on("pageerror", lambda error: print("pageerror", error, file=log, flush=True))
        try:
            yield page
        finally:
            context.close()


def _wait_for(address: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def write_notebook(path: Path, cells: list) -> None:
    """A notebook of these cells for this interpreter's kernel."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def run_all(page: Page, address: str, path: str) -> None:
    """Open a notebook and run every cell; returns when the last one is done."""
    page.goto(address.format(path=path), timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    # a click on "Run All" before the kernel has answered is lost: wait for its info, then run the command
    page.evaluate(
        """async () => {
            const app = window.jupyterapp, panel = app.shell.currentWidget;
            await panel.context.ready; await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
            await app.commands.execute('notebook:run-all-cells'); }"""
    )


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of "rgb(r, g, b)"."""
    rgb = np.array([int(x) for x in colour[4:-1].split(",")]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


class Hand:
    """A hand at the annotator's widget: points are pixels of the image."""

    def __init__(self, page: Page, side: int, nth: int = 0, settled: bool = True) -> None:
        self.page, self.side, self.sent, self.nth = page, side, 0, nth
        self.root = page.locator(".bdgan").nth(nth)
        self.root.wait_for(timeout=120_000)
        self.canvas = page.locator(".bdgan-canvas").nth(nth)
        self.canvas.scroll_into_view_if_needed()
        if settled:
            self.settle()

    def at(self, point: list[float]) -> tuple[float, float]:
        """Where on the page a point of the image is."""
        box = self.canvas.bounding_box()
        assert box
        return box["x"] + point[0] * box["width"] / self.side, box["y"] + point[1] * box["height"] / self.side

    def click(self, *points: list[float]) -> None:
        for point in points:
            self.page.mouse.click(*self.at(point))

    def drag(self, *points: list[float]) -> None:
        self.page.mouse.move(*self.at(points[0]))
        self.page.mouse.down()
        for point in points[1:] or points:
            self.page.mouse.move(*self.at(point), steps=8)
        self.page.mouse.up()

    def key(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def done(self, commands: int = 1) -> None:
        """Wait until that many more commands are acknowledged and all is saved."""
        self.sent += commands
        self.until(f"root.dataset.saved === 'yes' && root.dataset.acked === '{self.sent}'")

    def settle(self) -> None:
        self.until("root.dataset.saved === 'yes'")
        self.page.wait_for_timeout(500)  # the layout comes to rest

    def until(self, condition: str, timeout: float = 60_000) -> None:
        """Wait for a condition in JavaScript on the widget's `root`."""
        self.page.wait_for_function(
            f"n => {{ const root = document.querySelectorAll('.bdgan')[n]; return root && ({condition}); }}",
            arg=self.nth, timeout=timeout,
        )  # fmt: skip

    def says(self, part: str) -> str:
        """The text of the widget's part of this class: "chip", "message"."""
        return self.root.locator(f".bdgan-{part}").inner_text()

    def id(self) -> str:
        return str(self.root.get_attribute("data-id"))

    def labels_on_screen(self) -> Any:
        """At the middle of every pixel of the image: whether the canvas shows label 1 there, [side][side]."""
        self.page.get_by_label("opacity").fill("1")
        self.page.wait_for_timeout(300)
        return self.page.evaluate(
            """side => {
                const canvas = document.querySelector('.bdgan-canvas'), zoom = canvas.width / side;
                const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                const at = k => Math.floor((k + 0.5) * zoom);
                return Array.from({ length: side }, (_, y) => Array.from({ length: side }, (_, x) => {
                    const i = 4 * (at(y) * canvas.width + at(x));
                    return [230, 159, 0].every((v, k) => pixels[i + k] === v); })); }""",
            self.side,
        )
