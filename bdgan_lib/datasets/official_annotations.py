"""Import of the annotations that the authors of BigDatasetGAN published."""

from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import class_sample_id
from bdgan_lib.core.image_codecs import open_picture
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import is_junk, text_lines
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore

SET = "biggan512"  # the folder of masks and latents
ANNOTATOR = "BigDatasetGAN release"


@dataclass
class OfficialImport:
    """The result of an import: counts, and every file that has no partner or was refused."""

    added: int = 0
    without_latent: list[str] = field(default_factory=list)  # masks, as "synset/stem"
    without_mask: list[str] = field(default_factory=list)  # latents
    refused: list[str] = field(default_factory=list)  # "synset/stem: why"
    real: dict[str, str] = field(default_factory=dict)  # mask of a real image -> file of ImageNet
    real_without_mask: list[str] = field(default_factory=list)  # entries of the list of real images

    def __str__(self) -> str:
        lines = [f"{self.added} annotations; {len(self.real)} masks of real images listed"]
        for kind in ("without_latent", "without_mask", "refused", "real_without_mask"):
            lines += [f"  {kind.replace('_', ' ')}: {name}" for name in getattr(self, kind)]
        return "\n".join(lines)


def import_official_annotations(
    root: Path,
    store: AnnotationStore,
    generator_sha256: str,
    classes: tuple[str, ...],
    synsets: tuple[str, ...],
    side: int = 512,
    z_dim: int = 128,
) -> OfficialImport:
    """Add the release's annotated BigGAN samples to a store, each mask paired with its latent by name.

    The layout is `annotations/biggan512/<synset>/..._<class>_<n>.png`, in which pixels that Pillow does not
    convert to a grey of 0 are foreground; `latents/biggan512/<synset>/<same name>.npy`, [1, 128]; and
    `annotations/real-random-list.txt` with lines `<synset>/..._<image id>`. Files without partner or with
    errors are listed, others are added.

    Args:
        root: the folder with `annotations/` and `latents/`.
        store: receives the annotations.
        generator_sha256: of the generator that made the images.
        classes: names by class id.
        synsets: WordNet ids by class id.
        side: of the masks, in pixels.
        z_dim: length of the latents.

    Raises:
        BdganError: there is no such folder.
    """
    masks, latents = (_files(root / kind / SET, end) for kind, end in
                      (("annotations", ".png"), ("latents", ".npy")))  # fmt: skip
    if not masks and not latents:
        raise BdganError(
            f"{root} has no annotations/{SET} and latents/{SET}; unpack the release's two archives"
        )
    result = OfficialImport(
        without_latent=sorted(masks.keys() - latents.keys()),
        without_mask=sorted(latents.keys() - masks.keys()),
    )
    ids = set[str]()
    for name in sorted(masks.keys() & latents.keys()):
        try:
            class_id, number = _numbers(name, synsets)
            annotation = Annotation(
                id=class_sample_id(classes, class_id, number),
                class_name=classes[class_id],
                class_id=class_id,
                seed=number,
                sampling=Sampling(z_std=0.9),
                generator_sha256=generator_sha256,
                mask=_mask(masks[name], side),
                annotator=ANNOTATOR,
                extra={"file": name},
                latent=_latent(latents[name], z_dim),
            )
            plain, numbers = annotation.id, count(2)  # other files may be of the class and the number too
            while annotation.id in ids or store.difference(annotation) == "latent":
                annotation = replace(annotation, id=f"{plain}-{next(numbers)}")
            store.add(annotation)
            ids.add(annotation.id)
            result.added += 1
        except BdganError as error:
            result.refused.append(f"{name}: {error}")
    result.real, result.real_without_mask = _real(root / "annotations")
    return result


def _files(folder: Path, end: str) -> dict[str, Path]:
    files = (path for path in folder.glob(f"*/*{end}") if not is_junk(path))
    return {f"{path.parent.name}/{path.stem}": path for path in files}


def _numbers(name: str, synsets: tuple[str, ...]) -> tuple[int, int]:
    synset, _, stem = name.partition("/")
    *_, class_id, number = "", *stem.split("_")
    if not (class_id.isdecimal() and number.isdecimal() and int(class_id) < len(synsets)):
        raise BdganError("its name does not end in _<class>_<n>")
    if synsets[int(class_id)] != synset:
        raise BdganError(f"class {int(class_id)} is {synsets[int(class_id)]}, its folder says {synset}")
    return int(class_id), int(number)


def _mask(path: Path, side: int) -> NDArray[np.uint8]:
    try:
        with open_picture(path, ("PNG",)) as image:
            if image.size != (side, side):
                raise BdganError(f"expected a mask {side} x {side}, got {image.width} x {image.height}")
            image.info.pop("transparency", None)  # it changes no grey value, but Pillow may warn of it
            foreground: NDArray[np.uint8] = (np.asarray(image.convert("L")) != 0).astype(np.uint8)
            return foreground
    except BdganError:
        raise
    except Exception as error:  # for damaged bytes Pillow raises many kinds of error
        raise BdganError(f"the mask is not a readable PNG ({error!s:.200})") from error


def _latent(path: Path, z_dim: int) -> tuple[float, ...]:
    try:
        latent = np.load(path, mmap_mode="r", allow_pickle=False)  # allocates nothing that a header claims
    except Exception as error:  # for a damaged header NumPy raises many kinds of error
        raise BdganError(f"the latent is not a plain array ({error!s:.200})") from error
    if not isinstance(latent, np.ndarray):
        raise BdganError("the latent is not a plain array but an archive")
    if latent.shape != (1, z_dim) or latent.dtype.kind != "f" or not np.isfinite(latent).all():
        raise BdganError(
            f"expected a latent of finite floats [1, {z_dim}], "
            f"got {latent.dtype!s:.40} {list(latent.shape)!s:.80}"
        )
    return tuple(latent[0].astype(np.float32).tolist())


def _real(annotations: Path) -> tuple[dict[str, str], list[str]]:
    """{mask: ImageNet's file} of the list of annotated real images, and its entries without a mask."""
    path, paired, orphans = annotations / "real-random-list.txt", {}, []
    for entry in " ".join(text_lines(path)).split() if path.exists() else []:
        synset, _, stem = entry.partition("/")
        mask = annotations / "real-random" / synset / f"{stem}.png"
        if ".." not in entry and mask.exists():
            paired[f"{synset}/{stem}.png"] = f"{synset}/{synset}_{stem.split('_')[-1]}.JPEG"
        else:
            orphans.append(entry)
    return paired, orphans
