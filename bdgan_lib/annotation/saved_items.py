"""What a labelling session keeps on the disk: the journal of its changes, and the store they add up to."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from bdgan_lib.annotation.item_state import ItemState, base_stroke
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.journal import Entry, Journal, read_entries

JOURNAL = "journal.jsonl"
CHANGED = "it was changed since it was labelled; restore it, or rename it to label it anew"  # of a picture
_DRAWN_ON = "generator_sha256"  # in an item's first entry, and in that of a stored annotation


class SavedItems:
    """The items of a session with their states on the disk, under the store's lock until `close`.

    A change is in the journal first and then in the store. What the disk refuses waits for the next `save`.

    Args:
        store: where masks and journal go.
        items: id -> the sample, whose mask is ignored.

    Raises:
        BdganError: another process has a session on the folder, or the journal there is damaged. An entry
            that is whole but cannot be used is passed over, with a warning.
    """

    def __init__(self, store: AnnotationStore, items: Mapping[str, Annotation]) -> None:
        self.store, self.items = store, items
        self.error = ""  # why the last save failed
        self.notice = ""  # what the journal holds and cannot be used
        self.status: dict[str, str] = {}  # id -> "started", "labelled" (that is done) or "skipped"
        self.answered: dict[str, int] = {}  # view -> number of its last command in the journal
        self._entries: dict[str, list[Entry]] = {}
        self._drawn_on: dict[str, str] = {}  # id -> sha256 of the generator or picture, where it is known
        self._unsettled: set[str] = set()  # items whose mask in the store is not what the journal says
        with ExitStack() as stack:
            stack.enter_context(store.writing())
            self._journal = Journal(store.root / JOURNAL)
            stack.callback(self._journal.close)
            self.last = self._resume()
            self._closing = stack.pop_all()

    @property
    def saved(self) -> bool:
        """Whether every change is in the journal, and every mask in the store."""
        return not (self._journal.waiting or self._unsettled)

    @property
    def log(self) -> list[Entry]:
        """The entries of the journal."""
        return self._journal.entries

    def apply(self, state: ItemState, entry: Entry) -> None:
        """Change an item's state and journal it; after a BdganError nothing has changed."""
        if not state.entries or entry["do"] == "base":
            entry = {**entry, _DRAWN_ON: state.item.generator_sha256}
        state.apply(entry)
        self._remember(entry)
        self._unsettled.add(state.item.id)
        self.write(entry)

    def write(self, entry: Entry) -> None:
        """Journal an entry."""
        with suppress(OSError):  # then it waits in the journal; `save` tries again and says why
            self._journal.append(entry)

    def save(self, state: ItemState | None) -> None:
        """Bring to the disk what waits, and the open item's state; `error` says what went wrong."""
        try:
            self._journal.flush()
            for id in sorted(self._unsettled):
                self._settle(state if state and id == state.item.id else self.restored(id))
            self.error = ""
        except (OSError, BdganError) as error:
            self.error = f"not saved: {error}"

    def close(self) -> None:
        """Release the journal and the store."""
        self._closing.close()

    def restored(self, id: str) -> ItemState:
        """An item's state by the journal; an annotation that others have stored since becomes an entry."""
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
            if (
                stored is None
                and (hash := self._drawn_on.get(id))
                and hash != self.items[id].generator_sha256
            ):
                raise self._another(id, _DRAWN_ON)
            return state
        item = self.items[id]
        if stored.mask.shape != item.mask.shape or stored.classes != item.classes:
            raise BdganError(
                f"{id} is labelled in {self.store.root} as {list(stored.mask.shape)} "
                f"{', '.join(stored.classes)}; this session has {list(item.mask.shape)} "
                f"{', '.join(item.classes)}: label into another folder"
            )
        entry = {"id": id, "by": stored.annotator, "seconds": 0, "clicks": 0}
        if stored.skipped:
            self.apply(state, {**entry, "do": "skip", "skipped": True})
        else:
            base = {"do": "base", "stroke": base_stroke(stored), "done": not stored.unfinished}
            self.apply(state, {**entry, **base})
        return state

    def _resume(self) -> str:
        """Go on where the journal ends, and bring the store to its state; returns the id that was open."""
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
                self.status[id] = _status(stored)
            if entries and (stored is None or stored.extra.get("entries") != len(entries)):
                self._settle(self.restored(id))
        return last

    def _tell(self, notice: str) -> None:
        self.notice = notice
        warnings.warn(notice, stacklevel=2)

    def _remember(self, entry: Entry) -> None:
        self._entries.setdefault(entry["id"], []).append(entry)
        self._drawn_on |= _drawn_on([entry])
        if is_origin(entry.get("origin")):
            self.answered[entry["origin"][0]] = entry["origin"][1]

    def _settle(self, state: ItemState) -> None:
        """Bring an item in the store to its state by the journal."""
        id, annotation = state.item.id, state.annotation()
        if annotation is None:
            self.store.remove(id)
            self.status.pop(id, None)
        else:
            self.store.add(annotation)
            self.status[id] = _status(annotation)
        self._unsettled.discard(id)

    def _stored(self, id: str) -> Annotation | None:
        if key := self.store.difference(self.items[id]):
            raise self._another(id, key)
        return self.store.load(id) if (self.store.root / f"{id}.json").exists() else None

    def _another(self, id: str, key: str) -> BdganError:
        """The error of an item that differs in this key from what was labelled."""
        if key == _DRAWN_ON and (picture := self.items[id].extra.get("picture")):
            return BdganError(f"{picture!s:.200}: {CHANGED}")
        return BdganError(f"{id} in {self.store.root} has another {key}: label into another folder")


def has_changed(store: AnnotationStore, item: Annotation, drawn_on: Mapping[str, str]) -> bool:
    """Whether an item is not what its annotation is of; without one, not what the journal says it was.

    Args:
        store: the annotations.
        item: the item; its `generator_sha256` is asked for only where there is one to compare it with.
        drawn_on: of `journal_hashes`.
    """
    if (store.root / f"{item.id}.json").exists():
        return bool(store.difference(item))
    return item.id in drawn_on and drawn_on[item.id] != item.generator_sha256


def journal_hashes(store: AnnotationStore) -> dict[str, str]:
    """Id -> sha256 of the generator or picture that the drawing in the store's journal is of, where known."""
    return _drawn_on(read_entries(store.root / JOURNAL))


def _drawn_on(entries: Iterable[Entry]) -> dict[str, str]:
    return {entry["id"]: entry[_DRAWN_ON] for entry in entries if isinstance(entry.get(_DRAWN_ON), str)}


def is_origin(value: Any) -> bool:
    """Whether this is the origin of a command: [view, number that a browser counts exactly]."""
    typed = isinstance(value, list | tuple) and [type(part) for part in value] == [str, int]
    return typed and 0 <= value[1] < 2**53


def _status(annotation: Annotation) -> str:
    return "skipped" if annotation.skipped else "started" if annotation.unfinished else "labelled"


def _same(state: ItemState, stored: Annotation) -> bool:
    """Whether the store's annotation has the masks of this state."""
    annotation = state.annotation()
    if annotation is None or not np.array_equal(annotation.mask, stored.mask):
        return False
    if annotation.instances is None or stored.instances is None:
        return annotation.instances is stored.instances
    return np.array_equal(annotation.instances, stored.instances)
