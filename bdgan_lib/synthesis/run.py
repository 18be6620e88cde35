"""Synthesis: images and their labels into shards; the same specification makes the same bytes."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib import __version__
from bdgan_lib.data.shards import (
    MANIFEST,
    Labelled,
    ShardedSet,
    read_manifest,
    sha256_of,
    write_manifest,
    write_shard,
)
from bdgan_lib.generators.base import Generator
from bdgan_lib.images import to_uint8
from bdgan_lib.types import BdganError, LabelledSample, Sample, Sampling, sample_id


class Labeller(Protocol):
    """Whatever labels what a generator sampled: a label head, an ensemble, an oracle."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    def predict(self, sample: Sample) -> NDArray[np.uint8]:
        """B samples -> masks [B, H, W] of label ids."""


@dataclass(frozen=True)
class SynthesisSpec:
    """All that a synthetic data set depends on.

    Sample n, counted from 0, is of class class_ids[n % len(class_ids)] and has seed first_seed + n. It is
    computed in the batch of samples with the same n // batch_size, whichever shard it goes to, so neither
    shard_size nor the size of the whole ever changes a pixel.
    """

    generator_sha256: str
    head_sha256: str
    class_ids: tuple[int, ...]
    images_per_class: int  # paper: 100k images in all
    sampling: Sampling  # paper: truncation 0.9, which in its release is z_std 0.9
    batch_size: int = 50
    shard_size: int = 500  # samples per file
    first_seed: int = 1_000_000  # far from the seeds people annotate

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_ids", tuple(self.class_ids))
        if not self.class_ids or min(self.class_ids) < 0 or len(set(self.class_ids)) != len(self.class_ids):
            raise BdganError(f"class_ids came as {list(self.class_ids)}; give one or more, each once, from 0")
        for name, least in (("images_per_class", 1), ("batch_size", 1), ("shard_size", 1), ("first_seed", 0)):
            if getattr(self, name) < least:
                raise BdganError(f"{name} is {getattr(self, name)}; give {least} or more")

    @property
    def count(self) -> int:
        """Images in all."""
        return len(self.class_ids) * self.images_per_class

    @property
    def num_shards(self) -> int:
        return -(-self.count // self.shard_size)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def hash(self) -> str:
        """sha256 of the specification, in hexadecimal."""
        return sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def make_shard(
    spec: SynthesisSpec,
    k: int,
    generator: Generator,
    head: Labeller,
    folder: str | os.PathLike[str],
    advance: Callable[[int], object] = lambda images: None,
) -> dict[str, Any]:
    """Write shard k of a data set, 0 <= k < spec.num_shards: {"name", "sha256", "count"}.

    A function of spec and k alone: any worker, in any order, writes the same bytes. Memory is that of one
    batch. advance: called with the number of images after each batch. BdganError for another generator or
    head than the specification's, for an unknown class and for masks of the wrong kind.
    """
    if not 0 <= k < spec.num_shards:
        raise BdganError(f"shard {k} was asked for; this data set has 0..{spec.num_shards - 1}")
    _check(spec, generator, head)
    return write_shard(Path(folder) / _shard_name(k), _samples(spec, k, generator, head, advance))


def synthesize(
    spec: SynthesisSpec,
    generator: Generator,
    head: Labeller,
    folder: str | os.PathLike[str],
    progress: bool = True,
) -> ShardedSet:
    """Make the whole data set in `folder`, or the rest of one that was interrupted.

    Each finished shard has a record beside it; a shard whose bytes still have the recorded sha256 is kept.
    The manifest is written last and is the one commit point. progress: print the estimate, show images per
    second. BdganError if the folder holds another data set; OSError (no space left) leaves the finished
    shards readable.
    """
    _check(spec, generator, head)
    folder = Path(folder)
    recorded = _recorded(spec, folder)  # before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    if progress:
        print(_estimate(spec, generator, folder), flush=True)

    about = {"spec": spec.to_json(), "spec_sha256": spec.hash(), "classes": list(generator.classes)}
    shards = {name: shard for name, shard in recorded.items() if _is_whole(folder / name, shard)}
    kept = sum(shard["count"] for shard in shards.values())
    with tqdm(total=spec.count, initial=kept, unit="image", disable=not progress, mininterval=1.0) as bar:
        for k, name in enumerate(_shard_names(spec)):
            if name not in shards:
                shards[name] = make_shard(spec, k, generator, head, folder, bar.update)
                write_manifest(_record_path(folder, name), [shards[name]], about)
    write_manifest(folder / MANIFEST, [shards[name] for name in _shard_names(spec)], about)
    for name in shards:  # the manifest says now what their records said
        _record_path(folder, name).unlink(missing_ok=True)
    return ShardedSet(folder)


def _samples(
    spec: SynthesisSpec, k: int, generator: Generator, head: Labeller, advance: Callable[[int], object]
) -> Iterator[Labelled]:
    """The samples of shard k with their provenance, one batch in memory at a time."""
    start, end = k * spec.shard_size, min((k + 1) * spec.shard_size, spec.count)
    for first in range(start // spec.batch_size * spec.batch_size, end, spec.batch_size):
        # whole batches, even where one reaches over an end of the shard: what is too much is dropped
        numbers = range(first, first + spec.batch_size)
        class_ids = [spec.class_ids[n % len(spec.class_ids)] for n in numbers]
        seeds = [spec.first_seed + n for n in numbers]
        sample = generator.sample(torch.tensor(class_ids), torch.tensor(seeds), spec.sampling)
        images, masks = to_uint8(sample.images), np.asarray(head.predict(sample))
        if masks.dtype != np.uint8 or masks.shape != images.shape[:3]:
            raise BdganError(
                f"the head's masks came as {masks.dtype} {list(masks.shape)}; "
                f"wanted uint8 {list(images.shape[:3])}, one label id per pixel"
            )
        inside = [i for i, n in enumerate(numbers) if start <= n < end]
        for i in inside:
            class_name = generator.classes[class_ids[i]]
            id = sample_id(class_name, seeds[i])
            yield (
                LabelledSample(images[i], masks[i], class_ids[i], seeds[i], id),
                {
                    "id": id,
                    "class_id": class_ids[i],
                    "class_name": class_name,
                    "seed": seeds[i],
                    "sampling": spec.sampling.to_json(),
                    "batch_size": spec.batch_size,
                    "generator_sha256": spec.generator_sha256,
                    "head_sha256": spec.head_sha256,
                    "bdgan_lib": __version__,
                },
            )
        advance(len(inside))


def _check(spec: SynthesisSpec, generator: Generator, head: Labeller) -> None:
    for what, came, wanted in (
        ("generator", generator.sha256, spec.generator_sha256),
        ("head", head.sha256, spec.head_sha256),
    ):
        if came != wanted:
            raise BdganError(f"the {what} has sha256 {came}, the specification wants {wanted}; pass that one")
    if max(spec.class_ids) >= len(generator.classes):
        raise BdganError(
            f"class id {max(spec.class_ids)} is unknown to {generator.name}; "
            f"it has 0..{len(generator.classes) - 1}"
        )


def _recorded(spec: SynthesisSpec, folder: Path) -> dict[str, dict[str, Any]]:
    """Shards that earlier calls finished in this folder, by name; BdganError if it serves another purpose."""
    recorded = {}
    names = list(_shard_names(spec))
    for path in [folder / MANIFEST, *(_record_path(folder, name) for name in names)]:
        if path.exists():
            record = read_manifest(path)
            if record.get("spec_sha256") != spec.hash():
                raise BdganError(f"{path} belongs to a data set of other settings; choose another folder")
            recorded.update({shard["name"]: shard for shard in record["shards"]})
    strangers = {path.name for path in folder.glob("*.tar")} - set(names)
    if strangers:
        raise BdganError(f"{folder / min(strangers)} is no shard of this data set; choose another folder")
    return recorded


def _is_whole(path: Path, shard: dict[str, Any]) -> bool:
    return path.is_file() and sha256_of(path) == shard["sha256"]


def _estimate(spec: SynthesisSpec, generator: Generator, folder: Path) -> str:
    """One line: what it will cost at most."""
    size = generator.image_size
    # as if PNG saved nothing; then headers and records of a sample, and tar's last block
    disk = spec.count * (4 * size * size + 6 * 1024) + spec.num_shards * 10 * 1024
    features = sum(channels * side * side for channels, side in generator.blocks.values())
    memory = 4 * spec.batch_size * (features + 3 * size * size)  # float32
    return (
        f"{spec.count:,} images of {size} × {size} in {spec.num_shards} shards to {folder.name}: "
        f"at most {disk / 1e6:,.0f} MB on the disk, "
        f"{memory / 1e6:,.0f} MB in memory for a batch of {spec.batch_size} and its features"
    )


def _shard_names(spec: SynthesisSpec) -> Iterator[str]:
    return map(_shard_name, range(spec.num_shards))


def _shard_name(k: int) -> str:
    return f"shard_{k:05d}.tar"


def _record_path(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".json")
