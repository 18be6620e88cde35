"""What a label head learns from: features of annotated samples, kept where there is room, and masks."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from bdgan_lib.core.sampling import Sample
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator

Features = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Features and labels of N annotated images.

    Features are {block: [N, C, H, W]}, in memory or memory-mapped, or a function from indices [B] to the
    features of those examples.
    """

    features: Features | Callable[[Tensor], Features]
    class_ids: Tensor  # [N] int64
    masks: Tensor  # [N, H, W] integers; 255 = unlabelled

    def __len__(self) -> int:
        return len(self.class_ids)

    def batch(self, chosen: Tensor) -> Features:
        """Features of the examples of these indices [B]."""
        if callable(self.features):
            return self.features(chosen)
        return {block: x[chosen] for block, x in self.features.items()}

    def batches(self, size: int = 20, most: int = 400) -> Iterator[Features]:
        """The features of all examples, or of the first `most`, a batch at a time."""
        for chosen in torch.arange(min(len(self), most)).split(size):
            yield self.batch(chosen)


def feature_bytes(blocks: Mapping[str, tuple[int, int]], count: int) -> int:
    """Bytes of the float32 features of `count` images."""
    return 4 * count * sum(channels * side * side for channels, side in blocks.values())


def batch_that_fits(blocks: Mapping[str, tuple[int, int]], most: int = 100) -> int:
    """So many images, up to `most`, that their features take a gigabyte at most."""
    return max(1, min(most, 2**30 // feature_bytes(blocks, 1)))


def place_features(needed: int, folder: Path | None) -> str:
    """Where features of that many bytes go: memory, disk, or nowhere ("fresh": sampled again at every step).

    Memory if a third of what is free holds them, else the folder if half of its disk's free space does.
    """
    if needed <= psutil.virtual_memory().available // 3:
        return "memory"
    if folder is not None and needed <= free_disk(folder) // 2:
        return "disk"
    return "fresh"


def free_disk(folder: Path) -> int:
    """Bytes free where the folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def collect_training_data(
    generator: Generator,
    annotations: Iterable[Annotation],
    parts: bool = False,
    keep: str = "auto",
    folder: Path | None = None,
    batch_size: int = 20,
) -> TrainingData:
    """The annotated images' features, sampled again from the generator, with their masks.

    keep: memory, disk (memory-mapped files in `folder`, reused if they are of these very samples), fresh
    (sampled at every step), or auto, which takes the first of them that fits.

    BdganError without annotations, and naming one that was made with another generator, whose mask does not
    fit the image or that has no labelled pixel.
    """
    found = list(annotations)
    if not found:
        raise BdganError("no annotation came; label at least one sample first (notebook 02)")
    _check(found, generator)
    found = in_sampling_order(found)
    masks = torch.from_numpy(np.stack([a.mask for a in found]))
    if not parts:
        masks = torch.where(masks == UNLABELLED, UNLABELLED, (masks > 0).to(torch.uint8))
    class_ids = torch.tensor([a.class_id for a in found])

    def fresh(chosen: Tensor) -> Features:
        pieces = list(samples_of(generator, [found[i] for i in chosen.tolist()], batch_size))
        return {block: torch.cat([p.features[block].cpu() for p in pieces]) for block in generator.blocks}

    if keep == "auto":
        keep = place_features(feature_bytes(generator.blocks, len(found)), folder)
    if keep == "fresh":
        return TrainingData(fresh, class_ids, masks)
    if keep == "memory":
        return TrainingData(fresh(torch.arange(len(found))), class_ids, masks)
    if keep == "disk" and folder is not None:
        return TrainingData(_on_disk(generator, found, fresh, folder, batch_size), class_ids, masks)
    raise BdganError(f"keep came as {keep!r}; wanted memory, disk (with a folder), fresh or auto")


def in_sampling_order(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The annotations in the order that `collect` keeps: all of one sampling together, else as they came."""
    return sorted(annotations, key=lambda a: (json.dumps(a.sampling.to_json()), a.latent is not None))


def _check(found: list[Annotation], generator: Generator) -> None:
    side = max(side for _, side in generator.blocks.values())
    for annotation in found:
        if annotation.generator_sha256 != generator.sha256:
            raise BdganError(
                f"annotation {annotation.id} was made with generator {annotation.generator_sha256[:12]}, "
                f"this one is {generator.sha256[:12]}; use that generator or annotate again"
            )
        if annotation.class_id >= len(generator.classes):
            raise BdganError(
                f"annotation {annotation.id} is of class {annotation.class_id}; "
                f"the generator has 0 to {len(generator.classes) - 1}"
            )
        if annotation.mask.shape != (side, side):
            raise BdganError(
                f"annotation {annotation.id}: its mask is {list(annotation.mask.shape)}, "
                f"the generator makes {side} x {side}; annotate again"
            )
        if (annotation.mask == UNLABELLED).all():
            raise BdganError(f"annotation {annotation.id} has no labelled pixel; label it or remove it")


def samples_of(
    generator: Generator, annotations: Iterable[Annotation], batch_size: int = 20, features: bool = True
) -> Iterator[Sample]:
    """The annotated samples, drawn again from the generator in the order of their annotations, in batches."""
    for (sampling, given), run in groupby(annotations, key=lambda a: (a.sampling, a.latent is not None)):
        same = list(run)  # one setting per batch
        for start in range(0, len(same), batch_size):
            batch = same[start : start + batch_size]
            ids, seeds = (torch.tensor([getattr(a, key) for a in batch]) for key in ("class_id", "seed"))
            # a generator of one's own need not know `z`
            latent = {"z": torch.tensor([a.latent for a in batch])} if given else {}
            yield generator.sample(ids, seeds, sampling, features=features, **latent)


def _on_disk(
    generator: Generator,
    found: list[Annotation],
    fresh: Callable[[Tensor], Features],
    folder: Path,
    batch_size: int,
) -> dict[str, Tensor]:
    """Memory-mapped features: one `.npy` per block, and last a record of whose they are."""
    wanted = {
        "generator": [generator.name, generator.sha256],
        "samples": [[a.class_id, a.seed, a.sampling.to_json(), a.latent and list(a.latent)] for a in found],
        "blocks": {block: list(shape) for block, shape in generator.blocks.items()},
    }
    record = folder / "features.json"
    if not record.exists() or json.loads(record.read_text("utf-8")) != wanted:
        record.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            block: np.lib.format.open_memmap(
                folder / f"{block}.npy", "w+", np.float32, (len(found), channels, side, side)
            )
            for block, (channels, side) in generator.blocks.items()
        }
        for chosen in torch.arange(len(found)).split(batch_size):
            for block, x in fresh(chosen).items():
                files[block][chosen.numpy()] = x.numpy()
        for file in files.values():
            file.flush()
        record.write_text(json.dumps(wanted), "utf-8")
    return {
        block: torch.from_numpy(np.load(folder / f"{block}.npy", mmap_mode="c")) for block in generator.blocks
    }
