"""Which images train, validate and test: fixed here, so that two people's figures can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class SeedRange:
    """Consecutive seeds, which fix images of the pocket world; seed s shows class s % 12."""

    first: int
    count: int


# Rendered scenes. The first 60 of train are five of each class: as many labels as Synthetic-annotated has.
REAL_ANNOTATED: Mapping[str, SeedRange] = MappingProxyType(
    {
        "train": SeedRange(30_000_000, 600),
        "validation": SeedRange(30_120_000, 240),
        "test": SeedRange(30_240_000, 1_200),
    }
)

# Samples of the generator with the oracle's labels. What trains is the annotations that ship, five of each
# class: seeds below 10, picked by how clear the samples are.
SYNTHETIC_ANNOTATED: Mapping[str, SeedRange] = MappingProxyType(
    {"validation": SeedRange(11_040_000, 240), "test": SeedRange(11_100_000, 1_200)}
)
