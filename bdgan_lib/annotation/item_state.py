"""The state of one image that its journal entries add up to, in a live session as in a resumed one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bdgan_lib.annotation.strokes import Stroke
from bdgan_lib.annotation.undo_history import Maps, UndoHistory
from bdgan_lib.core import rle
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.datasets.journal import Entry

LONGEST_PAUSE = 60.0  # seconds; a longer pause counts as this much work


@dataclass
class ItemState:
    """One item in the making: its labels with their history, and what they have cost."""

    item: Annotation  # its mask is ignored
    history: UndoHistory = field(init=False)
    skipped: bool = False  # no recognisable object
    done: bool | None = None  # None: never said, as in journals older than `done`, where what is drawn counts
    seconds: float = 0.0
    clicks: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    annotator: str = ""  # of the last entry
    entries: int = 0

    def __post_init__(self) -> None:
        self._start_from(np.zeros((2, *self.item.mask.shape), np.uint8))

    def apply(self, entry: Entry) -> None:
        """Do what an entry says. After a BdganError (malformed, impossible) nothing has changed."""
        do, by = entry.get("do"), entry.get("by")
        stroke: Any = entry.get("stroke")
        seconds, clicks = checked_cost(entry.get("seconds"), entry.get("clicks"))
        if type(done := entry.get("done", self.done)) not in (bool, type(None)):
            raise BdganError(f"expected done as true or false, got {done!r:.40}")
        if not isinstance(by, str):
            raise BdganError(f"expected the annotator's name, got {by!r:.40}")
        if do in ("stroke", "base") and not isinstance(stroke, Mapping):
            raise BdganError(f"expected a stroke as an object with `op`, got {str(stroke)[:40]!r}")
        if do == "stroke":
            self.history.draw(stroke)
            self.tools[stroke.get("tool", stroke["op"])] += 1
        elif do == "base":
            blank = ItemState(self.item).history
            blank.draw(stroke)
            self._start_from(blank.maps)
            self.skipped = False
        elif do == "skip":
            if type(skipped := entry.get("skipped")) is not bool:
                raise BdganError(f"expected skipped as true or false, got {skipped!r:.40}")
            self.skipped = skipped
        elif do == "done" and done is None:
            raise BdganError("expected done as true or false, got none")
        elif do != "done" and (do not in ("undo", "redo") or not getattr(self.history, do)()):
            raise BdganError(f"there is nothing to {do!s:.40}")
        self.done = done
        self.seconds += seconds
        self.clicks += clicks
        self.annotator = by
        self.entries += 1

    def pass_over(self, entry: Entry) -> None:
        """Count an entry that cannot be used. A stroke draws nothing, and an `undo` after it finds it."""
        if entry.get("do") == "stroke":
            self.history.draw({"op": "mask", "regions": []})
        self.entries += 1

    def annotation(self) -> Annotation | None:
        """The labelled item, with its cost and number of entries in `extra`; None if nothing is labelled.

        In a skipped item every pixel is unlabelled. The maps are the history's, not copies.
        """
        labels, instances = self.history.maps
        if self.skipped:
            labels = np.full_like(labels, UNLABELLED)
        elif not labels.any():
            return None
        cost = {"seconds": round(self.seconds, 1), "clicks": self.clicks, "tools": dict(self.tools)}
        extra = {**self.item.extra, **cost, "entries": self.entries}
        if self.skipped:
            extra["skipped"] = True
        elif self.done is False:
            extra["done"] = False
        return replace(
            self.item,
            mask=labels,
            instances=None if self.skipped else instances,
            annotator=self.annotator,
            extra=extra,
        )

    def _start_from(self, maps: Maps) -> None:
        self.history = UndoHistory(maps, len(self.item.classes))


def checked_cost(seconds: Any, clicks: Any) -> tuple[float, int]:
    """The seconds and clicks that a command took; BdganError if they are none."""
    if type(clicks) is not int or not 0 <= clicks <= 100_000:
        raise BdganError(f"expected clicks as a whole number from 0 to 100,000, got {clicks!r:.40}")
    if type(seconds) not in (int, float) or not 0 <= seconds <= LONGEST_PAUSE:
        raise BdganError(f"expected seconds from 0 to {LONGEST_PAUSE:.0f}, got {seconds!r:.40}")
    return seconds, clicks


def base_stroke(annotation: Annotation) -> Stroke:
    """An annotation as one stroke over the whole image."""
    labels = annotation.mask
    instances = np.zeros_like(labels) if annotation.instances is None else annotation.instances
    regions = [
        {"label": label, "instance": instance, "rle": rle.encode((labels == label) & (instances == instance))}
        for label, instance in np.unique(np.stack([labels, instances])[:, labels > 0], axis=1).T.tolist()
    ]
    return {"op": "mask", "tool": "base", "whole": True, "regions": regions}
