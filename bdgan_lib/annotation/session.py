"""A labelling session without a screen: commands come in, every one that changes something is journalled.

A command is JSON: `{"do": "stroke", "stroke": {...}}` (see `strokes`), `undo`, `redo`, `skip` (`skipped`),
`open` (`id`), `next`, `previous`, `save` (try again what the disk refused); with help of image or model
`grabcut` (`box` [x0, y0, x1, y1], or points `inside` and `outside`), `superpixel` (`point`), `learn`,
`propose`, `queue`; `outline` gives a region's polygon, to be dragged. The widget, a recorded log and a
test send the same ones.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from threading import RLock
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation import assist
from bdgan_lib.annotation.active_learning import next_ids
from bdgan_lib.annotation.item_state import ItemState, base_stroke
from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.journal import Entry, Journal

Command = Mapping[str, Any]
LONGEST_PAUSE = 60.0  # seconds; of a longer one nobody was at work
_OPEN: "WeakValueDictionary[str, Session]" = WeakValueDictionary()  # folder -> who writes there


class Proposals(Protocol):
    """A model that learns from what is labelled; see `proposals.Proposer`."""

    labels: int  # how many masks it has learnt from

    def fit(self, annotations: Iterable[Annotation]) -> object: ...
    def propose(self, id: str) -> NDArray[np.uint8]: ...
    def divergence(self, ids: Sequence[str]) -> NDArray[np.floating]: ...


class Session:
    """Samples to label, one open at a time, and a store that holds every stroke when `saved` is true.

    Args:
        store: where masks and journal go. It is locked while the session is open; an older session of this
            process on the same folder is closed, one of another process is respected with a BdganError.
        items: the samples, as annotations whose masks are not looked at.
        picture: an item -> its image [H, W, 3] uint8.
        annotator: who labels; stored with every mask.
        proposer: the model that helps, if any.
        clock: seconds that go on; what an image costs is measured with it.
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
            raise BdganError(f"{len(items)} items came, {len(self.items)} of them distinct; give one or more")
        self.store, self.picture, self.annotator, self.proposer = store, picture, annotator, proposer
        self.error = ""  # why the last save failed
        self.rings: list[list[list[float]]] = []  # the polygon that `outline` gave
        self.status: dict[str, str] = {}  # id -> "labelled" or "skipped"
        self._clock, self._place = clock, str(store.root.resolve())
        self._since, self._turn = clock(), RLock()  # a kernel may answer in several threads
        self._unsettled: set[str] = set()  # whose mask in the store is not what the journal says
        if self._place in _OPEN:
            _OPEN[self._place].close()
        with ExitStack() as stack:
            stack.enter_context(store.writing())
            self._journal = Journal(store.root / "journal.jsonl")
            stack.callback(self._journal.close)
            self._resume()
            self._closing = stack.pop_all()
        _OPEN[self._place] = self

    # -- what there is to see

    @property
    def item(self) -> Annotation:
        """The open one."""
        return self.items[self.id]

    @property
    def saved(self) -> bool:
        """Whether all that was done is in the journal, and every image's mask in the store."""
        return not (self._journal.waiting or self._unsettled)

    @property
    def closed(self) -> bool:
        return _OPEN.get(self._place) is not self

    def labelled(self) -> list[Annotation]:
        """The labelled samples as they are stored, in their order."""
        return [self.store.load(id) for id in self.items if self.status.get(id) == "labelled"]

    def log(self) -> list[Entry]:
        """All that was done so far, as `replay` takes it."""
        return [entry for entry in self._journal.entries if entry["do"] not in ("open", "base")]

    # -- what can be done

    def handle(self, command: Command) -> None:
        """Do one command. BdganError if it is malformed or cannot be done: then nothing has changed.

        A disk that refuses is no exception: `saved` turns false, `error` says why, and the next command (or
        `save`) tries again.
        """
        if self.closed:
            raise BdganError("this session was closed, or a newer one has its folder; use that one")
        do = command.get("do")
        if not isinstance(do, str) or do not in _COMMANDS:
            raise BdganError(f"no command {do!r:.40}; there is {', '.join(_COMMANDS)}")
        with self._turn:
            self.rings = []
            try:
                _COMMANDS[do](self, command)
            except BdganError:
                raise
            except OSError as error:  # of reading: what cannot be written waits
                raise BdganError(f"{do} cannot be done now: {error}; try again") from error
            except (TypeError, ValueError, ArithmeticError) as error:
                raise BdganError(f"{do} came malformed: {error}") from error
            finally:
                self._save()

    def replay(self, log: Iterable[Entry]) -> None:
        """Do what a log says, image by image, with the seconds and clicks that it tells."""
        for entry in log:
            if entry.get("id") != self.id:
                self.handle({"do": "open", "id": entry.get("id")})
            self.handle({key: value for key, value in entry.items() if key not in ("id", "by")})

    def close(self) -> None:
        """Let others write in the store; BdganError if something could not be saved."""
        if not self.closed:
            self._save()
            del _OPEN[self._place]
            self._closing.close()
            if self.error:
                raise BdganError(f"{self.error}; what was saved before is in {self.store.root}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stroke(self, command: Command) -> None:
        stroke = command.get("stroke")
        if not isinstance(stroke, Mapping):
            raise BdganError(f"a stroke came as {str(stroke)[:40]!r}; wanted an object with `op`")
        self._do(command, stroke=stroke)

    def _skip(self, command: Command) -> None:
        self._do(command, skipped=bool(command.get("skipped", True)))

    def _grabcut(self, command: Command) -> None:
        given = {key: command[key] for key in ("box", "inside", "outside") if command.get(key)}
        self._mask("grabcut", assist.grabcut(self.picture(self.item), **given), command)

    def _superpixel(self, command: Command) -> None:
        point = command.get("point")
        if not isinstance(point, list | tuple) or len(point) != 2:
            raise BdganError(f"a point came as {point!r:.40}; wanted [x, y]")
        self._mask("superpixel", assist.superpixel_at(self.picture(self.item), *point), command)

    def _outline(self, command: Command) -> None:
        labels, instances = self.work.drawing.maps
        region = (labels == command.get("label")) & (instances == command.get("instance"))
        if not region.any():
            raise BdganError("nothing of this label and object is drawn; point at a region")
        self.rings = [ring.tolist() for ring in assist.editable_rings(region)]

    def _learn(self, _command: Command) -> None:
        self._model.fit(self.labelled())

    def _propose(self, command: Command) -> None:
        mask, instance = self._model.propose(self.id), command.get("instance", 1)
        regions = [
            {"label": label, "instance": instance, "rle": rle.encode(mask == label)}
            for label in np.unique(mask[mask > 0]).tolist()
        ]
        stroke = {"op": "mask", "tool": "proposal", "whole": True, "regions": regions}
        self._do({**command, "do": "stroke"}, stroke=stroke)

    def _queue(self, _command: Command) -> None:
        left = [id for id in self.items if id not in self.status]
        if not left:
            raise BdganError("every image is labelled or skipped")
        doubt = dict(zip(left, self._model.divergence(left).tolist(), strict=True))
        kinds = {kind: [id for id, k in self.status.items() if k == kind] for kind in ("labelled", "skipped")}
        items = list(self.items.values())
        self._open(next_ids(items, kinds["labelled"], doubt, 1, kinds["skipped"])[0])

    def _step(self, command: Command) -> None:
        ids, step = list(self.items), 1 if command["do"] == "next" else -1
        at = ids.index(self.id) + step
        if not 0 <= at < len(ids):
            raise BdganError(f"this is the {'last' if step > 0 else 'first'} image")
        self._open(ids[at])

    def _open(self, id: Any) -> None:
        if not isinstance(id, str) or id not in self.items:
            raise BdganError(f"no image {id!r:.60} in this session")
        self._show(id)
        self._write({"id": id, "do": "open", "by": self.annotator})

    def _mask(self, tool: str, pixels: NDArray[np.bool_], command: Command) -> None:
        region = {"label": command.get("label", 1), "instance": command.get("instance", 1)}
        stroke = {"op": "mask", "tool": tool, "regions": [{**region, "rle": rle.encode(pixels)}]}
        self._do({**command, "do": "stroke"}, stroke=stroke)

    def _do(self, command: Command, **what: Any) -> None:
        """Change the open image, and journal it."""
        now, clicks = self._clock(), command.get("clicks", 1)
        seconds = command.get("seconds", round(min(now - self._since, LONGEST_PAUSE), 3))
        if type(clicks) is not int or not 0 <= clicks <= 100_000:
            raise BdganError(f"clicks came as {clicks!r:.40}; wanted a whole number up to 100,000")
        if type(seconds) not in (int, float) or not 0 <= seconds <= LONGEST_PAUSE:
            raise BdganError(f"seconds came as {seconds!r:.40}; wanted 0 to {LONGEST_PAUSE:.0f}")
        entry = {
            "id": self.id,
            "do": command["do"],
            "by": self.annotator,
            "seconds": seconds,
            "clicks": clicks,
        }
        self._take(self.work, {**entry, **what})
        self._since = now

    # -- the disk

    def _resume(self) -> None:
        """Take the journal up where it ends, and bring the store to it."""
        self._entries: dict[str, list[Entry]] = {}
        last = next(iter(self.items))
        for entry in self._journal.entries:
            if entry["do"] != "open":
                self._entries.setdefault(entry["id"], []).append(entry)
            last = entry["id"] if entry["id"] in self.items else last
        for id in self.items:
            found, entries = self._stored(id), self._entries.get(id, [])
            if found is not None:
                self.status[id] = "skipped" if found.skipped else "labelled"
            if entries and (found is None or found.extra.get("entries") != len(entries)):
                self._settle(self._restored(id))
        self._show(last)
        self._save()

    def _show(self, id: str) -> None:
        self.work = self._restored(id)  # first: it may fail
        self.id, self._since = id, self._clock()

    def _restored(self, id: str) -> ItemState:
        """An image's work from the journal; what others have put into the store since is its last entry."""
        work, found = ItemState(self.items[id]), None if id in self._unsettled else self._stored(id)
        ours = found is None
        for entry in self._entries.get(id, []):
            work.take(entry)
            ours = ours or (
                found is not None and work.entries == found.extra.get("entries") and _same(work, found)
            )
        if ours or found is None:
            return work
        item = self.items[id]
        if found.mask.shape != item.mask.shape or found.classes != item.classes:
            raise BdganError(
                f"{id} is labelled in {self.store.root} as {list(found.mask.shape)} "
                f"{', '.join(found.classes)}; this session has {list(item.mask.shape)} "
                f"{', '.join(item.classes)}: label into another folder"
            )
        entry = {"id": id, "do": "base", "by": found.annotator, "seconds": 0, "clicks": 0}
        if found.skipped:
            self._take(work, {**entry, "do": "skip", "skipped": True})
        else:
            self._take(work, {**entry, "stroke": base_stroke(found)})
        return work

    def _take(self, work: ItemState, entry: Entry) -> None:
        work.take(entry)
        self._entries.setdefault(work.item.id, []).append(entry)
        self._unsettled.add(work.item.id)
        self._write(entry)

    def _write(self, entry: Entry) -> None:
        with suppress(OSError):  # then it waits; `_save` tries again and says why
            self._journal.append(entry)

    def _save(self) -> None:
        try:
            self._journal.flush()
            for id in sorted(self._unsettled):
                self._settle(self.work if id == self.id else self._restored(id))
            self.error = ""
        except (OSError, BdganError) as error:
            self.error = f"not saved: {error}"

    def _settle(self, work: ItemState) -> None:
        """Bring the store to what the journal says of an image."""
        id, made = work.item.id, work.annotation()
        if made is None:
            self.store.remove(id)
            self.status.pop(id, None)
        else:
            self.store.add(made)
            self.status[id] = "skipped" if work.skipped else "labelled"
        self._unsettled.discard(id)

    def _stored(self, id: str) -> Annotation | None:
        return self.store.load(id) if (self.store.root / f"{id}.json").exists() else None

    @property
    def _model(self) -> Proposals:
        if self.proposer is None:
            raise BdganError("this session has no model that learns; open it with a Proposer")
        return self.proposer


def _same(work: ItemState, found: Annotation) -> bool:
    """Whether the store's annotation is what the journal says so far."""
    made = work.annotation()
    if made is None or not np.array_equal(made.mask, found.mask):
        return False
    if made.instances is None or found.instances is None:
        return made.instances is found.instances
    return np.array_equal(made.instances, found.instances)


_COMMANDS: dict[str, Callable[[Session, Command], None]] = {
    "stroke": Session._stroke,
    "undo": Session._do,
    "redo": Session._do,
    "skip": Session._skip,
    "open": lambda session, command: session._open(command.get("id")),
    "next": Session._step,
    "previous": Session._step,
    "save": lambda session, command: None,  # every command saves
    "grabcut": Session._grabcut,
    "superpixel": Session._superpixel,
    "outline": Session._outline,
    "learn": Session._learn,
    "propose": Session._propose,
    "queue": Session._queue,
}
