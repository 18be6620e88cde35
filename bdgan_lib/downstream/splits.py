"""Which images train, validate and test: fixed here, so that two people's figures can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePath
from types import MappingProxyType


@dataclass(frozen=True)
class Seeds:
    """Consecutive seeds, which fix images of the pocket world; seed s shows class s % 12."""

    first: int
    count: int


# Rendered scenes. The first 60 of train are five of each class: as many labels as Synthetic-annotated has.
REAL_ANNOTATED: Mapping[str, Seeds] = MappingProxyType(
    {
        "train": Seeds(30_000_000, 600),
        "validation": Seeds(30_120_000, 240),
        "test": Seeds(30_240_000, 1_200),
    }
)

# Samples of the generator with the oracle's labels. What trains is the annotations that ship, five of each
# class: seeds below 10, picked by how clear the samples are.
SYNTHETIC_ANNOTATED: Mapping[str, Seeds] = MappingProxyType(
    {"validation": Seeds(11_040_000, 240), "test": Seeds(11_100_000, 1_200)}
)


def split_of(file_name: str) -> str:
    """The split of a real image by its file's name without folder and ending: anyone finds the same.

    The sha256 of the name, its first 8 hexadecimal digits modulo 10: 0 and 1 test, 2 validation, else train.

    >>> split_of("ILSVRC2012_val_00000001.JPEG")
    'train'
    """
    digit = int(sha256(PurePath(file_name).stem.encode()).hexdigest()[:8], 16) % 10
    return "test" if digit < 2 else "validation" if digit == 2 else "train"
