"""Annotations: one mask and one record per labelled sample, paired by name, saved so that none is lost."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.io import flush_folder, write_atomic
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import UNLABELLED, BdganError

_KEYS = {
    "id", "class_name", "class_id", "seed", "sampling", "generator_sha256",
    "annotator", "classes", "extra", "mask_sha256",
}  # fmt: skip
_OPTIONAL = {"latent", "instances"}


@dataclass(frozen=True, eq=False)
class Annotation:
    """A labelled sample without its pixels: (generator, class, seed, sampling) bring the image back."""

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
    latent: tuple[float, ...] | None = (
        None  # in place of the one the seed gives; imported samples have theirs
    )
    instances: NDArray[np.uint8] | None = None  # [H, W]; 0 = of no object, else its number; None = not told

    def __post_init__(self) -> None:
        checked_id(self.id)
        if self.class_id < 0 or self.seed < 0:
            raise BdganError(f"annotation {self.id}: class {self.class_id}, seed {self.seed}; give 0 or more")
        mask = self.mask
        if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
            came = f"{getattr(mask, 'dtype', type(mask).__name__)} {list(getattr(mask, 'shape', []))}"
            raise BdganError(f"annotation {self.id}: the mask came as {came}; wanted uint8 [H, W]")
        wrong = np.setdiff1d(mask, [*range(len(self.classes)), UNLABELLED])
        if wrong.size:
            raise BdganError(
                f"annotation {self.id}: the mask holds {wrong.tolist()[:5]}; "
                f"wanted 0..{len(self.classes) - 1} ({', '.join(self.classes)}) or {UNLABELLED} (unlabelled)"
            )
        if self.instances is not None and (
            self.instances.dtype != np.uint8 or self.instances.shape != mask.shape
        ):
            came = f"{self.instances.dtype} {list(self.instances.shape)}"
            raise BdganError(
                f"annotation {self.id}: instances came as {came}; wanted uint8 {list(mask.shape)}"
            )

    @property
    def skipped(self) -> bool:
        """Whether the annotator saw no recognisable object; nothing is learnt from it."""
        return bool(self.extra.get("skipped"))

    def to_json(self) -> dict[str, Any]:
        """All but mask and instances, as a JSON object; `from_json` puts them together again."""
        record = {
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
        cls, record: dict[str, Any], mask: NDArray[np.uint8], instances: NDArray[np.uint8] | None = None
    ) -> "Annotation":
        """The annotation whose `to_json` came; BdganError for a key that is missing or of another kind."""
        try:
            texts = {key: record[key] for key in ("id", "class_name", "generator_sha256", "annotator")}
            classes = tuple(record["classes"])
            for text in (*texts.values(), *classes):
                if not isinstance(text, str):
                    raise BdganError(f"{text!r:.100} came; wanted a text")
            return cls(
                **texts,
                class_id=int(record["class_id"]),
                seed=int(record["seed"]),
                sampling=Sampling.from_json(record["sampling"]),
                mask=mask,
                classes=classes,
                extra=dict(record["extra"]),
                latent=tuple(map(float, record["latent"])) if "latent" in record else None,
                instances=instances,
            )
        except KeyError as error:
            raise BdganError(f"the record has no {error}") from error
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise BdganError(f"the record does not fit: {error}") from error


def resize_annotations(annotations: Iterable[Annotation], came: int, wanted: int) -> list[Annotation]:
    """The annotations with masks `wanted` pixels a side, by nearest pixel.

    BdganError for a mask that is not `came` pixels a side.
    """
    found = list(annotations)
    for annotation in found:
        if annotation.mask.shape != (came, came):
            raise BdganError(
                f"annotation {annotation.id}: its mask is {list(annotation.mask.shape)}, its generator makes "
                f"{came} x {came}; annotate again"
            )

    def nearest(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return cv2.resize(mask, (wanted, wanted), interpolation=cv2.INTER_NEAREST)

    return [
        replace(a, mask=nearest(a.mask), instances=None if a.instances is None else nearest(a.instances))
        for a in found
    ]


def _numbered(packed: dict[str, str], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The map of instances that the record packs number by number."""
    instances = np.zeros(shape, np.uint8)
    for number, text in packed.items():
        if not 0 < int(number) < 256:
            raise BdganError(f"instance {number} came; wanted 1 to 255")
        instances[rle.decode(text, *shape)] = int(number)
    return instances


def json_text(record: dict[str, Any], whose: str) -> bytes:
    """The JSON of what `to_json` gave; BdganError when the extras hold what JSON cannot."""
    try:
        return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BdganError(f"{whose}: extra is no JSON ({error}); use plain values") from error


class AnnotationStore:
    """A folder of annotations: `<id>.png` (mask) and `<id>.json` (everything else and the PNG's sha256).

    The JSON is the commit point. A new mask waits as `<id>.<start of its sha256>.png` until the JSON that
    names it stands, and only then takes the place of the old one: whenever a save is cut off, either the old
    annotation or the new one is there, whole. One writes at a time, under a lock that a dead process gives
    back; another is refused.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._lock = FileLock(self.root / ".lock", thread_local=False)  # a kernel answers in several threads
        self._turn = RLock()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one who writes here, as often nested as wanted; BdganError while another does."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BdganError(
                f"{self.root} is open in another session; close that one (stop its kernel), or label into "
                "another folder"
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def add(self, annotation: Annotation) -> None:
        """Save an annotation, or save it anew; BdganError if its id already names another sample."""
        id = annotation.id
        png = encode_png(annotation.mask)
        mask_sha256 = sha256(png).hexdigest()
        record = annotation.to_json() | {"mask_sha256": mask_sha256}
        if annotation.instances is not None:
            numbers = np.unique(annotation.instances[annotation.instances > 0]).tolist()
            record["instances"] = {str(n): rle.encode(annotation.instances == n) for n in numbers}
        text = json_text(record, f"annotation {id}")

        with self.writing(), self._turn:
            self._refuse_another_sample(annotation)
            try:
                write_atomic(self._waiting(id, mask_sha256), png)
                write_atomic(self.root / f"{id}.json", text)  # the commit
            finally:
                self._settle(id)

    def remove(self, id: str) -> None:
        """Take an annotation out of the store; nothing happens if there is none."""
        record, mask = self.root / f"{checked_id(id)}.json", self.root / f"{id}.png"
        with self.writing(), self._turn:
            if record.exists() and mask.exists():
                mask.replace(self._waiting(id, self._record(id)["mask_sha256"]))
            record.unlink(missing_ok=True)  # the commit
            for left in self.root.glob(f"{id}.*png"):
                left.unlink()
            flush_folder(self.root)

    def load(self, id: str) -> Annotation:
        """The annotation of this id; BdganError naming the file that is missing or damaged."""
        record = self._record(id)
        mask = self._mask(id, record["mask_sha256"])
        try:
            instances = _numbered(record["instances"], mask.shape) if "instances" in record else None
            return Annotation.from_json(record, mask, instances)
        except (AttributeError, TypeError, ValueError) as error:
            raise BdganError(f"{self.root / id}.json is damaged: {error}") from error

    def ids(self) -> list[str]:
        """All ids, sorted; BdganError if a mask stands there without its record."""
        records = {path.stem for path in self.root.glob("*.json")}
        masks = {path.stem for path in self.root.glob("*.png") if "." not in path.stem}
        if masks - records:
            id = min(masks - records)
            raise BdganError(f"{self.root / id}.json is missing, {id}.png is not; restore it or remove both")
        return sorted(records)

    def require(self, generator_sha256: str) -> None:
        """BdganError unless every annotation was drawn on images of this very generator."""
        for id in self.ids():
            found = self._record(id)["generator_sha256"]
            if found != generator_sha256:
                raise BdganError(
                    f"annotation {id} in {self.root} is of generator {found}, wanted {generator_sha256}; "
                    "use the generator it was drawn on, or annotate anew in another folder"
                )

    def __len__(self) -> int:
        return len(self.ids())

    def __iter__(self) -> Iterator[Annotation]:
        """All but the skipped ones, which `load` gives by their id."""
        return (annotation for annotation in map(self.load, self.ids()) if not annotation.skipped)

    def _refuse_another_sample(self, annotation: Annotation) -> None:
        """Two samples under one name would bury a mask somebody drew."""
        if not (self.root / f"{annotation.id}.json").exists():
            return
        record = self._record(annotation.id)
        for key in ("class_id", "seed", "generator_sha256", "sampling", "latent"):
            new = getattr(annotation, key)
            new = new.to_json() if isinstance(new, Sampling) else list(new) if isinstance(new, tuple) else new
            if record.get(key) != new:
                raise BdganError(
                    f"annotation {annotation.id} stands in {self.root} with {key} {record.get(key)}, "
                    f"the new one has {new}; give it another id or folder, or remove the old one"
                )

    def _settle(self, id: str) -> None:
        """Put the mask that the record names in its place and drop what else waits."""
        if (self.root / f"{id}.json").exists():
            waiting = self._waiting(id, self._record(id)["mask_sha256"])
            if waiting.exists():
                waiting.replace(self.root / f"{id}.png")
        for left in self.root.glob(f"{id}.*.png"):
            left.unlink()

    def _waiting(self, id: str, mask_sha256: str) -> Path:
        return self.root / f"{id}.{mask_sha256[:12]}.png"

    def _record(self, id: str) -> dict[str, Any]:
        path = self.root / f"{checked_id(id)}.json"
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise BdganError(f"{path} is missing: no annotation {id} here, or its record is lost") from error
        except ValueError as error:
            raise BdganError(f"{path} is damaged: {error}; restore it from a copy") from error
        if not isinstance(record, dict) or set(record) - _OPTIONAL != _KEYS or record["id"] != id:
            raise BdganError(f"{path} is no record of annotation {id}; wanted an object with {sorted(_KEYS)}")
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
