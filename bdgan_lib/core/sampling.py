"""How latents are drawn, and what a generator returns."""

from __future__ import annotations  # torch appears in types alone: renderer processes start without it

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from bdgan_lib.core.types import BdganError, Json

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn.

    "Truncation 0.9" means two different things in the literature, so there are two settings: `truncation`
    draws a standard normal truncated to |z| <= 2 and scales it (pytorch-pretrained-biggan, where it also
    selects the batch-norm statistics); `z_std` draws a plain N(0, z_std^2) without bounds (the release of
    BigDatasetGAN, with 0.9).
    """

    truncation: float = 1.0  # in (0, 1]
    z_std: float | None = None  # > 0; only with truncation 1.0
    # for generators that sample codes (VQGAN); generators of latents refuse them
    top_k: int | None = None  # draw from this many of the likeliest codes; None = all
    top_p: float = 1.0  # in (0, 1]: draw from the likeliest codes that together have this probability
    temperature: float = 1.0  # > 0

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise BdganError(f"top_k is {self.top_k}; give 1 or more, or None for all codes")
        if not 0.0 < self.top_p <= 1.0:
            raise BdganError(f"top_p is {self.top_p}; give a number above 0 and at most 1")
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise BdganError(f"temperature is {self.temperature}; give a finite number above 0")
        if not 0.0 < self.truncation <= 1.0:
            raise BdganError(f"truncation is {self.truncation}; give a number above 0 and at most 1")
        if self.z_std is None:
            return
        if not (self.z_std > 0.0 and math.isfinite(self.z_std)):
            raise BdganError(f"z_std is {self.z_std}; give a finite number above 0, or None to truncate")
        if self.truncation != 1.0:
            raise BdganError(
                f"expected truncation or z_std, got both ({self.truncation} and {self.z_std}); give one: "
                "truncation bounds and scales, z_std only scales"
            )

    @property
    def of_codes(self) -> bool:
        """Whether it has settings for code sampling."""
        return self.top_k is not None or self.top_p != 1.0 or self.temperature != 1.0

    def to_json(self) -> Json:
        """The settings as a JSON object, code sampling only where it differs from the defaults."""
        defaults = {field.name: field.default for field in fields(self)}
        always = ("truncation", "z_std")
        return {key: v for key, v in asdict(self).items() if key in always or v != defaults[key]}

    @classmethod
    def from_json(cls, record: object) -> Sampling:
        """The settings that `to_json` wrote.

        Raises:
            BdganError: the record is anything else.
        """
        number: tuple[type, ...] = (int, float)
        types = {"truncation": number, "z_std": (*number, type(None)), "top_k": (int,), "top_p": number,
                 "temperature": number}  # fmt: skip
        if (
            not isinstance(record, Mapping)
            or not {"truncation", "z_std"} <= set(record) <= set(types)
            or not all(isinstance(value, types[key]) for key, value in record.items())
        ):
            raise BdganError(
                "expected sampling settings: an object with truncation (a number), z_std (a number or null) "
                f"and, for codes, top_k, top_p and temperature; got {record!r}"
            )
        numbers: dict[str, Any] = {k: v if v is None or k == "top_k" else float(v) for k, v in record.items()}
        return cls(**numbers)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a generator returns for B seeds."""

    images: Tensor  # [B, 3, H, W] float32, in [-1, 1]
    features: dict[str, Tensor]  # block name -> [B, C_k, H_k, W_k], coarse to fine, in the generator's dtype
    class_ids: Tensor  # [B] int64
    seeds: Tensor  # [B] int64; image i depends on class_ids[i], seeds[i] and sampling alone
    sampling: Sampling

    def cpu(self) -> Sample:
        """The same sample with images and features on the CPU, in float32."""
        features = {block: x.cpu().float() for block, x in self.features.items()}
        return replace(self, images=self.images.cpu(), features=features)
