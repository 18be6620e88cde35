"""The state of one image that its journal entries add up to, in a live session as in a resumed one."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from bdgan_lib.annotation.strokes import Stroke
from bdgan_lib.annotation.undo_history import Maps, UndoHistory
from bdgan_lib.core import rle
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.datasets.journal import Entry


@dataclass
class ItemState:
    """One item in the making: its labels with their history, and what they have cost."""

    item: Annotation  # its mask is ignored
    history: UndoHistory = field(init=False)
    skipped: bool = False  # no recognisable object
    seconds: float = 0.0
    clicks: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    annotator: str = ""  # of the last entry
    entries: int = 0

    def __post_init__(self) -> None:
        self._start_from(np.zeros((2, *self.item.mask.shape), np.uint8))

    def apply(self, entry: Entry) -> None:
        """Do what an entry says; BdganError if that is impossible, and then nothing has changed."""
        do = entry["do"]
        if do == "stroke":
            stroke = entry["stroke"]
            self.history.draw(stroke)
            self.tools[str(stroke.get("tool", stroke["op"]))] += 1
        elif do == "base":
            blank = ItemState(self.item).history
            blank.draw(entry["stroke"])
            self._start_from(blank.maps)
            self.skipped = False
        elif do == "skip":
            self.skipped = bool(entry["skipped"])
        elif do not in ("undo", "redo") or not getattr(self.history, do)():
            raise BdganError(f"there is nothing to {do}")
        self.seconds += entry["seconds"]
        self.clicks += entry["clicks"]
        self.annotator = entry["by"]
        self.entries += 1

    def annotation(self) -> Annotation | None:
        """The labelled item, with its cost and number of entries in `extra`; None if nothing is labelled.

        In a skipped item every pixel is unlabelled.
        """
        labels, instances = self.history.maps.copy()
        if self.skipped:
            labels[:] = UNLABELLED
        elif not labels.any():
            return None
        cost = {"seconds": round(self.seconds, 1), "clicks": self.clicks, "tools": dict(self.tools)}
        extra = {**self.item.extra, **cost, "entries": self.entries}
        if self.skipped:
            extra["skipped"] = True
        return replace(
            self.item,
            mask=labels,
            instances=None if self.skipped else instances,
            annotator=self.annotator,
            extra=extra,
        )

    def _start_from(self, maps: Maps) -> None:
        self.history = UndoHistory(maps, len(self.item.classes))


def base_stroke(annotation: Annotation) -> Stroke:
    """An annotation as one stroke over the whole image."""
    labels = annotation.mask
    instances = np.zeros_like(labels) if annotation.instances is None else annotation.instances
    regions = [
        {"label": label, "instance": instance, "rle": rle.encode((labels == label) & (instances == instance))}
        for label, instance in np.unique(np.stack([labels, instances])[:, labels > 0], axis=1).T.tolist()
    ]
    return {"op": "mask", "tool": "base", "whole": True, "regions": regions}
