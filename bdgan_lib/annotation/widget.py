"""The annotator in a notebook cell: shows a session, and passes it the commands of the browser."""

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
    """A widget that shows a session and passes it the commands of the browser.

        Annotator(Session(AnnotationStore("labels"), items, picture, annotator="you"))

    All that is shown comes from the session, so the widget can be displayed twice, or created again after the
    kernel died, and goes on where it was.
    """

    _esm = Path(__file__).with_name("widget.js")
    _css = Path(__file__).with_name("widget.css")
    state = traitlets.Dict().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)  # PNG
    maps = traitlets.Bytes().tag(sync=True)  # labels, then instances, one byte a pixel, deflated

    def __init__(self, session: Session) -> None:
        self.session = session
        self._acks: dict[str, int] = {}  # view -> number of its last command that was handled
        self._png = "", b""  # id of the item shown, and its image
        super().__init__(**self._shown(""))
        self.on_msg(self._take)

    def _take(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Handle a command of a view and answer it; an error becomes a message beside the image."""
        message = ""
        try:
            command: Any = content.get("command") if isinstance(content, Mapping) else content
            self.session.handle(command)
        except BdganError as error:
            message = str(error)
        if isinstance(content, Mapping) and type(content.get("n")) is int:
            self._acks[str(content.get("view"))] = content["n"]
        with self.hold_sync():
            for name, value in self._shown(message).items():
                setattr(self, name, value)

    def _shown(self, message: str) -> dict[str, Any]:
        session = self.session
        item, history = session.item, session.state.history
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
            "skipped": session.state.skipped,
            "undo": bool(history.strokes),
            "redo": bool(history.undone),
            "saved": session.saved,
            "message": message or session.error or session.notice,
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
            "maps": zlib.compress(history.maps.tobytes(), 1),
        }
