"""A labelling session without a screen: it handles commands, and journals each one that changes something.

A command is JSON: `{"do": "stroke", "stroke": {...}}` (see `strokes`), `undo`, `redo`, `skip` (`skipped`),
`done` (`done`), `open` (`id`), `next`, `previous`, `save` (again, after a full disk). With help of image or
model: `segment` the object at clicks (`points` [x, y, 1 or 0 = not on the object], `box` [x0, y0, x1, y1],
`segmenter`), or `preview` that mask first; `grabcut` (`box`, or points `inside` and `outside`), `superpixel`
(`point`), `learn`, `propose`, `queue`. `outline` gives a region's polygon to edit. Each may tell its cost:
`seconds`, `clicks`. The widget, a recorded log and a test send the same commands. A command that is refused
changes neither the drawing nor the journal.

An image that is drawn on is "started" until `done` says that it is finished. Only then do `learn`, and
all who iterate over the store, take its labels.

A command may name the `image` (id) it was drawn on, which need not be the open one any more. It may carry its
`origin` [view, number], numbers growing with each command of a view: one that is not above the last that the
journal has of this view was answered before, and is not done again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation import assist
from bdgan_lib.annotation.active_learning import next_ids
from bdgan_lib.annotation.aids import ImageAids
from bdgan_lib.annotation.item_state import LONGEST_PAUSE, ItemState, checked_cost
from bdgan_lib.annotation.saved_items import SavedItems, is_origin
from bdgan_lib.annotation.segmenters import Click, GrabCutSegmenter, Segmenter
from bdgan_lib.annotation.strokes import points_of, refuse_strangers, target
from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_json
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.journal import Entry

Command = Mapping[str, Any]
DRAWS = ("stroke", "undo", "redo", "skip", "done", "segment", "preview", "grabcut", "superpixel", "propose",
         "outline")  # on an image  # fmt: skip
MOST_CLICKS = 500  # of one `segment`
_OPEN: "WeakValueDictionary[str, Session]" = WeakValueDictionary()  # folder -> session that writes there


class Proposals(Protocol):
    """A model that learns from what is labelled; see `proposals.Proposer`."""

    labels: int  # number of masks it was trained on

    def fit(self, annotations: Iterable[Annotation]) -> object:
        """Train on the labelled annotations."""

    def propose(self, id: str) -> NDArray[np.uint8]:
        """The predicted mask [H, W] of an item."""

    def divergence(self, ids: Sequence[str]) -> NDArray[np.floating]:
        """The ensemble's mean JS divergence of each item, [N]."""


class Preview(NamedTuple):
    """What `segment` would draw."""

    id: str  # of the image
    mask: NDArray[np.bool_]  # [H, W]
    uncertainty: NDArray[np.float32]  # [H, W] in [0, 1]


class Session:
    """Samples to label, one open at a time, and a store that holds every stroke when `saved` is true.

    Args:
        store: where masks and journal go. It is locked while the session is open; an older session of this
            process on the same folder is closed.
        items: the samples, as annotations whose masks are ignored.
        picture: an item -> its image [H, W, 3] uint8.
        annotator: who labels; stored with every mask.
        proposer: the model that proposes masks, if any.
        clock: a running time in seconds, with which the cost of an image is measured.
        segmenters: what answers clicks, the first one by default; None: GrabCut.

    Raises:
        BdganError: no items, an item twice, another process has a session on the folder, or the journal there
            is damaged. An entry that is whole but cannot be used is passed over, with a warning.
    """

    def __init__(
        self,
        store: AnnotationStore,
        items: Sequence[Annotation],
        picture: Callable[[Annotation], NDArray[np.uint8]],
        annotator: str,
        proposer: Proposals | None = None,
        clock: Callable[[], float] = time.monotonic,
        segmenters: Sequence[Segmenter] | None = None,
    ) -> None:
        self.items = {item.id: item for item in items}
        if not items or len(self.items) < len(items):
            raise BdganError(
                f"expected one or more distinct items, got {len(items)} with {len(self.items)} distinct"
            )
        self.store, self.picture, self.annotator, self.proposer = store, picture, annotator, proposer
        checked_json({"by": annotator})
        answering = [GrabCutSegmenter()] if segmenters is None else segmenters
        self.aids = ImageAids(picture, answering, self._labelled_of_class)
        self.id: str  # of the open item
        self.state: ItemState
        self.rings: list[list[list[float]]] = []  # the polygon that `outline` gave
        self.preview: Preview | None = None  # what `preview` gave
        self._clock, self._place, self._since = clock, str(store.root.resolve()), clock()
        self._lock = RLock()  # a kernel may answer in several threads
        self._listeners: list[Callable[[Session], None]] = []
        if older := _OPEN.get(self._place):
            older.close()
        self._saved = SavedItems(store, self.items)
        try:
            self._show(self._saved.last)
        except BaseException:
            self._saved.close()
            raise
        self._saved.save(self.state)
        _OPEN[self._place] = self
        if older:  # whoever watched it goes on here
            self._listeners, older._listeners = older._listeners, []
        self._changed()

    def subscribe(self, listener: Callable[["Session"], None]) -> None:
        """Call `listener(session)` after every command and on closing.

        If a newer session opens the same folder, the listener is called with that one from then on.
        """
        self._listeners.append(listener)

    # -- what is shown

    @property
    def item(self) -> Annotation:
        """The open item."""
        return self.items[self.id]

    @property
    def saved(self) -> bool:
        """Whether every change is in the journal, and every mask in the store."""
        return self._saved.saved

    @property
    def error(self) -> str:
        """Why the last save failed."""
        return self._saved.error

    @property
    def notice(self) -> str:
        """What the journal holds and cannot be used."""
        return self._saved.notice

    @property
    def status(self) -> dict[str, str]:
        """Id -> "started", "labelled" (that is done) or "skipped"; untouched items are not there."""
        return self._saved.status

    @property
    def closed(self) -> bool:
        """Whether the session is closed, or a newer one has its folder."""
        return _OPEN.get(self._place) is not self

    def labelled(self) -> list[Annotation]:
        """The samples that are done, as they are stored, in the order of the items."""
        return [self.store.load(id) for id in self.items if self.status.get(id) == "labelled"]

    def _labelled_of_class(self, item: Annotation) -> list[Annotation]:
        """Those of the item's class, in the same order, whichever of them was done first."""
        done = [id for id in self.items if self.status.get(id) == "labelled"]
        return [self.store.load(id) for id in done if self.items[id].class_id == item.class_id]

    def log(self) -> list[Entry]:
        """The entries of all changes so far, for `replay`."""
        return [entry for entry in self._saved.log if entry.get("do") not in ("open", "base")]

    # -- what can be done

    def handle(self, command: Command) -> None:
        """Do one command.

        If the disk refuses a write, no exception is raised: `saved` turns false, `error` says why, and the
        next command (or `save`) tries again.

        Raises:
            BdganError: the command is malformed or cannot be done; nothing has changed.
        """
        if self.closed:
            raise BdganError("this session was closed, or a newer one has its folder; use that one")
        command = checked_json(command)  # a copy: what the caller does to its own later changes nothing here
        do = command.get("do")
        if not isinstance(do, str) or do not in _COMMANDS:
            raise BdganError(f"expected a command of {', '.join(_COMMANDS)}, got {do!r:.40}")
        action, keys = _COMMANDS[do]
        place = {"image", "origin"} if do in DRAWS else set()
        refuse_strangers(do, command, keys | place | {"do", "seconds", "clicks", "done"})
        checked_cost(command.get("seconds", 0), command.get("clicks", 1))
        with self._lock:
            self.rings, self.preview, self._saved.notice = [], None, ""
            if self._is_repeated(command.get("origin")):
                return
            try:
                with self._at(command.get("image") if do in DRAWS else None):
                    action(self, command)
            except BdganError:
                raise
            except OSError as error:  # of reading; a refused write waits in the journal
                raise BdganError(f"{do} cannot be done now: {error}; try again") from error
            except Exception as error:  # of the model or of the source of pictures, which a caller gave
                raise BdganError(f"{do} failed: {type(error).__name__}: {error}") from error
            finally:
                self._saved.save(self.state)
                self._changed()

    def replay(self, log: Iterable[Entry]) -> None:
        """Do the changes of a log again, with the seconds and clicks that it records.

        In logs older than `done` whatever is drawn on counts as done.
        """
        for entry in map(checked_json, log):
            if entry.get("id") != self.id:
                self.handle({"do": "open", "id": entry.get("id")})
            place = ("id", "by", "origin", "generator_sha256")
            known = {key: value for key, value in entry.items() if key not in place}
            self.handle({"done": None, **known})

    def close(self) -> None:
        """Release the store; BdganError if something could not be saved."""
        if not self.closed:
            self._saved.save(self.state)
            del _OPEN[self._place]
            self._saved.close()
            self._changed()
            if self.error:
                raise BdganError(f"{self.error}; what was saved before is in {self.store.root}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_repeated(self, origin: Any) -> bool:
        if origin is not None and not is_origin(origin):
            raise BdganError(f"expected an origin as [view, number], got {str(origin)[:40]!r}")
        return origin is not None and self._saved.answered.get(origin[0], -1) >= origin[1]

    def _changed(self) -> None:
        for listener in self._listeners:
            listener(self)

    @contextmanager
    def _at(self, image: Any) -> Iterator[None]:
        """Work on this image, and be back at the open one afterwards; None: on the open one."""
        open_id, open_state = self.id, self.state
        if image not in (None, open_id):
            self.state, self.id = self._saved.restored(self._known(image)), image
        try:
            yield
        finally:
            if self.id == image != open_id:
                self._saved.save(self.state)
                self.state, self.id, self.rings, self.preview = open_state, open_id, [], None

    def _stroke(self, command: Command) -> None:
        self._do(command, stroke=command.get("stroke"))

    def _skip(self, command: Command) -> None:
        if (skipped := command.get("skipped", True)) is not self.state.skipped:
            self._do(command, skipped=skipped)

    def _undo(self, command: Command) -> None:
        if self.state.skipped:  # that was done last
            self._do({**command, "do": "skip"}, skipped=False)
        else:
            self._do(command)

    def _done(self, command: Command) -> None:
        if self.state.skipped:
            raise BdganError("this image is skipped; draw its object, or press Skip again, before it is done")
        if not self.state.history.labels.any():
            raise BdganError("nothing is drawn on this image; draw its object, or skip it")
        self._do(command)

    def _segmented(self, command: Command) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        points, box = command.get("points") or [], command.get("box")
        if not isinstance(points, list) or len(points) > MOST_CLICKS:
            raise BdganError(f"expected at most {MOST_CLICKS} points as a list, got {str(points)[:40]!r}")
        clicks: list[Click] = []
        for point in points:
            if not (isinstance(point, list) and len(point) == 3 and point[2] in (0, 1)):
                raise BdganError(f"expected points as [x, y, 1 or 0], got {str(point)[:40]!r}")
            ((x, y),) = points_of([point[:2]]).tolist()
            clicks.append((x, y, bool(point[2])))
        return self.aids.clicks(self.item, _name_of(command)).predict(
            clicks, None if box is None else _box(box)
        )

    def _preview(self, command: Command) -> None:
        self.preview = Preview(self.id, *self._segmented(command))

    def _segment(self, command: Command) -> None:
        def mask() -> assist.Mask:
            if (pixels := self._segmented(command)[0]).any():
                return pixels
            raise BdganError("no object is found here; click on it again, or drag a box around it")

        name = _name_of(command) or next(iter(self.aids.segmenters), "")
        self._mask(f"segment: {name}"[:40], mask, command)

    def _grabcut(self, command: Command) -> None:
        box = None if command.get("box") is None else _box(command["box"])
        dabs = [command.get(key) or [] for key in ("inside", "outside")]
        inside, outside = (points_of(points).tolist() if points != [] else [] for points in dabs)
        image = self.picture(self.item)
        self._mask("grabcut", lambda: assist.grabcut(image, box, inside, outside), command)

    def _superpixel(self, command: Command) -> None:
        ((x, y),) = points_of([command.get("point")]).tolist()
        self._mask("superpixel", lambda: self.aids.superpixel(self.item, x, y), command)

    def _outline(self, command: Command) -> None:
        labels, instances = self.state.history.maps
        label, instance = target({"label": 1, **command}, len(self.item.classes))
        region = (labels == label) & (instances == instance)
        if not region.any():
            raise BdganError("nothing of this label and object is drawn; point at a region")
        self.rings = [ring.tolist() for ring in assist.editable_rings(region)]

    def _learn(self, _command: Command) -> None:
        self._model.fit(self.labelled())

    def _propose(self, command: Command) -> None:
        """The model's labels wherever no person has drawn; an earlier proposal gives way."""
        mask, instance = self._model.propose(self.id), command.get("instance", 1)
        free = ~self.state.history.touched(except_by="proposal")
        regions = [
            {"label": label, "instance": instance, "rle": rle.encode((mask == label) & free)}
            for label in np.unique(mask[free & (mask > 0)]).tolist()
        ]
        if not free.all():
            regions.insert(0, {"label": 0, "instance": 0, "rle": rle.encode(free)})
        stroke = {"op": "mask", "tool": "proposal", "whole": bool(free.all()), "regions": regions}
        self._do({**command, "do": "stroke"}, stroke=stroke)

    def _queue(self, _command: Command) -> None:
        left = [id for id in self.items if self.status.get(id, "started") == "started"]
        if not left:
            raise BdganError("every image is done or skipped")
        divergence = dict(zip(left, self._model.divergence(left).tolist(), strict=True))
        labelled, skipped = ([id for id, s in self.status.items() if s == x] for x in ("labelled", "skipped"))
        self._open(next_ids(list(self.items.values()), labelled, divergence, 1, skipped)[0])

    def _step(self, command: Command) -> None:
        ids, step = list(self.items), 1 if command["do"] == "next" else -1
        at = ids.index(self.id) + step
        if not 0 <= at < len(ids):
            raise BdganError(f"this is the {'last' if step > 0 else 'first'} image")
        self._open(ids[at])

    def _known(self, id: Any) -> str:
        if not isinstance(id, str) or id not in self.items:
            raise BdganError(f"no image {id!r:.60} in this session")
        return id

    def _open(self, id: Any) -> None:
        self._show(self._known(id))
        self._saved.write({"id": id, "do": "open", "by": self.annotator})

    def _show(self, id: str) -> None:
        self.state = self._saved.restored(id)  # first: it may fail
        self.id, self._since = id, self._clock()
        self.aids.learn_again()  # a click gives what it would give after a restart

    def _mask(self, tool: str, pixels: Callable[[], assist.Mask], command: Command) -> None:
        region = {"label": command.get("label", 1), "instance": command.get("instance", 1)}
        target(region, len(self.item.classes))  # before the work
        region["rle"] = rle.encode(pixels())
        mode = {"mode": command["mode"]} if "mode" in command else {}
        stroke = {"op": "mask", "tool": tool, "regions": [region], **mode}
        self._do({**command, "do": "stroke"}, stroke=stroke)

    def _do(self, command: Command, **what: Any) -> None:
        """Change the open image, and journal it."""
        now = self._clock()
        seconds = command.get("seconds", round(min(now - self._since, LONGEST_PAUSE), 3))
        who = {"id": self.id, "by": self.annotator}
        origin = {"origin": command["origin"]} if command.get("origin") else {}
        cost = {"seconds": seconds, "clicks": command.get("clicks", 1)}
        begun = "stroke" in what and not self.state.history.labels.any()  # nothing is left that was done
        done = command.get("done", False if begun else None)
        finished = {} if done is None else {"done": done}
        self._saved.apply(self.state, {**who, "do": command["do"], **origin, **cost, **what, **finished})
        if self.state.skipped and "skipped" not in what:  # who draws on it has found an object
            unskip = {**who, "do": "skip", "skipped": False, "seconds": 0, "clicks": 0}
            self._saved.apply(self.state, unskip)
        self._since = now

    @property
    def _model(self) -> Proposals:
        if self.proposer is None:
            raise BdganError("this session has no model that learns; open it with a Proposer")
        return self.proposer


def _name_of(command: Command) -> str | None:
    if not isinstance(name := command.get("segmenter"), str | None):
        raise BdganError(f"expected a segmenter's name, got {name!r:.40}")
    return name


def _box(box: Any) -> assist.Box:
    x0, y0, x1, y1 = points_of([box[:2], box[2:]] if isinstance(box, list) else box).ravel().tolist()
    return x0, y0, x1, y1


_COMMANDS: dict[str, tuple[Callable[[Session, Command], None], set[str]]] = {  # and the keys each may have
    "stroke": (Session._stroke, {"stroke"}),
    "undo": (Session._undo, set()),
    "redo": (Session._do, set()),
    "skip": (Session._skip, {"skipped"}),
    "done": (Session._done, set()),
    "open": (lambda session, command: session._open(command.get("id")), {"id"}),
    "next": (Session._step, set()),
    "previous": (Session._step, set()),
    "save": (lambda session, command: None, set()),  # every command saves
    "preview": (Session._preview, {"points", "box", "segmenter"}),
    "segment": (Session._segment, {"points", "box", "segmenter", "label", "instance", "mode"}),
    "grabcut": (Session._grabcut, {"box", "inside", "outside", "label", "instance", "mode"}),
    "superpixel": (Session._superpixel, {"point", "label", "instance", "mode"}),
    "outline": (Session._outline, {"label", "instance"}),
    "learn": (Session._learn, set()),
    "propose": (Session._propose, {"instance"}),
    "queue": (Session._queue, set()),
}
