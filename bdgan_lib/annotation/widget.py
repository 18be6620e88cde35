"""The annotator in a notebook cell: shows a session, and passes it the commands of the browser."""

import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from bdgan_lib.annotation.session import Session
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.visualization.colors import overlay, palette


class Annotator(anywidget.AnyWidget):
    """A widget that shows a session and passes it the commands of the browser.

        Annotator(Session(AnnotationStore("labels"), items, picture, annotator="you"))

    All that is shown comes from the session, so the widget can be displayed twice, or created again after the
    kernel died, and goes on where it was. When a newer session opens the same folder, the widget shows that
    one. In a saved notebook it is a picture of the open image and its labels.
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
        self._message = ""  # why this widget's last command was refused
        super().__init__(**self._shown())
        self.on_msg(self._take)
        session.subscribe(self._show)

    def _take(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Handle a command of a view and answer it; an error becomes a message beside the image."""
        with self.hold_sync():
            self._message = ""
            try:
                command: Any = content.get("command") if isinstance(content, Mapping) else content
                self.session.handle(command)
            except BdganError as error:
                self._message = str(error)
            if isinstance(content, Mapping) and type(content.get("n")) is int:
                self._acks[str(content.get("view"))] = content["n"]
            self._show(self.session)

    def _show(self, session: Session) -> None:
        self.session = session
        with self.hold_sync():
            for name, value in self._shown().items():
                setattr(self, name, value)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live widget, and for saved notebooks a picture of what it shows."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        session, state = self.session, self.state
        still = overlay(session.picture(session.item), session.state.history.labels)
        still = still.repeat(max(1, 320 // len(still)), 0).repeat(max(1, 320 // len(still)), 1)
        text = f"The annotator: {state['class_name']}, image {state['index'] + 1} of {state['total']}"
        data = {**data, "image/png": b64encode(encode_png(still)).decode(), "text/plain": text}
        return data, {**metadata, "image/png": {"alt": text}}

    def _shown(self) -> dict[str, Any]:
        session = self.session
        item, history = session.item, session.state.history
        total = Counter(a.class_name for a in session.items.values())
        done, skipped = (
            Counter(session.items[id].class_name for id, status in session.status.items() if status == kind)
            for kind in ("labelled", "skipped")
        )
        state = {
            "acks": dict(self._acks),
            "store": sha256(str(session.store.root.resolve()).encode()).hexdigest()[:16],
            "closed": session.closed,
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
            "message": self._message or session.error or session.notice,
            "rings": session.rings,
            "model": session.proposer is not None,
            "learnt": session.proposer.labels if session.proposer else 0,
            "classes": [
                {"name": name, "done": done[name], "skipped": skipped[name], "total": n}
                for name, n in total.items()
            ],
        }
        if self._png[0] != item.id:
            self._png = item.id, encode_png(session.picture(item))
        return {
            "state": state,
            "picture": self._png[1],
            "maps": zlib.compress(history.maps.tobytes(), 1),
        }
