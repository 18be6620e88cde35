"""The annotator in a notebook cell: a session's state, shown; what is done in the browser, handed to it."""

import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from bdgan_lib.annotation.session import Session
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.visualization.colors import palette


class Annotator(anywidget.AnyWidget):
    """Shows a session and hands it the commands that come from the browser.

        Annotator(Session(AnnotationStore("labels"), items, picture, annotator="you"))

    All that is shown comes from the session, so the widget can be displayed again, or made anew after the
    kernel died, and is where it was.
    """

    _esm = Path(__file__).with_name("widget.js")
    _css = Path(__file__).with_name("widget.css")
    state = traitlets.Dict().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)  # PNG
    maps = traitlets.Bytes().tag(sync=True)  # labels, then instances, one byte a pixel, deflated

    def __init__(self, session: Session) -> None:
        self.session = session
        self._acks: dict[str, int] = {}  # view -> the last command of it that is done
        self._png = "", b""  # the image shown, and of which item it is
        super().__init__(**self._shown(""))
        self.on_msg(self._take)

    def _take(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """A command of a view, and the answer to it; a mistake becomes a message beside the image."""
        message = ""
        try:
            if not isinstance(content, Mapping) or not isinstance(content.get("command"), Mapping):
                raise BdganError("what came from the browser is no command")
            self.session.handle(content["command"])
        except BdganError as error:
            message = str(error)
        if isinstance(content, Mapping) and type(content.get("n")) is int:
            self._acks[str(content.get("view"))] = content["n"]
        with self.hold_sync():
            for name, value in self._shown(message).items():
                setattr(self, name, value)

    def _shown(self, message: str) -> dict[str, Any]:
        session = self.session
        item, drawing = session.item, session.work.drawing
        total = Counter(a.class_name for a in session.items.values())
        done = Counter(session.items[id].class_name for id in session.status)
        state = {
            "acks": dict(self._acks),
            "id": item.id,
            "index": list(session.items).index(item.id),
            "total": len(session.items),
            "class_name": item.class_name,
            "labels": list(item.classes),
            "colours": palette(len(item.classes)).tolist(),
            "size": list(item.mask.shape),
            "skipped": session.work.skipped,
            "undo": bool(drawing.strokes),
            "redo": bool(drawing.undone),
            "saved": session.saved,
            "message": message or session.error,
            "rings": session.rings,
            "model": session.proposer is not None,
            "learnt": session.proposer.labels if session.proposer else 0,
            "classes": [{"name": name, "done": done[name], "total": n} for name, n in total.items()],
        }
        if self._png[0] != item.id:
            self._png = item.id, encode_png(session.picture(item))
        return {
            "state": state,
            "picture": self._png[1],
            "maps": zlib.compress(drawing.maps.tobytes(), 1),
        }
