"""Pictures to train a generator on: a folder for each class, or a zip of such, checked and cropped."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.ids import class_of_folder
from bdgan_lib.core.image_codecs import MOST_PIXELS, decode_image
from bdgan_lib.core.io import is_junk, list_pictures
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_class_name
from bdgan_lib.synthesis.label_real import center_square

LEAST = 8  # pictures of a class
IMAGES = "images"  # a folder of this name holds the classes, if there is one; masks may lie beside it
_MOST_BYTES = 4 * MOST_PIXELS  # of a picture's file
VIEW_MARGIN = 1.25  # pictures are kept so much larger than the generator's side, to be cropped from


@dataclass(frozen=True, eq=False)
class PictureSet:
    """N pictures of some classes: their centre squares."""

    images: NDArray[np.uint8]  # [N, S, S, 3]
    class_ids: NDArray[np.int64]  # [N]
    classes: tuple[str, ...]
    names: tuple[str, ...]  # path of each picture in the folder or zip
    dropped: tuple[tuple[str, str], ...] = ()  # path of every picture that was left out, and why

    def split(self, share: float) -> "tuple[PictureSet, PictureSet]":
        """The pictures without the last ones of each class, by name, and these: `share` of them, one or more.

        Pictures of one object often have names that follow each other; they stay together but for one object.
        """
        last = np.zeros(len(self.names), bool)
        for k in range(len(self.classes)):
            mine = np.flatnonzero(self.class_ids == k)
            last[mine[len(mine) - max(1, round(share * len(mine))) :]] = True
        return self.chosen(~last), self.chosen(last)

    def chosen(self, which: NDArray[np.bool_]) -> "PictureSet":
        """Some of the pictures, [N] True for those."""
        names = tuple(name for name, keep in zip(self.names, which, strict=True) if keep)
        return PictureSet(self.images[which], self.class_ids[which], self.classes, names)


def read_picture_set(source: str | Path, side: int, progress: bool = False) -> PictureSet:
    """The pictures of a folder with one folder for each class, or of a zip of such folders.

    Left out, with the reason in `dropped`: files that are no readable picture, pictures smaller than half
    the side or larger than 67 million pixels, and pictures that equal another one.

    Args:
        source: the folder or zip. If it holds a folder `images`, the classes are in there.
        side: of the squares, in pixels.
        progress: show a bar.

    Raises:
        BdganError: it is no folder or readable zip, there are fewer than two classes, a class has fewer than
            eight pictures left or a name that is blank or no line, or two folders have one name but for how
            its letters are composed.
    """
    source = Path(source)
    kept: list[tuple[str, str, NDArray[np.uint8]]] = []  # class, path, image
    dropped: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    in_folder: dict[str, int] = {}
    folders: dict[str, str] = {}  # class -> its folder's name as it is written
    for folder, name, read in tqdm(_files(source), "pictures", disable=not progress, unit="picture"):
        label = class_of_folder(folder)
        try:
            checked_class_name(label)
        except BdganError as error:
            raise BdganError(f"{source}: a folder's name is its class; {error}") from error
        if folders.setdefault(label, folder) != folder:
            raise BdganError(f"{source} has two folders named {label!r}, composed differently; rename one")
        in_folder[label] = in_folder.get(label, 0) + 1
        try:
            image = _square(read(), side)
        except BdganError as error:
            dropped.append((name, str(error)))
            continue
        digest = sha256(image.tobytes()).hexdigest()
        if first := seen.get(digest):
            dropped.append((name, f"the same picture as {first}"))
            continue
        seen[digest] = name
        kept.append((label, name, image))
    classes = tuple(sorted(in_folder))
    if len(classes) < 2:
        raise BdganError(
            f"expected a folder of pictures for each class in {source}, two or more; it has {len(classes)}"
        )
    count = {label: sum(mine == label for mine, *_ in kept) for label in classes}
    if few := [label for label in classes if count[label] < LEAST]:
        label = few[0]
        reasons = "; ".join(f"{name}: {why}" for name, why in dropped[:3])
        raise BdganError(
            f"class {label!r} has {count[label]} usable pictures of {in_folder[label]}; it needs {LEAST} "
            "or more: add some, or take its folder away" + (f" (left out: {reasons})" if reasons else "")
        )
    ids = np.array([classes.index(label) for label, *_ in kept], np.int64)
    images = np.stack([image for *_, image in kept])
    return PictureSet(images, ids, classes, tuple(name for _, name, _ in kept), tuple(dropped))


def views(
    images: NDArray[np.uint8], count: int, side: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Augmented crops of images in turn.

    Each crop has 0.8 to 1 of the image's side, lies anywhere in it, is mirrored every other time, and has
    its contrast and brightness changed by up to a tenth. Crop i depends on the seed and i alone.

    Args:
        images: [N, F, F, 3].
        count: of the crops, M.
        side: of the crops in pixels, S.
        seed: of the draws.

    Returns:
        Crops [M, S, S, 3]; which image each is of [M]; the uniform numbers in [0, 1) that say how it was
        cropped [M, 6]: size, row, column, mirrored below a half, contrast, brightness.
    """
    place = np.arange(count) % len(images)
    crops = np.empty((count, side, side, 3), np.uint8)
    how = np.stack([np.random.default_rng([seed, i]).random(6) for i in range(count)])
    full = images.shape[1]
    for i, (scale, row, column, mirrored, contrast, brightness) in enumerate(how):
        size = round(full * (0.8 + 0.2 * scale))
        top, left = (int(share * (full - size + 1)) for share in (row, column))
        crop = images[place[i], top : top + size, left : left + size]
        if mirrored < 0.5:
            crop = crop[:, ::-1]
        crop = cv2.resize(np.ascontiguousarray(crop), (side, side), interpolation=cv2.INTER_AREA)
        gain, offset = 0.9 + 0.2 * contrast, 24 * brightness - 12
        crops[i] = np.clip((crop.astype(np.float32) - 128) * gain + 128 + offset, 0, 255).round()
    return crops, place, how


def root_of(source: Path) -> Path:
    """The folder of the class folders: `images` in the source, if there is one."""
    return source / IMAGES if (source / IMAGES).is_dir() else source


def _square(data: bytes, side: int) -> NDArray[np.uint8]:
    image = decode_image(data)
    if min(image.shape[:2]) < side / 2:
        raise BdganError(f"{image.shape[1]} x {image.shape[0]} pixels are too few for {side} x {side}")
    return center_square(image, side)


def _files(source: Path) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Class folder, path and a reader of every file that lies in a class folder, in order."""
    if source.is_dir():
        root = root_of(source)
        for path in list_pictures(root, "*/**/*"):
            inside = path.relative_to(root)
            yield inside.parts[0], inside.as_posix(), partial(_read, path)
    elif zipfile.is_zipfile(source):
        try:
            archive = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise BdganError(
                f"{source} is damaged, or a zip of an unknown kind ({error}); make it anew"
            ) from error
        with archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            members = [(PurePosixPath(info.filename.lstrip("/")).parts, info) for info in files]
            members = [
                (parts, info) for parts, info in members
                if not any(part[:1] == "." or is_junk(part) for part in parts)
            ]  # fmt: skip
            if any(parts[:1] == (IMAGES,) and len(parts) > 2 for parts, _ in members):
                members = [(parts[1:], info) for parts, info in members if parts[:1] == (IMAGES,)]
            for parts, info in sorted(members, key=lambda member: member[0]):
                if len(parts) > 1:
                    yield parts[0], "/".join(parts), partial(_unpacked, archive, info)
    else:
        raise BdganError(f"expected a folder or a zip of pictures, got {source}, which is neither")


def _read(path: Path) -> bytes:
    """The bytes of a picture's file."""
    try:
        _check_bytes(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise BdganError(f"not a readable file ({error.strerror})") from error


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """As `_read`, of a member of a zip."""
    _check_bytes(info.file_size)
    if info.flag_bits & 1:
        raise BdganError("encrypted; unpack it with its password")
    try:
        return archive.read(info)
    except Exception as error:  # every way to compress has errors of its own
        raise BdganError(f"damaged in the zip ({error})") from error


def _check_bytes(size: int) -> None:
    if size > _MOST_BYTES:
        raise BdganError(f"not a readable picture ({size:,} bytes)")
