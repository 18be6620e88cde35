"""The annotation store: a mask and a record per labelled sample, paired by name, saved without loss."""

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any

import cv2
import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bdgan_lib.core import rle
from bdgan_lib.core.ids import checked_id, new_id
from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.io import flush_folder, is_junk, list_folder, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import UNLABELLED, BdganError, Json

_KEYS = {
    "id", "class_name", "class_id", "seed", "sampling", "generator_sha256",
    "annotator", "classes", "extra", "mask_sha256",
}  # fmt: skip
_OPTIONAL = {"latent", "instances"}
LOCK = ".lock"
_SESSION = {"journal.jsonl", "photographs.jsonl"}  # of a session that has saved no label yet


@dataclass(frozen=True, eq=False)
class Annotation:
    """A labelled sample without its image, which (generator, class, seed, sampling) determine."""

    id: str
    class_name: str
    class_id: int
    seed: int
    sampling: Sampling
    generator_sha256: str
    mask: NDArray[np.uint8]  # [H, W]; an index into classes, or 255 = unlabelled
    annotator: str  # who or what drew the mask
    classes: tuple[str, ...] = ("background", "foreground")  # names of the labels
    extra: dict[str, Any] = field(default_factory=dict)  # anything JSON can hold
    latent: tuple[float, ...] | None = None  # replaces the seed's latent; of imported samples
    instances: NDArray[np.uint8] | None = None  # [H, W] object numbers, 0 = of none; None = not distinguished

    def __post_init__(self) -> None:
        checked_id(self.id)
        if self.class_id < 0 or self.seed < 0:
            raise BdganError(f"annotation {self.id}: class {self.class_id}, seed {self.seed}; give 0 or more")
        mask = self.mask
        if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
            kind = f"{getattr(mask, 'dtype', type(mask).__name__)} {list(getattr(mask, 'shape', []))}"
            raise BdganError(f"annotation {self.id}: expected a uint8 mask [H, W], got {kind}")
        values = mask if any(mask.strides) else mask[:1, :1]  # one value, seen as many
        most = len(self.classes) - 1
        if values.max() > most and ((values > most) & (values != UNLABELLED)).any():
            wrong = sorted(set(np.unique(values).tolist()) - {*range(len(self.classes)), UNLABELLED})
            raise BdganError(
                f"annotation {self.id}: expected a mask of 0..{most} "
                f"({', '.join(self.classes)}) and {UNLABELLED} (unlabelled), got {wrong[:5]}"
            )
        if self.instances is not None and (
            self.instances.dtype != np.uint8 or self.instances.shape != mask.shape
        ):
            kind = f"{self.instances.dtype} {list(self.instances.shape)}"
            raise BdganError(f"annotation {self.id}: expected uint8 instances {list(mask.shape)}, got {kind}")

    @property
    def skipped(self) -> bool:
        """Whether the annotator saw no recognisable object; such a sample is not trained on."""
        return bool(self.extra.get("skipped"))

    @property
    def unfinished(self) -> bool:
        """Whether the annotator has begun it and not finished; such a sample is not trained on."""
        return self.extra.get("done") is False

    def to_json(self) -> Json:
        """Everything but mask and instances as a JSON object; `from_json` is the inverse."""
        record: dict[str, Any] = {
            "id": self.id,
            "class_name": self.class_name,
            "class_id": int(self.class_id),
            "seed": int(self.seed),
            "sampling": self.sampling.to_json(),
            "generator_sha256": self.generator_sha256,
            "annotator": self.annotator,
            "classes": list(self.classes),
            "extra": self.extra,
        }
        if self.latent is not None:
            record["latent"] = list(self.latent)
        return record

    @classmethod
    def from_json(
        cls, record: Json, mask: NDArray[np.uint8], instances: NDArray[np.uint8] | None = None
    ) -> "Annotation":
        """The annotation of a record that `to_json` made, a mask [H, W] and instances [H, W] or None.

        Raises:
            BdganError: a key is missing or its value of another type.
        """
        values: dict[str, Any] = record
        try:
            texts = {key: values[key] for key in ("id", "class_name", "generator_sha256", "annotator")}
            classes = tuple(values["classes"])
            for text in (*texts.values(), *classes):
                if not isinstance(text, str):
                    raise BdganError(f"expected a text, got {text!r:.100}")
            return cls(
                **texts,
                class_id=int(values["class_id"]),
                seed=int(values["seed"]),
                sampling=Sampling.from_json(values["sampling"]),
                mask=mask,
                classes=classes,
                extra=dict(values["extra"]),
                latent=tuple(map(float, values["latent"])) if "latent" in values else None,
                instances=instances,
            )
        except KeyError as error:
            raise BdganError(f"the record has no {error}") from error
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise BdganError(f"the record does not fit: {error!s:.200}") from error


def resize_annotations(annotations: Iterable[Annotation], side: int, new_side: int) -> list[Annotation]:
    """The annotations with masks [side, side] resized to [new_side, new_side], by nearest pixel.

    Raises:
        BdganError: a mask is not [side, side].
    """

    def nearest(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        resized = cv2.resize(mask, (new_side, new_side), interpolation=cv2.INTER_NEAREST)
        return np.asarray(resized, np.uint8)

    resized = []
    for a in annotations:
        if a.mask.shape != (side, side):
            raise BdganError(
                f"annotation {a.id}: expected a mask {side} x {side} as its generator's images, "
                f"got {list(a.mask.shape)}; annotate again"
            )
        instances = None if a.instances is None else nearest(a.instances)
        resized.append(replace(a, mask=nearest(a.mask), instances=instances))
    return resized


def _unpack_instances(packed: dict[str, str], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The map of instances from a record's run lengths by number."""
    instances = np.zeros(shape, np.uint8)
    for number, text in packed.items():
        if not 0 < int(number) < 256:
            raise BdganError(f"expected instances 1 to 255, got {number}")
        instances[rle.decode(text, *shape)] = int(number)
    return instances


def json_text(record: Mapping[str, object], what: str) -> bytes:
    """The JSON text of annotations' records.

    Raises:
        BdganError: an `extra` of `what` has values that JSON cannot hold.
    """
    try:
        return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BdganError(f"{what}: extra is not JSON ({error}); use plain values") from error


class AnnotationStore:
    """A folder of annotations: `<id>.png` (mask) and `<id>.json` (everything else and the PNG's sha256).

    The JSON is the commit point. A new mask waits as `<id>.<start of its sha256>.png` until the JSON that
    names it is written, and only then replaces the old one: if a save is interrupted, either the old or the
    new annotation is there, whole. One process writes at a time, under a lock that is released when it dies;
    others are refused.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._lock = FileLock(self.root / LOCK, thread_local=False)  # a kernel uses several threads
        self._mutex = RLock()

    def check_folder(self) -> None:
        """Check that the folder is new, empty or has annotations. Writes nothing.

        Raises:
            BdganError: it holds other files alone.
        """
        names = {path.name for path in self.root.iterdir()} if self.root.exists() else set[str]()
        names = {name for name in names if not name.startswith(".") and not is_junk(name)}
        if names and not names & _SESSION and not any(map(self._is_record, names)):
            raise BdganError(
                f"{self.root} holds {min(names)} and no annotations; choose a new or an empty folder"
            )

    def _is_record(self, name: str) -> bool:
        if name.endswith(".json"):
            with suppress(BdganError):
                return bool(self._record(name[:-5]))
        return False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock; may be nested.

        Raises:
            BdganError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BdganError(
                f"{self.root} is open in another session; close that one (stop its kernel), or use another "
                "folder"
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def add(self, annotation: Annotation) -> None:
        """Save an annotation, in place of an earlier one of the same sample.

        Raises:
            BdganError: its id already names another sample, or a picture that is no mask of this store;
                `extra` is not JSON; or another process has the store open.
        """
        id = annotation.id
        png = encode_png(annotation.mask)
        mask_sha256 = sha256(png).hexdigest()
        record = annotation.to_json() | {"mask_sha256": mask_sha256}
        if annotation.instances is not None:
            packed = rle.encode_values(annotation.instances)
            record["instances"] = {str(n): text for n, text in packed.items()}
        text = json_text(record, f"annotation {id}")

        with self.writing(), self._mutex:
            if key := self.difference(annotation):
                values = (f"{r.get(key)!s:.80}" for r in (self._record(id), annotation.to_json()))
                raise BdganError(
                    f"annotation {id} in {self.root}: expected the sample's {key}"
                    + ("" if key == "latent" else " {}, got {}".format(*values))  # it is long
                    + "; give the new one another id or folder, or remove the old one"
                )
            if not (self.root / f"{id}.json").exists():
                new_id(id)
            self._require_replaceable(id)
            try:
                write_atomic(self._waiting(id, mask_sha256), png)
                write_atomic(self.root / f"{id}.json", text)  # the commit
            finally:
                self._settle(id)

    def remove(self, id: str) -> None:
        """Remove an annotation from the store, if it is there.

        Raises:
            BdganError: the picture beside its record is not the mask that it names.
        """
        record, mask = self._json(id), self.root / f"{id}.png"
        with self.writing(), self._mutex:
            if record.exists() and mask.exists():
                self._require_replaceable(id)
                mask.replace(self._waiting(id, self._record(id)["mask_sha256"]))
            record.unlink(missing_ok=True)  # the commit
            for path in self._all_waiting(id):
                path.unlink()
            flush_folder(self.root)

    def load(self, id: str) -> Annotation:
        """The annotation of this id.

        Raises:
            BdganError: a file is missing or damaged.
        """
        record = self._record(id)
        mask = self._mask(id, record["mask_sha256"])
        try:
            packed = "instances" in record
            instances = _unpack_instances(record["instances"], mask.shape) if packed else None
            return Annotation.from_json(record, mask, instances)
        except (AttributeError, TypeError, ValueError) as error:
            raise BdganError(f"{self.root / id}.json is damaged: {error!s:.200}") from error

    def ids(self) -> list[str]:
        """All ids, sorted; what systems leave behind (`._x.json`) is passed over.

        Raises:
            BdganError: a mask has no record, or a record's file has a name that is no id.
        """
        records = {path.stem for path in list_folder(self.root, "*.json")}
        masks = {path.stem for path in list_folder(self.root, "*.png") if "." not in path.stem}
        if masks - records:
            id = min(masks - records)
            raise BdganError(f"{self.root / id}.json is missing, {id}.png is not; restore it or remove both")
        for id in records:
            self._json(id)
        return sorted(records)

    def require(self, generator_sha256: str) -> None:
        """Check that every annotation was made on images of this generator.

        Raises:
            BdganError: one was made on another generator's.
        """
        for id in self.ids():
            actual = self.generator_of(id)
            if actual != generator_sha256:
                raise BdganError(
                    f"annotation {id} in {self.root}: expected generator {generator_sha256}, "
                    f"got {actual!s:.80}; use the generator it was made on, or annotate in another folder"
                )

    def generator_of(self, id: str) -> str:
        """The sha256 of the generator, or of the picture, that an annotation is of."""
        return str(self._record(id)["generator_sha256"])

    def difference(self, annotation: Annotation) -> str:
        """What tells an annotation's sample from the stored one of the same id, or "" if nothing does."""
        if not (self.root / f"{annotation.id}.json").exists():
            return ""
        record, new = self._record(annotation.id), annotation.to_json()
        keys = ("class_id", "seed", "generator_sha256", "sampling", "latent")
        return next((key for key in keys if record.get(key) != new.get(key)), "")

    def __len__(self) -> int:
        return len(self.ids())

    def __iter__(self) -> Iterator[Annotation]:
        """Iterate over all that are done; `load` returns the others. Unfinished ones are warned of, once."""
        unfinished = 0
        for annotation in map(self.load, self.ids()):
            if annotation.unfinished:
                unfinished += 1
            elif not annotation.skipped:
                yield annotation
        if unfinished:
            text = f"{self.root}: {unfinished} images that are begun and not marked as done are left out"
            warnings.warn(text, stacklevel=2)

    def _settle(self, id: str) -> None:
        """Move the mask that the record names to its place and remove others that wait."""
        if (self.root / f"{id}.json").exists():
            waiting = self._waiting(id, self._record(id)["mask_sha256"])
            if waiting.exists():
                waiting.replace(self.root / f"{id}.png")
        for path in self._all_waiting(id):
            path.unlink()

    def _require_replaceable(self, id: str) -> None:
        """Raise if `<id>.png` is there and neither its record's mask nor one that a cut-off save leaves."""
        path = self.root / f"{id}.png"
        if not os.path.lexists(path):
            return
        if (self.root / f"{id}.json").exists():
            expected = self._record(id)["mask_sha256"]
            if self._waiting(id, expected).exists():
                return
            if path.is_file() and sha256(path.read_bytes()).hexdigest() == expected:
                return
        raise BdganError(f"{path} is no mask of this store and would be lost; move it, or use another folder")

    def _waiting(self, id: str, mask_sha256: str) -> Path:
        return self.root / f"{id}.{mask_sha256[:12]}.png"

    def _json(self, id: str) -> Path:
        try:
            return self.root / f"{checked_id(id)}.json"
        except BdganError as error:
            raise BdganError(
                f"{self.root / f'{id:.100}.json'!s:.400} is of no annotation: {error}"
            ) from error

    def _all_waiting(self, id: str) -> list[Path]:
        mask = re.compile(rf"{re.escape(id)}\.[0-9a-f]{{12}}\.png")
        return [path for path in self.root.glob(f"{id}.*.png") if mask.fullmatch(path.name)]

    def _record(self, id: str) -> dict[str, Any]:
        path = self._json(id)
        record: dict[str, Any] = read_json(path, "restore it from a copy")
        whole = set(record) - _OPTIONAL == _KEYS and record["id"] == id
        # a part of the digest is part of a file's name
        if not (whole and re.fullmatch("[0-9a-f]{64}", str(record["mask_sha256"]))):
            raise BdganError(
                f"{path}: expected the record of annotation {id}, an object with {sorted(_KEYS)}"
            )
        return record

    def _mask(self, id: str, expected: str) -> NDArray[np.uint8]:
        path, actual = self.root / f"{id}.png", ""
        for candidate in (path, self._waiting(id, expected)):
            if candidate.exists():
                data = candidate.read_bytes()
                if sha256(data).hexdigest() == expected:
                    return decode_png(data)
                actual = actual or sha256(data).hexdigest()
        if not actual:
            raise BdganError(f"{path} is missing, the mask of {id}; restore it or remove {id}.json")
        raise BdganError(f"{path} is damaged: expected sha256 {expected}, actual {actual}; restore it")
