"""The widget's Python side: what it shows of a session, and what comes of a browser's messages."""

import base64
import zlib

import numpy as np
import pytest

from bdgan_lib.annotation.segmenters import GrabCutSegmenter
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.datasets.annotation_store import AnnotationStore
from benchmarks.annotation_schedules import schedule

from .conftest import SIDE, dab, item, picture, polygon


@pytest.fixture
def widget(session):
    return Annotator(session)


def unpacked(data: bytes, height: int, width: int) -> np.ndarray:
    """Labels and instances [2, height, width] of what a browser is sent."""
    data = zlib.decompress(data)
    runs = len(data) // 6
    pairs = np.repeat(np.frombuffer(data, "<u2", offset=4 * runs), np.frombuffer(data, "<u4", runs))
    return np.stack(np.divmod(pairs.reshape(height, width), 256)).astype(np.uint8)


def tell(widget, n, **command):
    widget._take(widget, {"view": "v", "n": n, "command": command}, [])


def test_it_shows_the_session(widget, session):
    tell(widget, 1, **polygon(), done=True)
    whole = widget.get_state("maps")["maps"]
    labels, instances = unpacked(whole["data"], SIDE, SIDE)
    assert np.array_equal(labels, session.state.history.labels) and instances.max() == 1
    assert whole["serial"] == widget.state["serial"] and whole["size"] == [SIDE, SIDE]
    assert np.array_equal(decode_png(widget.picture), picture(session.item))
    state = widget.state
    assert state["acks"] == {"v": 1} and state["saved"] and state["undo"] and not state["redo"]
    assert state["labels"] == ["background", "body", "beak"] and state["size"] == [SIDE, SIDE]
    assert state["classes"] == [
        {"name": "robin", "done": 1, "started": 0, "skipped": 0, "total": 2},
        {"name": "mug", "done": 0, "started": 0, "skipped": 0, "total": 1},
    ]
    assert state["statuses"] == "d.." and state["status"] == "labelled"
    tell(widget, 2, do="next")
    assert widget.state["id"] == "robin_00000001" and np.array_equal(
        decode_png(widget.picture), picture(session.item)
    )


def test_a_mistake_is_a_message_and_the_next_command_takes_it_away(widget):
    tell(widget, 1, do="undo")
    assert widget.state["message"] == "there is nothing to undo" and widget.state["acks"] == {"v": 1}
    tell(widget, 2, do="save")
    assert widget.state["message"] == ""


@pytest.mark.parametrize(
    "content", [None, "x", {}, {"command": "undo", "n": 1, "view": "v"}, {"n": "<b>", "command": {}}]
)
def test_what_is_no_command_changes_nothing(widget, session, content):
    widget._take(widget, content, [])
    assert widget.state["message"] and not session.state.history.maps.any()


def test_a_picture_that_cannot_be_read_is_told(widget, session, monkeypatch):
    monkeypatch.setattr(session, "picture", lambda _: 1 / 0)
    tell(widget, 1, do="next")
    assert "robin_00000001 cannot be shown" in widget.state["message"] and widget.picture == b""
    assert session.id == "robin_00000001" and "image/png" not in widget._repr_mimebundle_()[0]
    monkeypatch.undo()
    tell(widget, 2, do="save")
    assert widget.state["message"] == "" and widget.picture


def test_an_interrupted_command_is_answered(widget, session, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(GrabCutSegmenter, "start", interrupted)
        tell(widget, 1, do="segment", points=[[10, 10, 1]])
    assert widget.state["acks"] == {"v": 1} and "interrupted" in widget.state["message"]
    assert not session.log() and not session.state.history.strokes
    tell(widget, 2, do="segment", points=[[10, 10, 1]])
    assert widget.state["message"] == "" and len(session.log()) == 1


def test_what_the_disk_refuses_is_shown(widget, session, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("bdgan_lib.datasets.journal.os.pwrite", full)
        tell(widget, 1, **polygon())
        assert not widget.state["saved"] and "No space left" in widget.state["message"]
    tell(widget, 2, do="save")
    assert widget.state["saved"] and widget.state["message"] == ""


def test_every_widget_shows_what_any_of_them_does_and_the_newest_session(widget, session, folder):
    other = Annotator(session)
    tell(widget, 1, do="skip")
    assert other.state["skipped"] and other.state["classes"][0] == {
        "name": "robin", "done": 0, "started": 0, "skipped": 1, "total": 2
    }  # fmt: skip
    session.close()
    assert widget.state["closed"] and other.state["closed"]
    tell(widget, 2, **polygon())
    assert widget.state["message"] and not session.state.history.maps.any()
    with Session(AnnotationStore(folder), [item(0), item(1)], picture, "ann"):
        late = Annotator(Session(AnnotationStore(folder), [item(0), item(1)], picture, "ann"))
        again = Session(AnnotationStore(folder), [item(0), item(1)], picture, "ann")
        tell(late, 1, **polygon(), image=item(1).id)
        assert late.session is again and not late.state["closed"]
        assert AnnotationStore(folder).load(item(1).id).mask.any()
        again.close()


def test_a_saved_notebook_holds_a_picture(widget, session):
    tell(widget, 1, **polygon())
    data, metadata = widget._repr_mimebundle_()
    still = decode_png(base64.b64decode(data["image/png"]))
    assert still.shape[0] >= 300 and "robin" in metadata["image/png"]["alt"] == data["text/plain"]
    assert (still[:: still.shape[0] // SIDE, :: still.shape[0] // SIDE] != picture(session.item)).any()


@pytest.fixture
def browser(widget, monkeypatch):
    """What a browser knows of the labels: the whole of an image, and then what changes."""
    known = {"serial": -1, "maps": None, "wholes": 0, "previews": [], "thumbnails": {}}

    def whole(key):
        if "maps" not in key:
            return
        state = widget.get_state(key)["maps"]
        known.update(serial=state["serial"], maps=unpacked(state["data"], *state["size"]))
        known["wholes"] += 1

    def send(content, buffers=None):
        if "patch" in content:
            assert content["patch"]["serial"] == known["serial"] + 1
            y0, y1, x0, x1 = content["patch"]["box"]
            patch = unpacked(buffers[0], y1 - y0, x1 - x0)
            known["maps"][:, y0:y1, x0:x1], known["serial"] = patch, content["patch"]["serial"]
        elif "preview" in content:
            known["previews"].append((content["preview"], zlib.decompress(buffers[0])))
        else:
            known["thumbnails"][content["thumbnail"]] = buffers[0]

    whole("maps")
    monkeypatch.setattr(widget, "send_state", whole)
    monkeypatch.setattr(widget, "send", send)
    return known


def test_what_changes_is_all_a_browser_needs(widget, session, browser):
    rng = np.random.default_rng(0)
    for n in range(60):
        x, y, label, instance = *rng.integers(0, SIDE, 2).tolist(), int(rng.integers(3)), int(rng.integers(4))
        kinds = [dab(x, y, 4, label, instance), *({"do": do} for do in ("undo", "redo", "skip"))]
        kinds.append({"do": "open", "id": item(int(rng.integers(2))).id})
        command = kinds[rng.choice(5, p=[0.6, 0.15, 0.1, 0.05, 0.1])]
        tell(widget, n, **command)
        maps = session.state.history.maps
        assert np.array_equal(browser["maps"], maps) and browser["serial"] == widget.state["serial"]
        pairs, counts = np.unique(maps.reshape(2, -1), axis=1, return_counts=True)
        areas = [[*pair, n] for pair, n in zip(pairs.T.tolist(), counts.tolist(), strict=True)]
        assert widget.state["objects"] == [area for area in areas if area[0] not in (0, 255)]
    assert browser["wholes"] < 15, "only when another image is opened"


def test_a_preview_changes_nothing_and_is_what_accepting_it_draws(widget, session, browser):
    square = [SIDE * 3 / 8, SIDE * 3 / 8, 1]
    clicks = {"points": [square, [2, 2, 0]], "box": [1, 1, SIDE - 4, SIDE - 4]}
    tell(widget, 1, do="preview", **clicks, image=session.id)
    journal = (session.store.root / "journal.jsonl").read_bytes()
    assert not session.state.history.maps.any() and not journal
    (about, packed), shown = browser["previews"][0], np.zeros((SIDE, SIDE), bool)
    y0, y1, x0, x1 = about["box"]
    shown[y0:y1, x0:x1] = np.frombuffer(packed, np.uint8).reshape(y1 - y0, x1 - x0) >> 7
    assert about["id"] == session.id and about["n"] == 1 and shown[12, 12]
    tell(widget, 2, do="segment", **clicks, label=2, image=session.id)
    assert np.array_equal(session.state.history.labels == 2, shown)
    strangers = [{**clicks, "segmenter": name} for name in ("none", 1)]
    for wrong in [
        *({"points": points} for points in ([[1, 1]], [[1, 1, 2]], "x", [])),
        {"box": [1]},
        *strangers,
    ]:
        tell(widget, 3, do="preview", **wrong)
        assert widget.state["message"] and len(session.state.history.strokes) == 1


def test_thumbnails_are_sent_when_asked_for(widget, session, browser, monkeypatch):
    widget._take(widget, {"view": "v", "thumbnail": item(1).id}, [])
    widget._take(widget, {"view": "v", "thumbnail": "nobody"}, [])
    assert (
        list(browser["thumbnails"]) == [item(1).id] and browser["thumbnails"][item(1).id][:2] == b"\xff\xd8"
    )
    monkeypatch.setattr(session, "picture", lambda _: 1 / 0)
    widget._take(widget, {"view": "v", "thumbnail": item(0).id}, [])
    assert browser["thumbnails"][item(0).id] == b"", "opening the image says what is wrong"


def test_no_stroke_lands_on_another_image_is_lost_or_called_saved(tmp_path):
    for seed in range(25):  # 500 by hand, as many again with any change of the protocol
        assert schedule(tmp_path / str(seed), seed) == (0, 0, 0), seed
