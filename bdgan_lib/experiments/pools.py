"""Synthetic images of the downstream experiments: drawn and labelled once, selected from many times."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.heads.base import Architecture, Head
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import train_head
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.profiles import Profile, load_profile
from bdgan_lib.profiles.annotated import annotate, training_annotations
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec

MEMBERS = 16  # of the ensembles that label; the paper's number


@dataclass(frozen=True)
class PoolConfig:
    """Unfiltered samples of one generator, labelled by an ensemble that few labels taught."""

    profile: str = "pocket"
    images: int = 9_600  # drawn
    labels_per_class: int = 5  # that taught the ensemble; other numbers than the shipped 5: the oracle's
    truncation: float | None = None  # None: the profile's own sampling
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Of its folder; it tells pools of other settings apart."""
        given = {key: value for key, value in asdict(self).items() if (key, value) != ("device", "cpu")}
        settings = json.dumps(given, sort_keys=True)
        return f"{self.profile}-{sha256(settings.encode()).hexdigest()[:8]}"

    @property
    def head(self) -> str:
        """Folder of the ensemble."""
        return f"head-{self.profile}-{self.labels_per_class}"


@dataclass(frozen=True, eq=False)
class SyntheticPool:
    """A pool in memory, with what the filters ask."""

    labelled: LabelledSet  # class masks
    class_ids: NDArray[np.int64]  # [N]
    confidence: NDArray[np.float64]  # [N] the classifier's, of the image's own class
    divergence: NDArray[np.float64]  # [N] nats

    def chosen(
        self, images: int, keep_confident: float = 1.0, keep_agreed: float = 1.0, by_class: bool = False
    ) -> NDArray[np.int64]:
        """The first `images` of those that the filters keep, by thresholds from the pool's own shares.

        by_class: each class has thresholds of its own, so that none loses more than another.
        """
        kept = np.zeros(len(self.class_ids), bool)
        groups = [self.class_ids == k for k in np.unique(self.class_ids)] if by_class else [~kept]
        for group in groups:
            sure = group & (self.confidence >= np.quantile(self.confidence[group], 1 - keep_confident))
            kept |= sure & (self.divergence <= np.quantile(self.divergence[sure], keep_agreed))
        return np.flatnonzero(kept)[:images]


def annotated(
    profile: Profile, annotations: Iterable[Annotation] | None = None, device: str = "cpu"
) -> tuple[LabelledSet, NDArray[np.int64]]:
    """Synthetic-annotated: annotated samples with their class masks, and their class ids [N].

    Args:
        profile: whose generator.
        annotations: which; None: the profile's, without those held out for scores.
        device: of the generator.
    """
    generator, learnt = training_annotations(profile, device, hold_out=True)
    annotations = learnt if annotations is None else list(annotations)
    if not annotations:
        raise BdganError(f"profile {profile.name} has no annotations; label samples first (notebook 02)")
    drawn = samples_of(generator, annotations, features=False)
    images = to_uint8(torch.cat([batch.images for batch in drawn]))
    ids = np.array([a.class_id for a in annotations])
    return LabelledSet(images, class_masks(np.stack([a.mask for a in annotations]), ids)), ids


def make_pool(pool: PoolConfig, folder: Path) -> None:
    """Draw and label it in `folder`, or what is missing of it."""
    profile = load_profile(pool.profile)
    head, scorer = _head(pool, profile, folder).to(pool.device), profile.scorer
    models = Models(profile.generator(pool.device), head, scorer and scorer.to(pool.device))
    classes, sampling = tuple(range(len(profile.classes))), sampling_of(pool, profile)
    images = -(-pool.images // len(classes))
    spec = SynthesisSpec.for_models(models, classes, images, sampling, batch_size=50, licence=profile.licence)
    synthesize(spec, models, folder / pool.name, os.cpu_count() or 1 if pool.device == "cpu" else 1)


def sampling_of(pool: PoolConfig, profile: Profile) -> Sampling:
    """As the pool's images are drawn."""
    sampling = profile.sampling
    return sampling if pool.truncation is None else replace(sampling, truncation=pool.truncation)


@cache
def read_pool(pool: PoolConfig, folder: Path) -> SyntheticPool:
    """A pool that stands in `folder`."""
    samples = list(ShardedSet(folder / pool.name))
    ids = np.array([sample.class_id for sample, _ in samples])
    masks = np.stack([sample.mask for sample, _ in samples])
    filter_values: dict[str, Any] = {
        key: np.array([record[key] for _, record in samples]) for key in ("confidence", "divergence")
    }
    images = np.stack([sample.image for sample, _ in samples])
    return SyntheticPool(LabelledSet(images, class_masks(masks, ids)), ids, **filter_values)


def _head(pool: PoolConfig, profile: Profile, folder: Path) -> Head:
    """The ensemble of a pool, trained once."""
    path = folder / pool.head
    if not (path / "head.json").exists():
        sampler, labels = training_annotations(profile)
        if pool.labels_per_class != 5:
            labels = _more_labels(profile, pool.labels_per_class)
        save_head(train_head(sampler, labels, architecture=Architecture(members=MEMBERS))[0], path)
    return load_head(path)


def _more_labels(profile: Any, per_class: int) -> list[Annotation]:
    """So many of every class, the most recognisable first."""
    annotations = annotate(profile, profile.generator(), keep=max(5, per_class))
    annotations.sort(key=lambda a: (a.class_id, -a.extra["confidence"]))
    by_class = [[a for a in annotations if a.class_id == k] for k in range(len(profile.classes))]
    return [a for of_class in by_class for a in of_class[:per_class]]
