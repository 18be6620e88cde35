"""The page: a function of its results, with every text escaped and pictures paired by content."""

import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.gallery import Example, Gallery, galleries
from bdgan_lib.downstream.benchmark.score import score
from bdgan_lib.downstream.benchmark.site import page, write_site
from bdgan_lib.visualization.colors import colour_mask

HOSTILE = "</title></script><script>alert(1)</script><img src=x onerror='alert(2)'>\" onclick=\"x&amp;"


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text, self._within = [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._within = tag

    def handle_data(self, data):
        if self._within not in ("style", "script"):
            self.text += data


@pytest.fixture
def scored(task, truth, predict):
    """Two results with their folders."""
    folders = [predict("good", 0.1), predict("bad", 0.6)]
    return [score(task, truth, f, f.name, "2024-01-01") for f in folders], folders


def test_the_best_stands_first_and_every_figure_is_there(scored):
    good, bad = scored[0]
    read = Reader(page([bad, good], {}))
    assert good.miou > bad.miou and read.text.index("good") < read.text.index("bad")
    for result in (good, bad):
        assert f"{result.miou:.3f}" in read.text and f"{result.interval[0]:.3f} to" in read.text
        spoken = [a["aria-label"] for tag, a in read.tags if tag == "svg" and "aria-label" in a]
        assert any(f"cat {result.iou[1]:.3f}, dog {result.iou[2]:.3f}" in words for words in spoken)
    assert page([bad, good], {}) == page([bad, good], {}), "no clock, no chance"


def test_only_results_on_the_same_labels_share_a_table(scored):
    good, bad = scored[0]
    tables = lambda *results: page(results, {}).count("<table")
    assert tables(good, bad) == 1
    assert tables(good, replace(bad, labels_sha256="0" * 64)) == 2
    assert tables(good, replace(bad, world="imagenet")) == tables(good, replace(bad, task="Dogs")) == 2


def test_a_hostile_text_stays_text(scored):
    """Whatever field it comes in: as many tags and attributes as with a harmless one."""
    good, labels = scored[0][0], ("background", HOSTILE, "dog")
    hostile = replace(good, name=HOSTILE, task=HOSTILE, world=HOSTILE, version=HOSTILE, labels=labels)
    shape = lambda html: [(tag, sorted(attributes)) for tag, attributes in Reader(html).tags]
    assert shape(page([hostile], {})) == shape(page([good], {}))
    # heading twice, name, summary, version, label
    assert Reader(page([hostile], {})).text.count(HOSTILE) == 6


def test_nothing_is_loaded_from_elsewhere_and_the_policy_names_what_stands_in_the_page(scored, task, truth):
    shown = galleries(*scored, {task.name: task}, lambda _: truth)
    html = page(scored[0], shown)
    bare = re.sub(r'src="data:[^"]*"', "", html)
    assert not re.search(r"https?:|//\w|url\(|@import|\s(style|href|src|on\w+)=", bare)
    policy = next(a["content"] for _, a in Reader(html).tags if "Policy" in a.get("http-equiv", ""))
    for kind in ("style", "script"):
        inline = re.search(f"<{kind}>(.*?)</{kind}>", html, re.S).group(1)
        assert f"{kind}-src 'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_folders_find_their_results_in_any_order_and_show_what_was_scored(scored, task, truth):
    results, folders = scored
    asked = []
    shown = galleries(results, folders[::-1], {task.name: task}, lambda t: asked.append(t) or truth)
    assert sorted(shown) == [0, 1] and asked == [task], "labels are made once"
    for i, result in enumerate(results):
        assert tuple(e.id for e in shown[i].best) == result.best
        assert tuple(e.id for e in shown[i].worst) == result.worst
        for chosen in (shown[i].best, shown[i].worst[::-1]):
            assert [e.miou for e in chosen] == sorted((e.miou for e in chosen), reverse=True)
        for e in shown[i].best:
            prediction = decode_png((folders[i] / f"{e.id}.png").read_bytes())
            assert np.array_equal(e.predicted, prediction) and np.array_equal(e.image, truth.image(e.id))


def test_pictures_are_the_image_the_labels_and_the_prediction(scored, task, truth):
    shown = galleries(*scored, {task.name: task}, lambda _: truth)
    read = Reader(page(scored[0][:1], shown))
    pictures = [a for tag, a in read.tags if tag == "img"]
    assert len(pictures) == 3 * 10
    first, decoded = shown[0].best[0], [decode_png(b64decode(a["src"].split(",")[1])) for a in pictures[:3]]
    assert [a["alt"].split(" ")[0] for a in pictures[:3]] == ["image", "true", "prediction"]
    assert np.array_equal(decoded[0], first.image)
    used = np.union1d(first.target, first.predicted)
    if set(used.tolist()) >= {0, 1, 2}:
        assert np.array_equal(decoded[1], colour_mask(first.target))
        assert np.array_equal(decoded[2], colour_mask(first.predicted))
    assert f"mIoU {first.miou:.3f}" in read.text


def test_a_large_image_is_made_small_and_a_prediction_of_a_thousand_labels_is_shown(scored):
    labels = ("background", *(f"label {n}" for n in range(1, 1000)))
    wide = replace(scored[0][0], labels=labels, both=(1,) * 1000, predicted=(1,) * 1000, target=(1,) * 1000)
    mask = np.arange(400 * 600).reshape(400, 600) % 1000
    example = Example("a", 0.5, np.zeros((400, 600, 3), np.uint8), np.full_like(mask, 255), mask)
    read = Reader(page([wide], {0: Gallery((example,), ())}))
    sizes = {decode_png(b64decode(a["src"].split(",")[1])).shape for tag, a in read.tags if tag == "img"}
    assert sizes == {(128, 192, 3)} and "unlabelled or another" in read.text


def test_strange_folders_and_other_labels_are_refused(scored, task, truth, predict, tmp_path):
    results, folders = scored
    with pytest.raises(BdganError, match="third holds the predictions of no result"):
        galleries(results, [predict("third", 0.5)], {task.name: task}, lambda _: truth)
    with pytest.raises(BdganError, match="of no result"):
        galleries(results, folders, {}, lambda _: truth)
    truth.labels[truth.ids[0]][0, 0] ^= 3
    with pytest.raises(BdganError, match="'good' was scored on other labels"):
        galleries(results, folders, {task.name: task}, lambda _: truth)
    with pytest.raises(BdganError, match="no results to show"):
        write_site([], tmp_path / "site")
    assert not (tmp_path / "site").exists()
