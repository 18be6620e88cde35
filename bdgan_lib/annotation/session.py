"""A labelling session without a screen: it handles commands, and journals each one that changes something.

A command is JSON: `{"do": "stroke", "stroke": {...}}` (see `strokes`), `undo`, `redo`, `skip` (`skipped`),
`open` (`id`), `next`, `previous`, `save` (try again after a full disk); with the help of image or model
`grabcut` (`box` [x0, y0, x1, y1], or points `inside` and `outside`), `superpixel` (`point`), `learn`,
`propose`, `queue`; `outline` gives a region's polygon to edit. Each may tell its cost: `seconds`, `clicks`.
The widget, a recorded log and a test send the same commands. A command that is refused changes neither the
drawing nor the journal.

A command may name the `image` (id) it was drawn on, which need not be the open one any more. It may carry its
`origin` [view, number], numbers growing with each command of a view: one that is not above the last that the
journal has of this view was answered before, and is not done again.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import RLock
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation import assist
from bdgan_lib.annotation.active_learning import next_ids
from bdgan_lib.annotation.item_state import LONGEST_PAUSE, ItemState, base_stroke, checked_cost
from bdgan_lib.annotation.strokes import points_of, refuse_strangers, target
from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_json
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.journal import Entry, Journal

Command = Mapping[str, Any]
DRAWS = ("stroke", "undo", "redo", "skip", "grabcut", "superpixel", "propose", "outline")  # on an image
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
    ) -> None:
        self.items = {item.id: item for item in items}
        if not items or len(self.items) < len(items):
            raise BdganError(
                f"expected one or more distinct items, got {len(items)} with {len(self.items)} distinct"
            )
        self.store, self.picture, self.annotator, self.proposer = store, picture, annotator, proposer
        checked_json({"by": annotator})
        self.error = ""  # why the last save failed
        self.notice = ""  # what the journal holds and cannot be used
        self.id: str  # of the open item
        self.state: ItemState
        self.rings: list[list[list[float]]] = []  # the polygon that `outline` gave
        self.status: dict[str, str] = {}  # id -> "labelled" or "skipped"
        self._clock, self._place = clock, str(store.root.resolve())
        self._since, self._lock = clock(), RLock()  # a kernel may answer in several threads
        self._unsettled: set[str] = set()  # items whose mask in the store is not what the journal says
        self._listeners: list[Callable[[Session], None]] = []
        if older := _OPEN.get(self._place):
            older.close()
        with ExitStack() as stack:
            stack.enter_context(store.writing())
            self._journal = Journal(store.root / "journal.jsonl")
            stack.callback(self._journal.close)
            self._resume()
            self._closing = stack.pop_all()
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
        return not (self._journal.waiting or self._unsettled)

    @property
    def closed(self) -> bool:
        """Whether the session is closed, or a newer one has its folder."""
        return _OPEN.get(self._place) is not self

    def labelled(self) -> list[Annotation]:
        """The labelled samples as they are stored, in the order of the items."""
        return [self.store.load(id) for id in self.items if self.status.get(id) == "labelled"]

    def log(self) -> list[Entry]:
        """The entries of all changes so far, for `replay`."""
        return [entry for entry in self._journal.entries if entry.get("do") not in ("open", "base")]

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
        refuse_strangers(do, command, keys | place | {"do", "seconds", "clicks"})
        checked_cost(command.get("seconds", 0), command.get("clicks", 1))
        with self._lock:
            self.rings, self.notice = [], ""
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
                self._save()
                self._changed()

    def replay(self, log: Iterable[Entry]) -> None:
        """Do the changes of a log again, with the seconds and clicks that it records."""
        for entry in map(checked_json, log):
            if entry.get("id") != self.id:
                self.handle({"do": "open", "id": entry.get("id")})
            self.handle({key: value for key, value in entry.items() if key not in ("id", "by")})

    def close(self) -> None:
        """Release the store; BdganError if something could not be saved."""
        if not self.closed:
            self._save()
            del _OPEN[self._place]
            self._closing.close()
            self._changed()
            if self.error:
                raise BdganError(f"{self.error}; what was saved before is in {self.store.root}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_repeated(self, origin: Any) -> bool:
        if origin is not None and not _is_origin(origin):
            raise BdganError(f"expected an origin as [view, number], got {str(origin)[:40]!r}")
        return origin is not None and self._answered.get(origin[0], -1) >= origin[1]

    def _changed(self) -> None:
        for listener in self._listeners:
            listener(self)

    @contextmanager
    def _at(self, image: Any) -> Iterator[None]:
        """Work on this image, and be back at the open one afterwards; None: on the open one."""
        open_id, open_state = self.id, self.state
        if image not in (None, open_id):
            self.state, self.id = self._restored(self._known(image)), image
        try:
            yield
        finally:
            if self.id == image != open_id:
                self.state, self.id, self.rings = open_state, open_id, []

    def _stroke(self, command: Command) -> None:
        self._do(command, stroke=command.get("stroke"))

    def _skip(self, command: Command) -> None:
        self._do(command, skipped=command.get("skipped", True))

    def _grabcut(self, command: Command) -> None:
        box: Any = command.get("box")
        dabs = [command.get(key) or [] for key in ("inside", "outside")]
        if box is not None:
            box = points_of([box[:2], box[2:]] if isinstance(box, list) else box).ravel().tolist()
        inside, outside = (points_of(points).tolist() if points != [] else [] for points in dabs)
        self._mask("grabcut", lambda image: assist.grabcut(image, box, inside, outside), command)

    def _superpixel(self, command: Command) -> None:
        ((x, y),) = points_of([command.get("point")]).tolist()
        self._mask("superpixel", lambda image: assist.superpixel_at(image, x, y), command)

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
        left = [id for id in self.items if id not in self.status]
        if not left:
            raise BdganError("every image is labelled or skipped")
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
        self._write({"id": id, "do": "open", "by": self.annotator})

    def _mask(self, tool: str, pixels: Callable[[NDArray[np.uint8]], assist.Mask], command: Command) -> None:
        region = {"label": command.get("label", 1), "instance": command.get("instance", 1)}
        target(region, len(self.item.classes))  # before the work
        region["rle"] = rle.encode(pixels(self.picture(self.item)))
        stroke = {"op": "mask", "tool": tool, "regions": [region]}
        self._do({**command, "do": "stroke"}, stroke=stroke)

    def _do(self, command: Command, **what: Any) -> None:
        """Change the open image, and journal it."""
        now = self._clock()
        seconds = command.get("seconds", round(min(now - self._since, LONGEST_PAUSE), 3))
        who = {"id": self.id, "by": self.annotator}
        origin = {"origin": command["origin"]} if command.get("origin") else {}
        cost = {"seconds": seconds, "clicks": command.get("clicks", 1)}
        self._apply(self.state, {**who, "do": command["do"], **origin, **cost, **what})
        if self.state.skipped and "skipped" not in what:  # who draws on it has found an object
            self._apply(self.state, {**who, "do": "skip", "skipped": False, "seconds": 0, "clicks": 0})
        self._since = now

    # -- the disk

    def _resume(self) -> None:
        """Go on where the journal ends, and bring the store to its state."""
        self._entries: dict[str, list[Entry]] = {}
        self._answered: dict[str, int] = {}  # view -> number of its last command in the journal
        last = next(iter(self.items))
        if self._journal.doubled:
            self._tell(f"{self._journal.path}: {self._journal.doubled} lines stand twice; each is used once")
        for entry in self._journal.entries:
            id = entry.get("id")
            if not isinstance(id, str):
                self._tell(f"{self._journal.path}: an entry without an id is passed over: {str(entry)[:60]}")
                continue
            if entry.get("do") != "open":
                self._remember(entry)
            last = id if id in self.items else last
        for id in self.items:
            stored, entries = self._stored(id), self._entries.get(id, [])
            if stored is not None:
                self.status[id] = "skipped" if stored.skipped else "labelled"
            if entries and (stored is None or stored.extra.get("entries") != len(entries)):
                self._settle(self._restored(id))
        self._show(last)
        self._save()

    def _show(self, id: str) -> None:
        self.state = self._restored(id)  # first: it may fail
        self.id, self._since = id, self._clock()

    def _restored(self, id: str) -> ItemState:
        """An image's state by the journal; an annotation that others have stored since becomes an entry."""
        state, stored = ItemState(self.items[id]), None if id in self._unsettled else self._stored(id)
        ours = stored is None
        for entry in self._entries.get(id, []):
            try:
                state.apply(entry)
            except (BdganError, RecursionError) as error:
                state.pass_over(entry)
                self._tell(f"{id}: an entry of the journal cannot be used and is passed over ({error})")
            ours = ours or (
                stored is not None and state.entries == stored.extra.get("entries") and _same(state, stored)
            )
        if ours or stored is None:
            return state
        item = self.items[id]
        if stored.mask.shape != item.mask.shape or stored.classes != item.classes:
            raise BdganError(
                f"{id} is labelled in {self.store.root} as {list(stored.mask.shape)} "
                f"{', '.join(stored.classes)}; this session has {list(item.mask.shape)} "
                f"{', '.join(item.classes)}: label into another folder"
            )
        entry = {"id": id, "do": "base", "by": stored.annotator, "seconds": 0, "clicks": 0}
        if stored.skipped:
            self._apply(state, {**entry, "do": "skip", "skipped": True})
        else:
            self._apply(state, {**entry, "stroke": base_stroke(stored)})
        return state

    def _tell(self, notice: str) -> None:
        self.notice = notice
        warnings.warn(notice, stacklevel=2)

    def _apply(self, state: ItemState, entry: Entry) -> None:
        state.apply(entry)
        self._remember(entry)
        self._unsettled.add(state.item.id)
        self._write(entry)

    def _remember(self, entry: Entry) -> None:
        self._entries.setdefault(entry["id"], []).append(entry)
        if _is_origin(entry.get("origin")):
            self._answered[entry["origin"][0]] = entry["origin"][1]

    def _write(self, entry: Entry) -> None:
        with suppress(OSError):  # then it waits in the journal; `_save` tries again and says why
            self._journal.append(entry)

    def _save(self) -> None:
        try:
            self._journal.flush()
            for id in sorted(self._unsettled):
                self._settle(self.state if id == self.id else self._restored(id))
            self.error = ""
        except (OSError, BdganError) as error:
            self.error = f"not saved: {error}"

    def _settle(self, state: ItemState) -> None:
        """Bring an image in the store to its state by the journal."""
        id, annotation = state.item.id, state.annotation()
        if annotation is None:
            self.store.remove(id)
            self.status.pop(id, None)
        else:
            self.store.add(annotation)
            self.status[id] = "skipped" if state.skipped else "labelled"
        self._unsettled.discard(id)

    def _stored(self, id: str) -> Annotation | None:
        if key := self.store.difference(self.items[id]):
            raise BdganError(f"{id} in {self.store.root} has another {key}: label into another folder")
        return self.store.load(id) if (self.store.root / f"{id}.json").exists() else None

    @property
    def _model(self) -> Proposals:
        if self.proposer is None:
            raise BdganError("this session has no model that learns; open it with a Proposer")
        return self.proposer


def _same(state: ItemState, stored: Annotation) -> bool:
    """Whether the store's annotation has the masks of this state."""
    annotation = state.annotation()
    if annotation is None or not np.array_equal(annotation.mask, stored.mask):
        return False
    if annotation.instances is None or stored.instances is None:
        return annotation.instances is stored.instances
    return np.array_equal(annotation.instances, stored.instances)


def _is_origin(value: Any) -> bool:
    typed = isinstance(value, list | tuple) and [type(part) for part in value] == [str, int]
    return typed and 0 <= value[1] < 2**53  # what a browser counts exactly


_COMMANDS: dict[str, tuple[Callable[[Session, Command], None], set[str]]] = {  # and the keys each may have
    "stroke": (Session._stroke, {"stroke"}),
    "undo": (Session._do, set()),
    "redo": (Session._do, set()),
    "skip": (Session._skip, {"skipped"}),
    "open": (lambda session, command: session._open(command.get("id")), {"id"}),
    "next": (Session._step, set()),
    "previous": (Session._step, set()),
    "save": (lambda session, command: None, set()),  # every command saves
    "grabcut": (Session._grabcut, {"box", "inside", "outside", "label", "instance"}),
    "superpixel": (Session._superpixel, {"point", "label", "instance"}),
    "outline": (Session._outline, {"label", "instance"}),
    "learn": (Session._learn, set()),
    "propose": (Session._propose, {"instance"}),
    "queue": (Session._queue, set()),
}
