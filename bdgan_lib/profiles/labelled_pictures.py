"""Pictures with masks that one already has, as the labels that a head is trained on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import class_of_folder, class_sample_id
from bdgan_lib.core.image_codecs import read_image, read_labels
from bdgan_lib.core.io import list_folder, list_pictures, sha256_of
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore, resize_annotations
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.inversion import invert
from bdgan_lib.generators.picture_source import FIRST_PICTURE, PictureSource
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.synthesis.label_real import center_square

LEAST_PSNR = 18.0  # dB; a mask does not fit a sample that is further from its picture


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """N pictures of a profile's classes with their masks."""

    images: NDArray[np.uint8]  # [N, S, S, 3]
    masks: NDArray[np.uint8]  # [N, S, S]: 0 background, 1 foreground, 255 unlabelled
    class_ids: NDArray[np.int64]  # [N]
    names: tuple[str, ...]  # CLASS/NAME, without the ending

    def annotations(self, profile: Profile, sha256: str) -> list[Annotation]:
        """The masks as annotations of a generator whose samples, from seed FIRST_PICTURE on, they are of."""
        classes = profile.classes
        return [
            Annotation(
                class_sample_id(classes, k, FIRST_PICTURE + i), classes[k], k, FIRST_PICTURE + i, Sampling(),
                sha256, self.masks[i], "its mask", extra={"picture": self.names[i]},
            )
            for i, k in enumerate(self.class_ids.tolist())
        ]  # fmt: skip


def read_labelled_pictures(
    images: str | Path, masks: str | Path, profile: Profile, foreground: int | None = None
) -> LabelledPictures:
    """Pictures and masks of two folders, their centre squares at the profile's side.

    `images/CLASS/NAME.jpg` belongs to `masks/CLASS/NAME.png`. A mask is grey or a palette: 0 is background,
    255 unlabelled, everything else foreground. The masks may also be what `bdgan annotate` stored of the
    pictures: those that are done are read, whatever else the pictures' folder holds.

    Args:
        images: folder with a folder for each class, named as the profile's classes.
        masks: folder of the masks, or of annotations of the pictures.
        profile: whose classes and side.
        foreground: the value of foreground, where masks are written as 0 and 255; every other value, 255
            included, is then background.

    Raises:
        BdganError: a picture or a mask lacks its partner or has another size; a folder is no class of the
            profile; there is no picture; no mask has foreground; 255 seems to be the object in a mask.
    """
    images, masks = Path(images), Path(masks)
    of_store = _is_store(masks)
    pairs = _of_store(AnnotationStore(masks), images) if of_store else _of_folders(images, masks)
    squares, drawn, values, names = [], [], set[int](), list[str]()
    for name, picture, label in pairs:
        image = read_image(picture)
        mask = read_labels(label) if isinstance(label, Path) else label
        if mask.shape != image.shape[:2]:
            sizes = " and ".join(f"{a.shape[1]} x {a.shape[0]}" for a in (image, mask))
            raise BdganError(
                f"{picture} and {label if isinstance(label, Path) else masks} have different sizes, {sizes}"
            )
        if foreground is None and isinstance(label, Path):
            _check_meaning(label, mask)
        values |= {*np.unique(mask).tolist()}
        names.append(name)
        squares.append(center_square(image, profile.image_size))
        if foreground is not None:
            mask = (mask == foreground).astype(np.uint8)
        drawn.append(_square(mask, profile.image_size))
    if not (values - {0} if foreground is None else foreground in values):
        there = ", ".join(map(str, sorted(values)[:10]))
        raise BdganError(
            f"no mask in {masks} has a pixel of foreground ({foreground or 'above 0'}); the values are "
            f"{there}"
        )
    class_ids = np.array([profile.class_id(name.split("/")[0]) for name in names], np.int64)
    return LabelledPictures(np.stack(squares), np.stack(drawn), class_ids, tuple(names))


def labelled_pictures(
    pictures: LabelledPictures,
    profile: Profile,
    device: str = "cpu",
    with_samples: bool = False,
    least_psnr: float = LEAST_PSNR,
    say: Callable[[str], object] = print,
) -> tuple[Generator, list[Annotation]]:
    """What a head is trained on: the pictures as a generator's samples, and their masks as annotations.

    A profile with an image encoder (a VQGAN) reads the pictures. For a BigGAN the latents are searched whose
    samples look like the pictures; those that stay too different are left out.

    Args:
        pictures: see `read_labelled_pictures`.
        profile: of the head.
        device: of the generators.
        with_samples: add the profile's own annotations.
        least_psnr: dB, of a BigGAN's sample to its picture.
        say: receives a line with the PSNR of every inversion.

    Raises:
        BdganError: the generator has neither encoder nor latents, or all inversions failed.
    """
    if profile.encoder:
        origin = (profile.source or profile).generator(device) if with_samples else None
        source = PictureSource(pictures.images, profile.classes, origin)
        annotations = pictures.annotations(profile, source.sha256)
        if origin:
            samples = resize_annotations(profile.annotations(), origin.image_size, profile.image_size)
            annotations += [replace(a, generator_sha256=source.sha256) for a in samples]
        return ReencodedGenerator(source, profile.encoder(device)), annotations
    generator = profile.generator(device)
    if not isinstance(generator, FeatureGenerator):
        raise BdganError(f"the generator of {profile.name} has neither an encoder nor latents to search")
    maps = profile.classifier.to(generator.device).maps if profile.classifier else None
    inverted = invert(generator, pictures.images, pictures.class_ids, maps, progress="inversion")
    annotations = []
    for a, z, psnr in zip(
        pictures.annotations(profile, generator.sha256), inverted.latents, inverted.psnr, strict=True
    ):
        kept = psnr >= least_psnr
        say(f"{a.extra['picture']}: {psnr:.1f} dB" + ("" if kept else f", below {least_psnr}: left out"))
        if kept:
            extra = {**a.extra, "psnr": round(float(psnr), 2)}
            annotations.append(replace(a, latent=tuple(z.tolist()), extra=extra))
    if not annotations:
        raise BdganError(
            f"no sample of {profile.name} reaches a PSNR of {least_psnr} dB to its picture; give pictures "
            "more like those that trained the generator"
        )
    return generator, annotations + (list(profile.annotations()) if with_samples else [])


def _is_store(folder: Path) -> bool:
    """Whether a folder has annotations, and so no folders of masks."""
    return any(path.with_suffix(".png").exists() for path in list_folder(folder, "*.json"))


def _of_store(store: AnnotationStore, images: Path) -> Iterator[tuple[str, Path, NDArray[np.uint8]]]:
    """CLASS/NAME, picture and mask of the annotations of pictures that are done.

    Raises:
        BdganError: one is of a generator's sample, its picture is missing or was changed, or none is done.
    """
    done = 0
    for annotation in store:
        picture = annotation.extra.get("picture")
        if not isinstance(picture, str):
            raise BdganError(
                f"{store.root}: {annotation.id} is of a generator's sample; expected labels of pictures"
            )
        path = images / picture
        if not path.is_file() or sha256_of(path) != annotation.generator_sha256:
            raise BdganError(
                f"{store.root}: {annotation.id} is of {picture}, which is not in {images} or was changed; "
                "give the folder that was labelled"
            )
        inside = _name_of(Path(picture)).split("/")
        yield (
            "/".join([class_of_folder(annotation.class_name), *inside[len(inside) > 1 :]]),
            path,
            annotation.mask,
        )
        done += 1
    if not done:
        raise BdganError(f"no label in {store.root} is marked as done; mark some, then train")


def _of_folders(images: Path, masks: Path) -> Iterator[tuple[str, Path, Path]]:
    """CLASS/NAME, picture and file of the mask, of two folders that hold one for each of the other's."""
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
    for name in sorted(pictures):
        yield name, pictures[name], labels[name]


def _name_of(path: Path) -> str:
    """A path in a folder without its ending, class first, letters composed."""
    label, *inside = path.with_suffix("").parts
    return "/".join([class_of_folder(label), *(normalize("NFC", part) for part in inside)])


def _check_meaning(path: Path, mask: NDArray[np.unsignedinteger]) -> None:
    """Refuse a mask whose 255 seems to be the object, hard or with soft edges, and not what is unlabelled."""
    values, counts = np.unique(mask[mask > 0], return_counts=True)
    if UNLABELLED not in values:
        return
    soft = len(values) > 3 and values[-2] > UNLABELLED / 2 and 2 * counts[-1] > counts.sum()
    if len(values) == 1 or soft:
        there = "many values up to 255" if soft else "0 and 255 alone"
        raise BdganError(
            f"{path} holds {there}, and 255 means unlabelled; say --foreground 255 if it is the object, or "
            "write 1 for the object"
        )


def _by_name(folder: Path) -> dict[str, Path]:
    """The files in class folders by their path without the ending, class first, letters composed.

    Raises:
        BdganError: two files differ in their endings alone.
    """
    files: dict[str, Path] = {}
    for path in list_pictures(folder, "*/**/*"):
        name = _name_of(path.relative_to(folder))
        if name in files:
            raise BdganError(f"{files[name]} and {path} have one name; remove or rename one")
        files[name] = path
    return files


def _square(mask: NDArray[np.unsignedinteger], side: int) -> NDArray[np.uint8]:
    """The centre square of a mask [H, W], as `center_square` takes it of an image: 0, 1 or 255."""
    height, width = mask.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = mask[top : top + short, left : left + short]
    binary = np.where(square == UNLABELLED, UNLABELLED, square > 0).astype(np.uint8)
    return np.asarray(cv2.resize(binary, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
