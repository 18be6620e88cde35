"""The widget's Python side: what it shows of a session, and what comes of a browser's messages."""

import zlib

import numpy as np
import pytest

from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.image_codecs import decode_png

from .conftest import SIDE, picture, polygon


@pytest.fixture
def widget(session):
    return Annotator(session)


def tell(widget, n, **command):
    widget._take(widget, {"view": "v", "n": n, "command": command}, [])


def test_it_shows_the_session(widget, session):
    tell(widget, 1, **polygon())
    labels, instances = np.frombuffer(zlib.decompress(widget.maps), np.uint8).reshape(2, SIDE, SIDE)
    assert np.array_equal(labels, session.state.history.labels) and instances.max() == 1
    assert np.array_equal(decode_png(widget.picture), picture(session.item))
    state = widget.state
    assert state["acks"] == {"v": 1} and state["saved"] and state["undo"] and not state["redo"]
    assert state["labels"] == ["background", "body", "beak"] and state["size"] == [SIDE, SIDE]
    assert state["classes"] == [
        {"name": "robin", "done": 1, "total": 2},
        {"name": "mug", "done": 0, "total": 1},
    ]
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


def test_what_the_disk_refuses_is_shown(widget, session, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("bdgan_lib.datasets.journal.os.pwrite", full)
        tell(widget, 1, **polygon())
        assert not widget.state["saved"] and "No space left" in widget.state["message"]
    tell(widget, 2, do="save")
    assert widget.state["saved"] and widget.state["message"] == ""
