"""The specification of a synthetic data set: all that its bytes depend on, and nothing else."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Protocol

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError, Json

MOST_WRITERS = 256  # threads of a process that encode and write; no byte depends on them
Threshold = float | Mapping[int, float] | None  # for all classes, by class id, or no filter


class _Hashed(Protocol):
    @property
    def sha256(self) -> str: ...


class _Models(Protocol):  # what `for_models` reads of `filters.Models`
    @property
    def generator(self) -> _Hashed: ...
    @property
    def head(self) -> _Hashed: ...
    @property
    def scorer(self) -> _Hashed | None: ...


@dataclass(frozen=True)
class Filters:
    """Which samples are dropped, checked in this order (paper section 3.3); None switches a filter off.

    A threshold is one number, or one for each class: some classes are harder to label than others, and a
    single number might drop all of their samples. Thresholds are absolute, so that whether a sample is kept
    depends on it alone, whichever shard it is in; `filters.calibrate_filters` computes them from shares.
    """

    min_confidence: Threshold = None  # a classifier's probability of the sample's own class
    max_divergence: Threshold = None  # mean JS divergence of the ensemble, nats
    whole_masks: bool = True  # keep masks without any background or any object

    def __post_init__(self) -> None:
        for name in ("min_confidence", "max_divergence"):
            value = getattr(self, name)
            if isinstance(value, Mapping):  # JSON's keys are strings
                value = {int(id): float(number) for id, number in value.items()}
                object.__setattr__(self, name, value)
            for number in value.values() if isinstance(value, dict) else [value]:
                if number is not None and not (math.isfinite(number) and number >= 0):
                    raise BdganError(f"{name} is {number}; give a finite number from 0, or None")


@dataclass(frozen=True)
class SynthesisSpec:
    """All that a synthetic data set depends on.

    Sample n, counted from 0, is of class class_ids[n % len(class_ids)] and has seed first_seed + n. It is
    computed in the batch of samples with the same n // batch_size, whichever shard it goes to, so neither
    shard_size nor the size of the data set ever changes a pixel. Dropped samples are not replaced.
    """

    generator_sha256: str
    head_sha256: str
    class_ids: tuple[int, ...]
    images_per_class: int  # drawn; paper: 100k images in all
    sampling: Sampling  # paper: truncation 0.9, which in its release is z_std 0.9
    batch_size: int = 25  # on a CPU as fast as 50, in half the memory
    shard_size: int = 500  # samples drawn per file
    first_seed: int = GENERATOR["data sets"].first  # far from the seeds people annotate
    filters: Filters = Filters()
    scorer_sha256: str = ""  # of the classifier, where the filters use it
    device: str = "cpu"  # its type; another type rounds otherwise
    licence: str = ""  # of the images and labels
    bf16: bool = False  # label and score in bfloat16: faster, other labels at 1 pixel in 30,000
    jpeg: int = 0  # quality of the images, 1 to 100; 0: PNG, which loses nothing

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_ids", tuple(self.class_ids))
        if not self.class_ids or min(self.class_ids) < 0 or len(set(self.class_ids)) != len(self.class_ids):
            raise BdganError(f"class_ids is {list(self.class_ids)}; give one or more, each once, from 0")
        for name, least in (("images_per_class", 1), ("batch_size", 1), ("shard_size", 1), ("first_seed", 0)):
            if getattr(self, name) < least:
                raise BdganError(f"{name} is {getattr(self, name)}; give {least} or more")
        if self.first_seed + self.count + self.batch_size > 2**63:  # the last batch is whole
            raise BdganError(
                f"first_seed is {self.first_seed}; give one whose last sample has a seed below 2^63"
            )
        if self.batch_size > max(self.shard_size, self.count):
            raise BdganError(
                f"batch_size is {self.batch_size}; give at most the samples of a shard ({self.shard_size}) "
                f"or of the data set ({self.count})"
            )
        for name in ("min_confidence", "max_divergence"):
            value = getattr(self.filters, name)
            if isinstance(value, Mapping) and (lacking := set(self.class_ids) - set(value)):
                raise BdganError(f"{name} has no threshold for class {min(lacking)}; give one for each")
        if not 0 <= self.jpeg <= 100:
            raise BdganError(f"jpeg is {self.jpeg}; give a quality from 1 to 100, or 0 for PNG")

    @classmethod
    def for_models(
        cls,
        models: _Models,
        class_ids: tuple[int, ...],
        images_per_class: int,
        sampling: Sampling,
        filters: Filters = Filters(),
        **settings: object,
    ) -> "SynthesisSpec":
        """The specification of a data set of these models: with their sha256 and the generator's device type.

        Args:
            models: generator, head and, where `filters` has a threshold of confidence, class scorer.
            class_ids: classes of the samples.
            images_per_class: samples drawn of each class.
            sampling: how latents are drawn.
            filters: which samples are dropped.
            settings: other fields, such as batch_size.
        """
        scorer = models.scorer if filters.min_confidence is not None else None
        fields: dict[str, Any] = {
            "scorer_sha256": scorer.sha256 if scorer else "",
            "device": str(getattr(models.generator, "device", "cpu")).partition(":")[0],
            **settings,
        }
        sha256s = models.generator.sha256, models.head.sha256
        return cls(*sha256s, class_ids, images_per_class, sampling, filters=filters, **fields)

    @property
    def count(self) -> int:
        """Number of images drawn in all."""
        return len(self.class_ids) * self.images_per_class

    @property
    def num_shards(self) -> int:
        """Number of files the samples go to."""
        return -(-self.count // self.shard_size)

    def numbers(self, k: int) -> range:
        """Numbers n of the samples in shard k."""
        return range(k * self.shard_size, min((k + 1) * self.shard_size, self.count))

    def to_json(self) -> Json:
        """The specification as a JSON object; the class scorer's sha256 has the key "judge_sha256"."""
        record = {**asdict(self), "sampling": self.sampling.to_json()}
        return {"judge_sha256" if key == "scorer_sha256" else key: value for key, value in record.items()}

    def hash(self) -> str:
        """sha256 of the specification, in hexadecimal."""
        return sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
