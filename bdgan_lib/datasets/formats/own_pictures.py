"""Labels that another tool made of one's own pictures, as the pictures and masks that a head learns from."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath, PureWindowsPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import is_device
from bdgan_lib.core.image_codecs import ENDINGS, encode_png, upright_size
from bdgan_lib.core.io import atomic_folder, is_junk, list_pictures, require_outside, write_atomic
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import collect_errors
from bdgan_lib.datasets.formats.exchange import AnnotationFormat, codec_of
from bdgan_lib.datasets.formats.shapes import BACKGROUND, MEANINGS, LabelledImage

_KEY = "own-picture-{}"  # the name that pairs a picture with its labels, where file names may be any
_FOLDER = r"(?![. ])[^<>:\"/\\|?*\x00-\x1f]{1,80}(?<![. ])"  # a name that every system takes


def import_pictures(
    labels: Path, format: str, pictures: Path, folder: Path, foreground: Collection[str] = ()
) -> tuple[int, list[str]]:
    """Write `images/CLASS/NAME.*` and `masks/CLASS/NAME.png` of labelled pictures; list what is left out.

    Labels belong to the picture whose path, in its folder, ends as theirs does, or the reverse, whatever the
    file's ending. A picture's class is the first folder it lies in; that of a picture in no folder is its one
    label. Where shapes overlap the last one counts.

    Args:
        labels: the other tool's file or folder.
        format: one of `exchange.FORMATS`.
        pictures: the folder of the pictures, with a folder for each class or none.
        folder: a new folder. In its masks 0 is background, 1 foreground, 255 unlabelled.
        foreground: the labels that are foreground; none: all but the background.

    Returns:
        How many pictures were written, and a line for everything that was left out.

    Raises:
        BdganError: the format is unknown, a file is missing or damaged, or no picture has labels; nothing is
            written.
    """
    require_outside(folder, pictures)
    index, losses, written, names = PictureIndex(pictures), list[str](), 0, set[str]()
    with atomic_folder(folder) as unfinished:
        for item in _read(codec_of(format), labels, index, losses, overlaps=bool(foreground)):
            names |= {*item.labels} - {BACKGROUND}
            path = index.paths[item.name]
            inside = path.relative_to(pictures)
            with collect_errors(str(path), losses):
                data, mask = _bytes(path), _mask(item, path, foreground)
                name = _class_of(item, inside, foreground)
                for part, content, ending in (
                    ("masks", encode_png(mask), ".png"),
                    ("images", data, path.suffix),
                ):
                    place = unfinished.joinpath(part, name, *inside.parts[1:-1])
                    place.mkdir(parents=True, exist_ok=True)
                    write_atomic(place / f"{path.stem}{ending}", content)
                index.unlabelled.discard(path)
                written += 1
        for label in foreground:
            if label not in names:
                losses.append(f"no picture has the label {label!r:.100}; there is {', '.join(sorted(names))}")
        if left := sorted(index.unlabelled):
            losses.append(f"{len(left)} pictures have no labels or were left out, such as {left[0]}")
        if not written:
            more = f"; the first line of what was left out: {losses[0]}" if losses else ""
            raise BdganError(f"{labels} has no labels of a picture in {pictures}{more}")
    return written, losses


class PictureIndex:
    """The pictures of a folder and those in it, each with a key, and who of them has no labels yet.

    Raises:
        BdganError: there are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = [path for path in list_pictures(folder) if path.suffix.lower() in ENDINGS]
        if not files:
            raise BdganError(
                f"{folder} holds no pictures; give the folder of the pictures that were labelled"
            )
        self.paths, self.unlabelled = {_KEY.format(n): path for n, path in enumerate(files)}, {*files}
        self._by_stem = dict[str, list[tuple[str, tuple[str, ...]]]]()
        for key, path in self.paths.items():
            parts = _composed(path.relative_to(folder).with_suffix(""))
            self._by_stem.setdefault(parts[-1], []).append((key, parts))

    def key(self, file: str) -> str:
        """The key of the picture of a file, as labels give it: a name, a path or an address.

        Raises:
            BdganError: it is of no picture, or may be of several.
        """
        plain = unquote(urlsplit(file).path) if "://" in file else file
        path = PureWindowsPath(plain)  # it knows both kinds of separators
        stem = normalize("NFC", path.stem)
        theirs = (*_composed(path.parent), stem)
        fitting = []
        for key, mine in self._by_stem.get(stem, []):
            count = min(len(mine), len(theirs))
            if mine[-count:] == theirs[-count:]:
                fitting.append(key)
        if not fitting:
            raise BdganError(f"{self.folder} has no picture of the path {file!r:.200}")
        if len(fitting) > 1:
            one, other = (self.paths[key] for key in fitting[:2])
            raise BdganError(f"{file!r:.200} may be {one} or {other}; rename one, and in the labels")
        return fitting[0]

    def with_paths(self, line: str) -> str:
        """A line with paths in place of keys."""
        return re.sub(_KEY.format(r"\d+"), lambda key: str(self.paths.get(key[0], key[0])), line)


def _composed(path: PurePath) -> tuple[str, ...]:
    """The parts of a path, whose letters some systems write in pieces."""
    return tuple(normalize("NFC", part) for part in path.parts)


def _read(
    codec: AnnotationFormat, labels: Path, index: PictureIndex, losses: list[str], overlaps: bool
) -> Iterator[LabelledImage]:
    """The file's images. What is noted of objects is no loss here, nor, if all is foreground, overlaps."""
    noted, of_objects = list[str](), "of no object here|is number" + "|of an earlier shape" * (not overlaps)
    for item in codec.read_annotations(labels, noted, index.key):
        losses += [index.with_paths(line) for line in noted if not re.search(of_objects, line)]
        noted.clear()
        yield item
    losses += map(index.with_paths, noted)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BdganError(f"it cannot be read: {error.strerror}") from error


def _mask(item: LabelledImage, picture: Path, foreground: Collection[str]) -> NDArray[np.uint8]:
    """Background, foreground and unlabelled pixels of a picture."""
    if not item.whole:
        raise BdganError("its labels could not be read whole; it is left out")
    if (size := upright_size(picture)) != item.mask.shape:
        raise BdganError(f"expected labels of the picture's size {list(size)}, got {list(item.mask.shape)}")
    table = np.full(256, UNLABELLED, np.uint8)
    table[: len(item.labels)] = [_is_foreground(label, foreground) for label in item.labels]
    mask = np.asarray(table[item.mask], np.uint8)
    if not (mask == 1).any():
        more = f"; {UNLABELLED} means unlabelled" if (mask == UNLABELLED).any() else ""
        raise BdganError(
            f"none of its pixels is {' or '.join(foreground) or 'foreground'}{more}; it is left out"
        )
    if not foreground and (mask == 1).all():
        raise BdganError(
            "every pixel is foreground; name the labels that are, and no background, as foreground"
        )
    return mask


def _class_of(item: LabelledImage, picture: Path, foreground: Collection[str]) -> str:
    """The name of the folder for the class of a picture, whose path in its folder is given."""
    if len(picture.parts) > 1:
        return picture.parts[0]
    used = np.unique(item.mask[item.mask != UNLABELLED]).tolist()
    names = [item.labels[k] for k in used if _is_foreground(item.labels[k], foreground)]
    if len(names) > 1:
        raise BdganError(
            f"it has the labels {' and '.join(names[:3])}, so its class is unknown; put it into a folder of "
            "its class, or name one as foreground"
        )
    name = str(names[0])
    if not re.fullmatch(_FOLDER, name) or is_device(name) or is_junk(name):
        raise BdganError(f"the label {name!r:.100} is no name of a folder; put it into a folder of its class")
    return name


def _is_foreground(label: str, foreground: Collection[str]) -> bool:
    return label in foreground if foreground else MEANINGS.get(label, label).lower() != BACKGROUND
