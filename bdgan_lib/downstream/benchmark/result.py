"""Benchmark results as JSON files; everything read is checked, and the IoU are computed from the counts."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.model_files import read_json, write_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_label
from bdgan_lib.datasets.formats.shapes import BACKGROUND
from bdgan_lib.metrics.segmentation import iou_of_areas

FORMAT = "bdgan benchmark result 1"
SHOWN = 5  # best and worst images
_KEYS = {"target": "wanted"}  # fields that have another name in the file
_MOST_BYTES = 2**22  # of a file; a thousand labels take a fortieth
_MOST_PIXELS = 2**53  # of one label; a JSON number holds them exactly


@dataclass(frozen=True)
class Result:
    """The score of one set of predictions on a task.

    Raises:
        BdganError: a field has a wrong type or an impossible value.
    """

    world: str
    task: str
    name: str  # of the method that predicted
    labels: tuple[str, ...]  # 0 is the background
    both: tuple[int, ...]  # pixels of each label where prediction and truth agree
    predicted: tuple[int, ...]
    target: tuple[int, ...]
    interval: tuple[float, float]  # of the mIoU: 95%, bootstrap over images
    images: int  # that have a labelled pixel
    best: tuple[str, ...]  # ids of up to five images, ranked by their own mIoU
    worst: tuple[str, ...]  # the worst first
    predictions_sha256: str  # of all label ids, see `Fingerprint`
    labels_sha256: str  # results of one task are comparable if this is equal
    version: str  # of the library that scored
    date: str  # YYYY-MM-DD

    def __post_init__(self) -> None:
        for field in ("world", "task", "name", "version"):
            checked_label(getattr(self, field))
        for label in _sequence(self.labels, "labels", 2, 65_535):
            checked_label(label)
        if self.labels[0] != BACKGROUND or len(set(self.labels)) < len(self.labels):
            raise BdganError(
                f"expected labels with {BACKGROUND!r} first and each once, got {self.labels!r:.100}"
            )
        count = len(self.labels)
        counts = [_sequence(getattr(self, k), k, count, count) for k in ("both", "predicted", "target")]
        if not all(type(n) is int and 0 <= n <= _MOST_PIXELS for row in counts for n in row):
            raise BdganError("expected pixel counts that are whole numbers from 0; was the file edited?")
        if (
            any(b > min(p, w) for b, p, w in zip(*counts))
            or sum(self.predicted) != sum(self.target)
            or not sum(self.target)
        ):
            raise BdganError("the pixel counts contradict each other; was the file edited?")
        low_high = _sequence(self.interval, "interval", 2, 2)
        if not (all(type(x) is float for x in low_high) and 0 <= low_high[0] <= low_high[1] <= 1):
            raise BdganError(
                f"expected an interval of two numbers from 0 to 1, in order, got {self.interval!r:.60}"
            )
        if type(self.images) is not int or not 1 <= self.images <= _MOST_PIXELS:
            raise BdganError(f"expected 1 or more images, got {self.images!r:.40}")
        for ids in (self.best, self.worst):
            for id in _sequence(ids, "best and worst", 1, min(SHOWN, self.images)):
                if not isinstance(id, str):
                    raise BdganError(f"expected a text as image id, got {id!r:.40}")
                checked_id(id)
            if len(set(ids)) < len(ids):
                raise BdganError(f"expected each image once among the best or worst, got {ids!r:.100}")
        for digest in (self.predictions_sha256, self.labels_sha256):
            if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
                raise BdganError(f"expected a sha256 of 64 characters 0-9 a-f, got {digest!r:.80}")
        checked_date(self.date)

    @property
    def iou(self) -> tuple[float | None, ...]:
        """IoU of each label in [0, 1]; None if neither side has it."""
        scores = iou_of_areas(np.array([self.both, self.predicted, self.target]))
        return tuple(None if math.isnan(x) else x for x in scores.tolist())

    @property
    def miou(self) -> float:
        """Mean IoU over the labels that occur, in [0, 1]."""
        scores = [x for x in self.iou if x is not None]
        return sum(scores) / len(scores)

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object, which `from_json` reads."""
        values = {_KEYS.get(field.name, field.name): getattr(self, field.name) for field in fields(self)}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {"format": FORMAT, "miou": self.miou, "iou": list(self.iou), **plain}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Result":
        """The result in a JSON object of `to_json`.

        Raises:
            BdganError: a key is missing or unknown, or a value is impossible or contradicts the counts.
        """
        names = {_KEYS.get(field.name, field.name): field.name for field in fields(cls)}
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            raise BdganError(f"not a result: expected `format` {FORMAT!r}, as `bdgan benchmark score` writes")
        if odd := sorted(map(repr, record.keys() ^ {*names, "format", "miou", "iou"})):
            raise BdganError(f"keys {', '.join(odd)[:200]} are missing or unknown; was the file edited?")
        values: dict[str, Any] = {
            names[k]: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in names
        }
        result = cls(**values)
        shown = record["iou"] if isinstance(record["iou"], list) else []
        if len(shown) != len(result.iou) or not all(
            map(_agrees, [record["miou"], *shown], [result.miou, *result.iou])
        ):
            raise BdganError(
                f"its IoU do not follow from its counts (mIoU {result.miou:.6f}); was the file edited?"
            )
        return result

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.to_json(), ascii_only=False)


def load_result(path: Path) -> Result:
    """The result in a file.

    Raises:
        BdganError: the file, which is named, is missing or not a result.
    """
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise BdganError(f"{path} has {path.stat().st_size:,} bytes; no result is that large")
    record = read_json(path, "give a file that `bdgan benchmark score` wrote")
    try:
        return Result.from_json(record)
    except BdganError as error:
        raise BdganError(f"{path}: {error}") from error


def checked_date(text: object) -> str:
    """The date itself if it is a valid YYYY-MM-DD.

    Raises:
        BdganError: it is not.
    """
    try:
        if isinstance(text, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise BdganError(f"expected a date YYYY-MM-DD, got {text!r:.40}")


def _sequence(value: object, what: str, least: int, most: int) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or not least <= len(value) <= most:
        length = len(value) if isinstance(value, tuple) else type(value).__name__
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise BdganError(f"{what}: expected {expected} entries, got {length}")
    return value


def _agrees(shown: object, computed: float | None) -> bool:
    if computed is None or type(shown) is not float:
        return shown is computed
    return abs(shown - computed) < 1e-9
