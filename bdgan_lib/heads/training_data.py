"""What a label head learns from: features of annotated samples, cached where there is room, and masks."""

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

from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.sampling import Sample
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator

Features = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Features and labels of N annotated images.

    Features are {block: [N, C, H, W]}, in memory or memory-mapped, or a function from indices [B] to the
    features of those images.
    """

    features: Features | Callable[[Tensor], Features]
    class_ids: Tensor  # [N] int64
    masks: Tensor  # [N, H, W] integers; 255 = unlabelled

    def __len__(self) -> int:
        return len(self.class_ids)

    def batch(self, indices: Tensor) -> Features:
        """Features of the images with these indices [B]."""
        if callable(self.features):
            return self.features(indices)
        return {block: x[indices] for block, x in self.features.items()}

    def batches(self, size: int = 20, most: int = 400) -> Iterator[Features]:
        """The features of all images, or of the first `most`, `size` at a time."""
        for indices in torch.arange(min(len(self), most)).split(size):
            yield self.batch(indices)


def feature_bytes(blocks: Mapping[str, tuple[int, int]], count: int) -> int:
    """Bytes of the float32 features of `count` images."""
    return 4 * count * sum(channels * side * side for channels, side in blocks.values())


def batch_that_fits(blocks: Mapping[str, tuple[int, int]], most: int = 100) -> int:
    """The number of images, from 1 to `most`, whose float32 features fit into 1 GiB; 1 if none do."""
    return max(1, min(most, 2**30 // feature_bytes(blocks, 1)))


def place_features(needed: int, folder: Path | None) -> str:
    """Where to cache features of so many bytes: "memory", "disk" or, if neither has room, "recompute".

    Memory if they fit into a third of what is free, else the folder if they fit into half of its disk's free
    space.
    """
    if needed <= psutil.virtual_memory().available // 3:
        return "memory"
    if folder is not None and needed <= free_disk(folder) // 2:
        return "disk"
    return "recompute"


def free_disk(folder: Path) -> int:
    """Free bytes on the disk where the folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def collect_training_data(
    generator: Generator,
    annotations: Iterable[Annotation],
    parts: bool = False,
    feature_cache: str = "auto",
    folder: Path | None = None,
    batch_size: int = 20,
) -> TrainingData:
    """The annotated images' features, sampled again from the generator, with their masks.

    Args:
        generator: the one that the annotations were made with.
        annotations: samples and their masks.
        parts: keep every label of the masks; else they become foreground and background.
        feature_cache: "memory", "disk" (memory-mapped files in `folder`, reused for the same samples),
            "recompute" (sampled at every step), or "auto", the first of them that fits.
        folder: for the files.
        batch_size: images per batch of the generator.

    Raises:
        BdganError: there are no annotations; one, which is named, was made with another generator, is of a
            class that this lacks, has a mask that does not fit the image, or has no labelled pixel; or the
            cache is unknown, or "disk" without a folder.
    """
    samples = list(annotations)
    if not samples:
        raise BdganError("expected one or more annotations, got none; label a sample first (notebook 02)")
    _check(samples, generator)
    samples = in_sampling_order(samples)
    masks = torch.from_numpy(np.stack([a.mask for a in samples]))
    if not parts:
        masks = torch.where(masks == UNLABELLED, UNLABELLED, (masks > 0).to(torch.uint8))
    class_ids = torch.tensor([a.class_id for a in samples])

    def recompute(indices: Tensor) -> Features:
        batches = list(samples_of(generator, [samples[i] for i in indices.tolist()], batch_size))
        return {
            block: torch.cat([b.features[block].cpu() for b in batches]).float() for block in generator.blocks
        }

    if feature_cache == "auto":
        feature_cache = place_features(feature_bytes(generator.blocks, len(samples)), folder)
    if feature_cache == "recompute":
        return TrainingData(recompute, class_ids, masks)
    if feature_cache == "memory":
        return TrainingData(recompute(torch.arange(len(samples))), class_ids, masks)
    if feature_cache == "disk" and folder is not None:
        return TrainingData(_on_disk(generator, samples, recompute, folder, batch_size), class_ids, masks)
    raise BdganError(
        f"expected feature_cache memory, disk (with a folder), recompute or auto, got {feature_cache!r}"
    )


def in_sampling_order(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Sort annotations as `collect_training_data` does: by sampling settings, then in the given order."""
    return sorted(annotations, key=lambda a: (json.dumps(a.sampling.to_json()), a.latent is not None))


def _check(annotations: list[Annotation], generator: Generator) -> None:
    side = max(side for _, side in generator.blocks.values())
    for a in annotations:
        if a.generator_sha256 != generator.sha256:
            fault = f" was made with generator {a.generator_sha256[:12]}, this one is {generator.sha256[:12]}"
            fault += "; use that generator or annotate again"
        elif a.class_id >= len(generator.classes):
            fault = f" is of class {a.class_id}; the generator has 0 to {len(generator.classes) - 1}"
        elif a.mask.shape != (side, side):
            fault = f": its mask is {list(a.mask.shape)}, the generator makes {side} x {side}; annotate again"
        elif (a.mask == UNLABELLED).all():
            fault = " has no labelled pixel; label it or remove it"
        else:
            continue
        raise BdganError(f"annotation {a.id}{fault}")


def samples_of(
    generator: Generator, annotations: Iterable[Annotation], batch_size: int = 20, features: bool = True
) -> Iterator[Sample]:
    """Sample the annotated images again from the generator, in batches, in the order of their annotations."""
    for (sampling, given), run in groupby(annotations, key=lambda a: (a.sampling, a.latent is not None)):
        group = list(run)  # one setting per batch
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            ids, seeds = (torch.tensor([getattr(a, key) for a in batch]) for key in ("class_id", "seed"))
            # a user's generator need not have `z`
            latent = {"z": torch.tensor([a.latent for a in batch])} if given else {}
            yield generator.sample(ids, seeds, sampling, features=features, **latent)


def _on_disk(
    generator: Generator,
    samples: list[Annotation],
    recompute: Callable[[Tensor], Features],
    folder: Path,
    batch_size: int,
) -> dict[str, Tensor]:
    """Memory-mapped features: one `.npy` per block, and last a record of their samples."""
    expected = {
        "generator": [generator.name, generator.sha256],
        "samples": [[a.class_id, a.seed, a.sampling.to_json(), a.latent and list(a.latent)] for a in samples],
        "blocks": {block: list(shape) for block, shape in generator.blocks.items()},
    }
    record = folder / "features.json"
    if not record.exists() or json.loads(record.read_text("utf-8")) != expected:
        record.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for block, (channels, side) in generator.blocks.items():
            shape = len(samples), channels, side, side
            files[block] = np.lib.format.open_memmap(folder / f"{block}.npy", "w+", np.float32, shape)
        for indices in torch.arange(len(samples)).split(batch_size):
            for block, x in recompute(indices).items():
                files[block][indices.numpy()] = x.numpy()
        for file in files.values():
            file.flush()
        write_atomic(record, json.dumps(expected).encode())
    return {
        block: torch.from_numpy(np.load(folder / f"{block}.npy", mmap_mode="c")) for block in generator.blocks
    }
