"""Photographs to label: an item for each picture of a folder, whose pixels are read when it is shown.

A photograph has no generator. Its annotation has the picture's sha256 in the generator's place, class id and
seed 0, and the path in `extra["picture"]`. Its id depends on the path alone, whatever else the folder holds.
"""

import json
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from os import PathLike, fsencode
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.saved_items import CHANGED, JOURNAL, has_changed, journal_hashes
from bdgan_lib.core.image_codecs import ENDINGS, PICTURES, decode_image, upright_size
from bdgan_lib.core.io import list_folder, local_path, sha256_of, write_atomic
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import checked_label
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.formats.shapes import BACKGROUND, MEANINGS, VOID

SETTINGS = "photographs.jsonl"  # in a store: the folder and the labels of its photographs
_STORES = {SETTINGS, JOURNAL}  # files that tell a store, whose masks are no pictures to label


class PhotographFolder:
    """The pictures of a folder and of all in it; called with an annotation of one, it reads its image.

    Args:
        folder: junk, hidden files and annotation stores in it are passed over.

    Raises:
        BdganError: it is not a folder on this machine.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = local_path(folder)
        if not self.folder.is_dir():
            raise BdganError(f"expected a folder of pictures, got {self.folder}, which is none")
        paths = [path.relative_to(self.folder) for path in list_folder(self.folder, "**/*")]
        stores = {path.parent for path in paths if path.name in _STORES}
        files = [
            path
            for path in paths
            if not any(part.startswith(".") for part in path.parts)
            and stores.isdisjoint(path.parents)
            and (self.folder / path).is_file()
        ]
        self.pictures = {photograph_id(p): p for p in files if p.suffix.lower() in ENDINGS}  # id -> path
        self.others = [path for path in files if path.suffix.lower() not in ENDINGS]
        self._cached = lru_cache(4)(self._read)

    def __call__(self, annotation: Annotation) -> NDArray[np.uint8]:
        """The image [H, W, 3] of an annotation, turned upright as its EXIF data say.

        Raises:
            BdganError: the folder has no such picture, or it cannot be read, is not the one labelled, or has
                another size than the mask.
        """
        name, size = annotation.extra.get("picture"), annotation.mask.shape
        try:
            image = self._cached(annotation.id, annotation.generator_sha256, name)
        except OSError as error:
            raise BdganError(f"{self.folder / str(name)} cannot be read ({error.strerror})") from error
        if image.shape[:2] != size:  # replaced after the folder was read, before its sha256 was
            raise BdganError(
                f"{self.folder / str(name)}: expected {size[1]} x {size[0]} pixels, as when the folder was "
                f"read, got {image.shape[1]} x {image.shape[0]}; read the folder again"
            )
        return image

    def _read(self, id: str, expected: str, name: str | None) -> NDArray[np.uint8]:
        if id not in self.pictures:
            kind = "a generator's sample" if name is None else f"{name!r:.200}"
            raise BdganError(f"{id} is of {kind}, which is no picture in {self.folder}; give its folder")
        path = self.folder / self.pictures[id]
        data = path.read_bytes()
        if sha256(data).hexdigest() != expected:
            raise BdganError(
                f"{path} was changed since it was opened; restore it, or rename it to label it anew"
            )
        try:
            return decode_image(data)
        except BdganError as error:
            raise BdganError(f"{error}; the file is {path}") from error


class _Photograph(Annotation):
    """An unlabelled photograph; its file is read for the sha256 when that is first asked for."""

    def __init__(self, path: Path | None = None, generator_sha256: str = "", **fields: Any) -> None:
        super().__init__(generator_sha256=generator_sha256, **fields)
        if path:  # else a copy of one, labelled
            self.__dict__["path"] = path
            del self.__dict__["generator_sha256"]

    @cached_property
    def generator_sha256(self) -> str:  # type: ignore[override]
        return sha256_of(self.__dict__["path"])


def photographs(
    folder: str | PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    class_name: str | None = None,
    store: AnnotationStore | None = None,
    losses: list[str] | None = None,
) -> tuple[list[Annotation], PhotographFolder]:
    """The pictures of a folder as items to label, and the function that reads their images.

        store = AnnotationStore("labels")
        items, picture = photographs("my pictures", ["head", "body"], store=store)
        Annotator(Session(store, items, picture, annotator="you"))

    Of a JPEG or PNG only the headers are read. Files of other formats, cut-off ones and pictures that the
    store has labels of are read whole.

    Args:
        folder: the pictures; a folder in it is a class. None: as the store has recorded.
        labels: names of the labels, without the background. None: as the store has recorded.
        class_name: of pictures that lie in no folder of a class; "photograph" if None and none is recorded.
        store: where the labels go. Folder and labels are recorded there, other labels than its own are
            refused, and pictures that were changed since they were labelled are left out.
        losses: receives a line for everything that is left out; None: they are warnings.

    Raises:
        BdganError: there is no picture or no folder, the labels do not fit, the store lies in the folder of
            pictures, or it has labels of a generator's samples.
    """
    settings = {} if store is None else _settings(store)  # an empty store is false
    if folder is None and not settings:
        raise BdganError("expected a folder of pictures, got none, and no store that has recorded one")
    names = checked_labels(settings.get("labels", ()) if labels is None else labels)
    if settings and store is not None and list(names) != settings["labels"]:
        raise BdganError(
            f"expected the labels of {store.root}, {', '.join(settings['labels'])}, got {', '.join(names)}; "
            "give the same ones, or label into another folder"
        )
    class_name = class_name or settings.get("class", "photograph")
    source, lines = PhotographFolder(folder or settings["folder"]), list[str]()
    if store is not None and store.root.resolve() == source.folder.resolve():
        raise BdganError(f"expected another folder for the labels than that of the pictures, {store.root}")
    if store is not None and not settings and _of_generator(store):
        raise BdganError(
            f"{store.root} has labels of a generator's samples; expected a folder of its own for pictures"
        )
    if source.others:
        kinds = ", ".join(sorted({path.suffix.lower() or path.name for path in source.others})[:10])
        lines.append(f"{len(source.others)} files are no pictures of {', '.join(PICTURES)}: {kinds}")
    items = list(_items(source, (BACKGROUND, *names), class_name, store, lines))
    if not items:
        raise BdganError("; ".join([f"no picture to label in {source.folder}", *lines[:3]]))
    if store is not None:
        if missing := sorted(set(store.ids()) - source.pictures.keys()):
            lines.append(
                f"{len(missing)} labels in {store.root} are of no picture in {source.folder}, "
                f"such as {missing[0]}"
            )
        new = {"folder": str(source.folder.resolve()), "labels": list(names), "class": class_name}
        if new != settings:
            store.root.mkdir(parents=True, exist_ok=True)
            write_atomic(store.root / SETTINGS, (json.dumps(new) + "\n").encode())
    if losses is None:
        for line in lines:
            warnings.warn(line, stacklevel=2)
    else:
        losses += lines
    return items, source


def photograph_source(store: AnnotationStore, folder: Path | None = None) -> PhotographFolder | None:
    """Where the photographs are that a store has labels of; None if its labels are of a generator's samples.

    Args:
        store: the labels.
        folder: the pictures; None: as the store has recorded.

    Raises:
        BdganError: the folder is not known, or is none.
    """
    if len(store) == 0 or _of_generator(store):
        if folder:
            raise BdganError(f"{store.root} has no labels of photographs; give no folder of pictures")
        return None
    folder = folder or (Path(settings["folder"]) if (settings := _settings(store)) else None)
    if folder is None or not folder.is_dir():
        place = f" no longer in {folder}" if folder else ""
        raise BdganError(f"{store.root} has labels of photographs{place}; give their folder (--images)")
    return PhotographFolder(folder)


def photograph_id(path: PurePath) -> str:
    """The id of a picture by its path in the folder: readable, safe, and its own.

    >>> photograph_id(PurePath("my cats/1.jpg"))
    'my_cats_1_6e23e8a6'
    """
    text = unicodedata.normalize("NFC", path.as_posix())
    plain = unicodedata.normalize("NFKD", path.with_suffix("").as_posix()).encode("ascii", "ignore").decode()
    slug = re.sub("[^A-Za-z0-9]+", "_", plain).strip("_")[-80:].strip("_")
    return f"{slug or 'picture'}_{sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}"


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The names of labels themselves, if a mask and every exchange format can hold them.

    Raises:
        BdganError: there is none, one stands twice or means something else, or there are more than 254.
    """
    names = tuple(checked_label(name) for name in ([] if isinstance(labels, str) else labels))
    if not names:
        raise BdganError(f"expected a list of labels, such as head, body; got {labels!r:.100}")
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise BdganError(f"expected each label once, got {twice[0]!r:.100} twice")
    if taken := [name for name in names if name in (BACKGROUND, VOID, *MEANINGS)]:
        raise BdganError(f"expected names of parts, got {taken[0]!r}, which has a meaning of its own")
    if len(names) >= UNLABELLED:
        raise BdganError(f"expected at most {UNLABELLED - 1} labels, got {len(names)}")
    return names


def _items(
    source: PhotographFolder,
    classes: tuple[str, ...],
    class_name: str,
    store: AnnotationStore | None,
    losses: list[str],
) -> Iterable[Annotation]:
    drawn_on = {} if store is None else journal_hashes(store)
    for id, path in source.pictures.items():
        name = fsencode(path.as_posix()).decode("utf-8", "replace")
        try:
            size = upright_size(source.folder / path)
            item = _Photograph(
                source.folder / path,
                id=id,
                class_name=name.split("/")[0] if len(path.parts) > 1 else class_name,
                class_id=0,
                seed=0,
                sampling=Sampling(),
                mask=np.broadcast_to(np.uint8(0), size),
                annotator="",
                classes=classes,
                extra={"picture": name},
            )
            if store is not None and has_changed(store, item, drawn_on):
                raise BdganError(CHANGED)
        except (BdganError, OSError) as error:
            losses.append(f"{name}: {error}")
        else:
            yield item


def _of_generator(store: AnnotationStore) -> bool:
    """Whether a store has labels, and the first is of a generator's sample."""
    first = next(iter(store.ids()), None)
    return first is not None and not isinstance(store.load(first).extra.get("picture"), str)


def _settings(store: AnnotationStore) -> dict[str, Any]:
    """Folder, labels and class as the store has recorded them; empty if it has not."""
    path = store.root / SETTINGS
    if not path.exists():
        return {}
    settings: dict[str, Any] = read_json(path, "remove it, and give folder and labels again")
    texts = [settings.get("folder"), settings.get("class"), *(settings.get("labels") or [None])]
    if not all(isinstance(text, str) for text in texts):
        raise BdganError(f"{path}: expected folder, labels and class; remove it, and give them again")
    return settings
