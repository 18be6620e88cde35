"""One image's labels for any tool, and the canvas on which the shapes of a label file are painted."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import MOST_PIXELS, open_picture
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.core.validation import checked_label, collect_errors

BACKGROUND = "background"  # pixels that no shape covers, in every file
VOID = "unlabelled"  # the name of 255 in files of shapes
IGNORE = "__ignore__"  # labelme's name of 255
MEANINGS = {"_background_": BACKGROUND, IGNORE: VOID}
PICTURES = "images"  # the folder of the images, beside the labels
CHECK_FORMAT = "check that this is the folder and that the format is right"


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image's labels with their names, independent of a file format."""

    name: str  # the file name that pairs labels and image; see `checked_id`
    mask: NDArray[np.uint8]  # [H, W] an index into labels, or 255 = unlabelled
    labels: tuple[str, ...]
    instances: NDArray[np.uint8] | None = None  # [H, W] object numbers, 0 = of none; None = not distinguished
    whole: bool = True  # whether everything that the file says of the image could be read

    def __post_init__(self) -> None:
        checked_id(self.name)
        for label in self.labels:
            checked_label(label)
        if len(set(self.labels)) < len(self.labels) or VOID in self.labels:
            raise BdganError(
                f"{self.name}: expected each label once and none named {VOID!r}, got {self.labels!r:.200}"
            )
        if self.instances is not None and self.instances.shape != self.mask.shape:
            raise BdganError(
                f"{self.name}: expected instances of the mask's size {list(self.mask.shape)}, "
                f"got {list(self.instances.shape)}"
            )
        beyond = self.mask[(self.mask >= len(self.labels)) & (self.mask != UNLABELLED)]
        if beyond.size:
            raise BdganError(f"{self.name}: expected labels 0..{len(self.labels) - 1}, got {beyond.max()}")

    def regions(self) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
        """Yield (label, instance or 0, pixels [H, W]) of all but plain background, without overlap."""
        keys = self.mask.astype(np.uint16)
        if self.instances is not None:
            keys += self.instances.astype(np.uint16) * 256
        for key in np.unique(keys).tolist():
            instance, label = divmod(key, 256)
            name = VOID if label == UNLABELLED else self.labels[label]
            if name != BACKGROUND or instance:
                yield name, instance, keys == key


def picture_size(folder: Path, name: str) -> tuple[int, int] | None:
    """Height and width of `images/<name>.png` in a folder of labels; None if there is no such file.

    Raises:
        BdganError: it is not a PNG.
    """
    path = folder / PICTURES / f"{name}.png"
    if not path.is_file():
        return None
    try:
        with open_picture(path, ("PNG",)) as picture:
            return picture.height, picture.width
    except Exception as error:  # for damaged bytes Pillow raises many kinds of error
        raise BdganError(f"{path} is not a readable PNG ({error!s:.100}); restore it") from error


def checked_size(name: str, size: Sequence[object], folder: Path) -> tuple[int, int]:
    """The size of an image: that of its picture, if there is one, which a label file must not contradict.

    Args:
        name: of the image.
        size: its height and width in pixels, as the label file says; None = it does not say.
        folder: with the picture in `images/`.

    Raises:
        BdganError: the size is another, is not two positive whole numbers, or is too large.
    """
    height, width = size
    if actual := picture_size(folder, name):
        if not all(said is None or said == true for said, true in zip(size, actual, strict=True)):
            raise BdganError(
                f"expected labels of the image's size [{actual[0]}, {actual[1]}], "
                f"got [{height!r:.20}, {width!r:.20}]"
            )
        height, width = actual
    if not (type(height) is int and type(width) is int and height > 0 < width):
        raise BdganError(f"expected a size of two whole numbers, got {height!r:.20} x {width!r:.20}")
    if height * width > MOST_PIXELS:
        raise BdganError(f"it claims {width} x {height} pixels, above {MOST_PIXELS:,}")
    return height, width


class Canvas:
    """Labels and objects of one image, on which shapes are painted, later ones over earlier ones.

    Args:
        name: of the image.
        size: its height and width, from `checked_size`.
        losses: receives a line for everything that is lost.
    """

    def __init__(self, name: str, size: tuple[int, int], losses: list[str]) -> None:
        self.name, (self.height, self.width), self.losses = name, size, losses
        self.whole = True  # whether every shape could be read
        self._top = np.zeros(size, np.int32)  # index of the uppermost pair, see below
        self._pairs: dict[tuple[str, Hashable], int] = {(BACKGROUND, 0): 0}  # (label, object)
        self._labels = {BACKGROUND: 0, VOID: UNLABELLED}

    @contextmanager
    def shape(self, what: str) -> Iterator[None]:
        """Read and paint one shape; an error in it is named in the losses, and the image is not whole."""
        read = False
        with collect_errors(f"{self.name}: {what}", self.losses):
            yield
            read = True
        self.whole &= read

    def paint(self, label: object, instance: Hashable, pixels: NDArray[np.bool_]) -> None:
        """Paint a shape over the earlier ones.

        Args:
            label: its name; labelme's names of the background and of unlabelled pixels mean these.
            instance: the object's number, or anything else that tells objects apart; 0 = of no object,
                None = a separate object, if the label can have objects.
            pixels: [height, width].

        Raises:
            BdganError: the shape is empty, or its label unsafe or one too many.
        """
        if not pixels.any():
            raise BdganError("it covers no pixel")
        name = MEANINGS.get(checked_label(label), checked_label(label))
        if instance is None and name in (BACKGROUND, VOID):
            instance = 0
        if name not in self._labels:
            if len(self._labels) > UNLABELLED:
                raise BdganError(f"expected at most 255 labels in an image, got {name!r:.100} as the 256th")
            self._labels[name] = len(self._labels) - 1
        pair = name, ("separate", len(self._pairs)) if instance is None else instance
        index = self._pairs.setdefault(pair, len(self._pairs))
        under = self._top[pixels]
        if lost := int(((under > 0) & (under != index)).sum()):
            self.losses.append(
                f"{self.name}: {lost} pixels of an earlier shape went to a {name!r:.100} over it"
            )
        self._top[pixels] = index

    def finished(self) -> LabelledImage:
        """The painted image; its labels are in the order of painting, after the background."""
        numbers = self._numbers()
        ids = [self._labels[label] for label, _ in self._pairs]
        instances = np.array([numbers[key] for _, key in self._pairs], np.uint8)[self._top]
        mask = np.array(ids, np.uint8)[self._top]
        labels = tuple(label for label in self._labels if label != VOID)
        return LabelledImage(self.name, mask, labels, instances, self.whole)

    def _numbers(self) -> dict[Hashable, int]:
        """Numbers 1 to 255 of the objects: those of the file where it has some, else the next free ones."""
        objects = dict.fromkeys(key for _, key in self._pairs)
        numbers: dict[Hashable, int] = {n: n for n in objects if type(n) is int and 0 <= n < 256}
        free = iter([n for n in range(1, 256) if n not in numbers])
        for key in objects:
            if key not in numbers:
                numbers[key] = next(free, 0)
                if not isinstance(key, tuple):
                    self.losses.append(f"{self.name}: object {key!r:.20} is number {numbers[key]} here")
        if beyond := sum(not numbers[key] for key in objects) - 1:  # 0 itself is of no object
            self.losses.append(f"{self.name}: {beyond} objects beyond the 255th are of no object here")
        return numbers


def box(pixels: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a region's bounding box; its last column and row are inside."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
