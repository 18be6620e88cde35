"""Pictures with masks that one already has, as the labels that a head is trained on."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from bdgan_lib.core.ids import class_sample_id
from bdgan_lib.core.image_codecs import read_image, read_labels
from bdgan_lib.core.io import list_pictures
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation, resize_annotations
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.picture_source import FIRST_PICTURE, PictureSource
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.synthesis.label_real import center_square


def labelled_pictures(
    images: str | Path,
    masks: str | Path,
    profile: Profile,
    device: str = "cpu",
    with_samples: bool = False,
    foreground: int | None = None,
) -> tuple[Generator, list[Annotation]]:
    """What a head is trained on: pictures, seen by the profile's encoder, with their masks.

    `images/CLASS/NAME.jpg` belongs to `masks/CLASS/NAME.png`. Centre squares are taken, at the generator's
    side. A mask is grey or a palette: 0 is background, 255 unlabelled, everything else foreground.

    Args:
        images: folder with a folder for each class, named as the profile's classes.
        masks: folder of the masks.
        profile: one with an image encoder.
        device: of the generators.
        with_samples: add the profile's own annotations.
        foreground: the value of foreground, where masks are written as 0 and 255; others are background.

    Returns:
        The generator whose samples are the pictures, and their annotations.

    Raises:
        BdganError: the profile has no encoder; a picture or a mask lacks its partner or has another size; a
            folder is no class of the profile; there is no picture; all masks hold 0 and 255 alone.
    """
    encoder, images, masks = profile.require("encoder")(device), Path(images), Path(masks)
    pictures, labels = _by_name(images), _by_name(masks)
    if not pictures:
        raise BdganError(
            f"{images} holds no pictures; give a folder with one for each class, say robin/1.jpg"
        )
    for mine, theirs, what in (
        (pictures, labels, f"mask in {masks}"),
        (labels, pictures, f"picture in {images}"),
    ):
        if alone := sorted(mine.keys() - theirs.keys()):
            raise BdganError(f"{mine[alone[0]]} has no {what}: expected one named {alone[0]}")
    side, squares, drawn, values = profile.image_size, [], [], set[int]()
    for number, name in enumerate(sorted(pictures)):
        image, mask = read_image(pictures[name]), read_labels(labels[name])
        if mask.shape != image.shape[:2]:
            sizes = " and ".join(f"{a.shape[1]} x {a.shape[0]}" for a in (image, mask))
            raise BdganError(f"{pictures[name]} and {labels[name]} have different sizes, {sizes}")
        values |= {*np.unique(mask).tolist()}
        if foreground is not None:
            mask = (mask == foreground).astype(np.uint8)
        class_id = profile.class_id(name.split("/")[0])
        squares.append(center_square(image, side))
        drawn.append((class_id, FIRST_PICTURE + number, _square(mask, side), name))
    if foreground is None and values <= {0, UNLABELLED}:
        raise BdganError(
            f"the masks in {masks} hold 0 and 255 alone, and 255 means unlabelled; "
            "say --foreground 255 if it is the object"
        )
    sampled = None
    annotations: list[Annotation] = []
    if with_samples:
        origin = profile.source or profile
        sampled = origin.generator(device)
        annotations = resize_annotations(list(profile.annotations()), sampled.image_size, side)
    source = PictureSource(np.stack(squares), profile.classes, sampled)
    annotations = [replace(a, generator_sha256=source.sha256) for a in annotations]
    for class_id, seed, mask, name in drawn:
        annotations.append(
            Annotation(
                class_sample_id(profile.classes, class_id, seed), profile.classes[class_id], class_id, seed,
                Sampling(), source.sha256, mask, "its mask", extra={"picture": name},
            )
        )  # fmt: skip
    return ReencodedGenerator(source, encoder), annotations


def _by_name(folder: Path) -> dict[str, Path]:
    """The files in class folders by their path without the ending, class first.

    Raises:
        BdganError: two files differ in their endings alone.
    """
    files: dict[str, Path] = {}
    for path in list_pictures(folder, "*/**/*"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise BdganError(f"{files[name]} and {path} have one name; remove or rename one")
        files[name] = path
    return files


def _square(mask: np.ndarray, side: int) -> np.ndarray:
    """The centre square of a mask [H, W], as `center_square` takes it of an image: 0, 1 or 255."""
    height, width = mask.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = mask[top : top + short, left : left + short]
    binary = np.where(square == UNLABELLED, UNLABELLED, square > 0).astype(np.uint8)
    return np.asarray(cv2.resize(binary, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
