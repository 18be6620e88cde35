"""The page that runs the model, in a real browser: what it shows is the library's, and anyone can use it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.profiles import load_profile
from bdgan_lib.visualization.colors import colour_mask
from benchmarks.delivery import served

from .lab import browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
CANVAS = """name => { const canvas = document.getElementById(`play-${name}`);
    return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]; }"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The page in the site's theme, without the other pages."""
    for package in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(package, reason="needs the extra `site`")
    sys.path.append(str(ROOT / "docs/make"))
    from model_page import write_lone_site
    from runtime import runtime

    package = runtime()
    if package is None and not os.environ.get("BDGAN_REQUIRE_BROWSER"):
        pytest.skip("needs npm, or its package in the user's cache")
    assert package is not None
    return write_lone_site(tmp_path_factory.mktemp("site"), package)


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    """The page, loaded; what it asked for and what it said are kept in `page.asked` and `page.said`."""
    with served(site) as address, browser(tmp_path_factory.mktemp("work")) as page:
        page.address, page.asked, page.said = address, [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.set_viewport_size(DESK)
        page.goto(f"{address}play.html")
        page.wait_for_function("document.getElementById('play').dataset.warm", timeout=120_000)
        yield page


@pytest.fixture(scope="module")
def graph(site):
    """The file that the page runs, in onnxruntime for Python."""
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(site / "_static/play/model.onnx"))


def set_to(page, **values: object) -> None:
    """Set controls of the page, and wait until it has drawn what they say."""
    before = page.evaluate("Number(document.getElementById('play').dataset.drawn)")
    for name, value in values.items():
        page.evaluate(
            """([name, value]) => { const control = document.getElementById(`play-${name}`);
                control.value = value; control.dispatchEvent(new Event("input", { bubbles: true })); }""",
            [name.replace("_", "-"), str(value)],
        )
    page.wait_for_function("n => Number(document.getElementById('play').dataset.drawn) > n", arg=before)
    page.wait_for_timeout(300)


def shown(page, name: str) -> np.ndarray:
    """RGB [64, 64, 3] of a canvas."""
    return np.array(page.evaluate(CANVAS, name), np.uint8).reshape(64, 64, 4)[..., :3]


def inputs(name: str, seed: int, truncation: float, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The graph's inputs for a sample of the library."""
    weights = np.eye(len(classes), dtype=np.float32)[[classes.index(name)]]
    latent = latents_from_seeds(torch.tensor([seed]), 64, Sampling(truncation)).numpy()
    return {"latent": latent, "class_weights": weights, "truncation": np.array([truncation], np.float32)}


@pytest.mark.parametrize(
    ("name", "seed", "truncation"), [("robin", 0, 1.0), ("mug", 255, 1.0), ("car", 7, 0.5)]
)
def test_the_picture_of_a_class_and_a_seed_is_the_library_s(page, graph, name, seed, truncation):
    profile = load_profile("pocket")
    set_to(page, **{"class": name}, seed=seed, truncation=truncation, mix=0, first=0, second=0, opacity=1)
    generator, class_id = profile.generator(), profile.class_id(name)
    sample = generator.sample(torch.tensor([class_id]), torch.tensor([seed]), Sampling(truncation))
    picture = shown(page, "image")
    apart = np.abs(picture.astype(int) - to_uint8(sample.images)[0])
    assert apart.max() <= 1 and (apart > 0).mean() < 0.001  # where a value lies between two bytes
    (mask,) = graph.run(["mask"], inputs(name, seed, truncation, profile.classes))
    assert mask.any()
    expected = np.where(mask[0][..., None] > 0, colour_mask(mask[0]), picture)
    assert (shown(page, "labels") != expected).any(-1).mean() <= 1e-3


def test_mixing_ends_at_the_other_sample(page):
    set_to(page, **{"class": "apple"}, seed=3, mix=1, other_class="house", other_seed=9)
    mixed = shown(page, "image")
    set_to(page, **{"class": "house"}, seed=9, mix=0)
    assert np.array_equal(shown(page, "image"), mixed)


def test_the_pad_moves_the_picture_and_brings_it_back(page):
    set_to(page, **{"class": "robin"}, seed=4, mix=0)
    first = shown(page, "image")
    box = page.locator("#play-pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.2 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)
    assert np.abs(shown(page, "image").astype(int) - first).mean() > 3
    assert abs(float(page.locator("#play-first").input_value()) - 0.8) < 0.05
    page.locator("#play-rest").click()
    page.wait_for_timeout(1500)
    assert np.array_equal(shown(page, "image"), first)


def test_a_pixel_says_what_the_graph_says(page, graph):
    profile = load_profile("pocket")
    set_to(page, **{"class": "robin"}, seed=0, truncation=1, mix=0, first=0, second=0)
    names = ["probabilities", "uncertainty"]
    probabilities, uncertainty = graph.run(names, inputs("robin", 0, 1.0, profile.classes))
    y, x = np.unravel_index(uncertainty[0].argmax(), uncertainty[0].shape)
    box = page.locator("#play-labels").bounding_box()
    page.locator("#play-labels").click(
        position={"x": (x + 0.5) * box["width"] / 64, "y": (y + 0.5) * box["height"] / 64}
    )
    said = page.locator("#play-pixel").inner_text()
    assert f"Pixel {x}, {y}: " in said and abs(float(said.split()[-2]) - uncertainty[0, y, x]) < 2e-4
    bars = [row.inner_text().split() for row in page.locator("#play-bars li").all()]
    assert [bar[0] for bar in bars] == ["background", *profile.parts["robin"]]
    assert np.allclose([float(bar[1][:-1]) for bar in bars], 100 * probabilities[0, :, y, x], atol=0.06)
    page.keyboard.press("ArrowRight")  # from the canvas that was clicked
    page.locator("#play-labels").focus()
    page.keyboard.press("ArrowDown")
    assert f"Pixel {min(63, x + 1)}, {min(63, y + 1)}: " in page.locator("#play-pixel").inner_text()


def test_a_head_is_taught_by_a_few_strokes(page, graph):
    profile = load_profile("pocket")
    page.locator("#play-train").click()
    assert "Paint some object" in page.locator("#play-verdict").inner_text()
    for k, board in enumerate(page.locator(".play-board").all()):
        (mask,) = graph.run(["mask"], inputs("robin", k, 1.0, profile.classes))
        board.scroll_into_view_if_needed()
        box = board.bounding_box()
        inside = np.argwhere(mask[0] > 0)
        row = int(np.median(inside[:, 0]))
        columns = inside[inside[:, 0] == row][:, 1]
        strokes = {
            "object": [(row, columns.min() + 3), (row, columns.max() - 3)],
            "background": [(2, 2), (2, 61), (61, 61), (61, 2), (2, 2)],
        }
        for tool, points in strokes.items():
            page.locator(f"#play-{tool}").check()
            at = [(box["x"] + (c + 0.5) * box["width"] / 64, box["y"] + (r + 0.5) * box["height"] / 64)
                  for r, c in points]  # fmt: skip
            page.mouse.move(*at[0])
            page.mouse.down()
            for place in at[1:]:
                page.mouse.move(*place, steps=10)
            page.mouse.up()
    page.locator("#play-train").click()
    page.wait_for_function("document.getElementById('play').dataset.overlap", timeout=30_000)
    assert float(page.evaluate("document.getElementById('play').dataset.overlap")) > 0.6
    page.locator("#play-clear").click()


def test_a_board_is_painted_with_keys(page):
    board = page.locator(".play-board").first
    seen = """() => { const canvas = document.querySelector(".play-board");
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]; }"""
    page.locator("#play-object").check()
    board.focus()
    page.keyboard.press("ArrowRight")
    before = np.array(page.evaluate(seen))
    page.keyboard.press(" ")
    changed = (np.array(page.evaluate(seen)) != before).reshape(-1, 4).any(1).sum()
    assert 9 <= changed <= 13  # a disc of radius 2, less the cursor's mark


def test_the_linear_head_is_logistic_regression(page):
    linear_model = pytest.importorskip("sklearn.linear_model")
    noise = np.random.default_rng(0)
    features, labels = noise.standard_normal((2, 5, 200)), noise.integers(0, 3, (2, 200))
    labels[:, :60] = np.where(features[:, 0, :60] + noise.standard_normal((2, 60)) > 0, 1, 2)
    weights = page.evaluate(
        """async examples => { const head = await import("./_static/play/linear_head.js");
            return [...head.trainHead(examples, 0.01)]; }""",
        [{"features": f.ravel().tolist(), "labels": k.tolist()} for f, k in zip(features, labels)],
    )
    rows, kinds = features.transpose(0, 2, 1).reshape(-1, 5), labels.ravel()
    known = kinds > 0
    count = np.bincount(kinds[known], minlength=3)
    theirs = linear_model.LogisticRegression(C=1 / 0.01, tol=1e-10, max_iter=1000)
    theirs.fit(rows[known], kinds[known] == 1, sample_weight=0.5 / count[kinds[known]])
    assert np.allclose(weights, [*theirs.coef_[0], *theirs.intercept_], atol=1e-4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_serves_everyone(page, scheme, size):
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    broken = Axe().run(page).response["violations"]
    assert [x["id"] for x in broken if x["impact"] in ("serious", "critical")] == []
    if folder := os.environ.get("BDGAN_PICTURES"):
        page.screenshot(path=f"{folder}/model_page_{scheme}_{size['width']}.png", full_page=True)
    page.set_viewport_size(DESK)


def test_keys_alone_reach_every_control(page):
    controls = """() => [...document.querySelectorAll("#play :is(select, input, button, canvas[tabindex])")]
        .map(x => x.id || x.className)"""
    expected = set(page.evaluate(controls)) - {
        "play-background",
        "play-eraser",
    }  # of a group of radio buttons
    page.locator("#play-image").focus()
    reached = {"play-image"}
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert expected - {"play-object"} <= reached


def test_nothing_is_asked_elsewhere_and_nothing_complains(page):
    assert page.asked and all(url.startswith(page.address) for url in page.asked)
    assert page.said == []
