"""The annotator in a notebook cell: shows a session, and passes it the commands of the browser."""

import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import cv2
import numpy as np
import traitlets
from numpy.typing import NDArray

from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.undo_history import Maps, UndoHistory, box_of
from bdgan_lib.core.image_codecs import encode_jpeg, encode_png
from bdgan_lib.core.labelled_arrays import count_pairs, pair_runs
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.visualization.colors import overlay, palette

LARGE = 1024  # pixels; larger pictures travel to the browser as JPEG
THUMBNAIL, STILL = 56, 640  # pixels of the longest side
LETTERS = {"started": "s", "labelled": "d", "skipped": "x"}  # of an item's status; "." is untouched


class Annotator(anywidget.AnyWidget):
    """A widget that shows a session and passes it the commands of the browser.

        Annotator(Session(AnnotationStore("labels"), items, picture, annotator="you"))

    All that is shown comes from the session, so the widget can be displayed twice, or created again after the
    kernel died, and goes on where it was. When a newer session opens the same folder, the widget shows that
    one. Where a saved notebook is shown without widgets, it is a picture of the open image and its labels.

    The browser gets an image's labels whole when it is opened, and then the rectangles that change. Both are
    numbered (`serial`), so that a browser that missed one knows it and asks for the whole.
    """

    _esm = "\n".join(
        Path(__file__).with_name(f"widget{part}.js").read_text("utf-8") for part in ("_parts", "")
    )
    _css = Path(__file__).with_name("widget.css")
    state = traitlets.Dict().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)  # PNG or JPEG
    items: Any = traitlets.List().tag(sync=True)  # [id, name of its class] of each
    maps = traitlets.Dict().tag(sync=True)  # serial, size and data: see `_packed`

    def __init__(self, session: Session) -> None:
        self.session = session
        self._acks: dict[str, int] = {}  # view -> number of its last command that was handled
        self._encoded = "", b""  # id of the item shown, and its image
        self._message = ""  # why this widget's last command was refused
        self._serial = 0
        self._sent: tuple[UndoHistory | None, int] = (None, 0)  # the labels sent last, and their changes then
        self._known: Maps = np.zeros((2, 0, 0), np.uint8)  # as the browser has them
        self._areas = count_pairs(*pair_runs(*self._known))  # pixels by label and instance
        self._show_maps(send=False)
        self._name = uuid4().hex  # of the browser's model
        super().__init__(items=self._items(), model_id=self._name, **self._shown())
        self.on_msg(self._take)
        session.subscribe(self._show)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The traits as the browser gets them; labels are packed only for this."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "maps" in state:
            data = _packed(*pair_runs(*self._known))
            state["maps"] = {"serial": self._serial, "size": list(self._known.shape[1:]), "data": data}
        return state

    def _take(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Handle a command of a view and answer it; an error becomes a message beside the image."""
        if isinstance(content, Mapping) and ("whole" in content or "thumbnail" in content):
            self._answer(content)
            return
        with self.hold_sync():
            self._message = ""
            command: Any = content.get("command") if isinstance(content, Mapping) else content
            try:
                self.session.handle(command)
                self._send_preview(content)
            except BdganError as error:
                self._message = str(error)
            except KeyboardInterrupt:  # unanswered, the command would be lost behind the next one
                self._message = "interrupted; look at the image, and do it again if nothing has changed"
            if isinstance(content, Mapping) and type(content.get("n")) is int:
                self._acks[str(content.get("view"))] = content["n"]
            self._show(self.session)

    def _answer(self, content: Mapping[str, Any]) -> None:
        """Send what a view asks for beside its commands: all labels, or the small picture of an item."""
        if "whole" in content:
            self.send_state("maps")
        elif isinstance(id := content["thumbnail"], str) and id in self.session.items:
            try:
                picture = encode_jpeg(_smaller(self.session.picture(self.session.items[id]), THUMBNAIL), 80)
            except Exception:  # of whoever gave the pictures; opening the item says what it is
                picture = b""
            self.send({"thumbnail": id}, [picture])

    def _send_preview(self, content: Any) -> None:
        if preview := self.session.preview:
            levels = np.round(7 * np.clip(preview.uncertainty, 0, 1)).astype(np.uint8)
            rows, columns = box_of(preview.mask | (levels > 0)) or (slice(0, 0), slice(0, 0))
            packed = (preview.mask[rows, columns].view(np.uint8) << 7) | levels[rows, columns]
            where = {"box": [rows.start, rows.stop, columns.start, columns.stop], "id": preview.id}
            about = {"view": content.get("view"), "n": content.get("n"), **where}
            self.send({"preview": about}, [zlib.compress(packed.tobytes(), 1)])

    def _show(self, session: Session) -> None:
        with self.hold_sync():
            if session is not self.session:
                self.session = session
                self.items = self._items()
            self._show_maps()
            for name, value in self._shown().items():
                setattr(self, name, value)

    def _show_maps(self, send: bool = True) -> None:
        """Bring the browser's labels to the session's: the whole of another image, else what has changed."""
        history, (known, changes) = self.session.state.history, self._sent
        self._sent = history, history.changes
        if history is not known:
            self._known, self._areas = history.maps.copy(), count_pairs(*pair_runs(*history.maps))
            self._serial += 1
            if send:
                self.send_state("maps")
        elif box := history.changed_since(changes):
            rows, columns = box
            patch = history.maps[:, rows, columns]
            runs = pair_runs(*patch)
            self._areas += count_pairs(*runs) - count_pairs(*pair_runs(*self._known[:, rows, columns]))
            self._known[:, rows, columns] = patch
            self._serial += 1
            where = {"serial": self._serial, "box": [rows.start, rows.stop, columns.start, columns.stop]}
            self.send({"patch": where}, [_packed(*runs)])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live widget, and for saved notebooks a picture of what it shows."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        session, state = self.session, self.state
        if not self.picture:
            return data, metadata
        still = overlay(session.picture(session.item), session.state.history.labels)
        still = (
            _smaller(still, STILL).repeat(max(1, 320 // len(still)), 0).repeat(max(1, 320 // len(still)), 1)
        )
        text = f"The annotator: {state['class_name']}, image {state['index'] + 1} of {state['total']}"
        data = {**data, "image/png": b64encode(encode_png(still)).decode(), "text/plain": text}
        return data, {**metadata, "image/png": {"alt": text}}

    def _items(self) -> list[list[str]]:
        return [[item.id, item.class_name] for item in self.session.items.values()]

    def _shown(self) -> dict[str, Any]:
        session = self.session
        item, history = session.item, session.state.history
        total = Counter(a.class_name for a in session.items.values())
        count = Counter((session.items[id].class_name, status) for id, status in session.status.items())
        objects = [divmod(int(k), 256) for k in np.flatnonzero(self._areas)]
        state = {
            "widget": self._name,
            "acks": dict(self._acks),
            "store": sha256(str(session.store.root.resolve()).encode()).hexdigest()[:16],
            "closed": session.closed,
            "serial": self._serial,
            "id": item.id,
            "index": list(session.items).index(item.id),
            "total": len(session.items),
            "class_name": item.class_name,
            "labels": list(item.classes),
            "colours": palette(len(item.classes)).tolist(),
            "size": list(item.mask.shape),
            "objects": [
                [label, instance, int(self._areas[256 * label + instance])]
                for label, instance in objects
                if label not in (0, UNLABELLED)
            ],
            "segmenters": list(session.aids.segmenters),
            "status": session.status.get(item.id, ""),
            "statuses": "".join(LETTERS.get(session.status.get(id, ""), ".") for id in session.items),
            "skipped": session.state.skipped,
            "undo": bool(history.strokes) or session.state.skipped,
            "redo": bool(history.undone),
            "saved": session.saved,
            "message": self._message or session.error or session.notice,
            "rings": session.rings,
            "model": session.proposer is not None,
            "learnt": session.proposer.labels if session.proposer else 0,
            "classes": [
                {
                    "name": name,
                    "done": count[name, "labelled"],
                    "started": count[name, "started"],
                    "skipped": count[name, "skipped"],
                    "total": n,
                }
                for name, n in total.items()
            ],
        }
        if self._encoded[0] != item.id:
            try:
                image = session.picture(item)
                self._encoded = item.id, encode_jpeg(image) if max(image.shape) > LARGE else encode_png(image)
            except Exception as error:  # of the source of pictures, which a caller gave
                self._encoded = "", b""  # asked for again with the next command
                state["message"] = f"{item.id} cannot be shown: {error}"
        return {"state": state, "picture": self._encoded[1]}


def _packed(lengths: NDArray[np.int64], pairs: NDArray[np.int64]) -> bytes:
    """Runs of `pair_runs` for the browser: all lengths as uint32, then all pairs as uint16, deflated."""
    return zlib.compress(lengths.astype("<u4").tobytes() + pairs.astype("<u2").tobytes(), 1)


def _smaller(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image with a longest side of `side` pixels, if it is larger."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    size = (max(1, width * side // max(height, width)), max(1, height * side // max(height, width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
