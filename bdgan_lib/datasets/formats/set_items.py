"""The input of every set export: samples as bytes, and for each pixel a category of the whole set.

One rule serves all formats. If masks are foreground masks (labels 0 and 1), category k + 1 is the class with
id k: a pixel's category is what the image shows. If masks hold parts (the manifest names more than two
`labels`, or names none and a mask has a label above 1), the category is the label itself. 0 is background.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.formats.shapes import BACKGROUND
from bdgan_lib.datasets.sample_checks import check_class, decode_sample
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.datasets.tar_format import StoredSample

VOID_CATEGORY = 65_535  # the category of unlabelled pixels


@dataclass(frozen=True, eq=False)
class Item:
    """One image of the set."""

    stored: StoredSample  # the files' bytes
    image: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.uint8]  # [H, W] label ids; 255 = unlabelled
    categories: NDArray[np.uint16]  # [H, W] indices into the source's names; VOID_CATEGORY = unlabelled
    record: dict[str, Any]  # provenance, with class_id and seed

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.stored.id

    def regions(self, least: int = 1) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield (category, pixels [H, W]) of each category from `least` on; its pieces are one region."""
        for category in np.unique(self.categories[self.categories >= least]).tolist():
            yield category, self.categories == category


@dataclass
class ExportReport:
    """What an export wrote and what it lost."""

    images: int = 0
    regions: int = 0  # annotated regions, in formats that list them
    losses: list[str] = field(default_factory=list)
    mean_iou: float = 1.0  # of the masks that a reader gets with those of the set


class SetItems:
    """The items of a data set, in order, one in memory at a time.

    Args:
        data: the set.
        advance: called with each item after it was used.

    Raises:
        BdganError: the set names no classes, or one of them twice, or has a name that is not one line.
    """

    def __init__(self, data: ShardedSet, advance: Callable[[Item], object] = lambda item: None) -> None:
        self.data, self._advance, manifest = data, advance, data.manifest
        self._without_classes = {key: value for key, value in manifest.items() if key != "classes"}
        self.classes = [str(name) for name in manifest.get("classes") or ()]
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise BdganError(
                f"expected each class once in the manifest of {data.folder}, got {self.classes!r:.200}"
            )
        labels = [str(name) for name in manifest.get("labels") or ()]
        if strange := [name for name in (*self.classes, *labels) if name.splitlines() != [name]]:
            raise BdganError(
                f"expected names of one line in the manifest of {data.folder}, got {strange[0]!r:.100}"
            )
        if not labels:
            labels = [BACKGROUND, *(f"part {k}" for k in range(1, self._largest_label() + 1))]
        self.parts = len(labels) > 2
        self.names = tuple(labels if self.parts else [BACKGROUND, *self.classes])  # of the categories
        self.about = {
            "source_sha256": manifest["sha256"],  # of the manifest's content
            "licence": manifest.get("licence", "not stated"),
        }

    def __iter__(self) -> Iterator[Item]:
        ids = set[str]()
        for stored in self._stored():
            sample, record = decode_sample(stored, self._without_classes)
            label, class_id = sample.mask[sample.mask != UNLABELLED].max(initial=0), sample.class_id
            if label > (len(self.names) - 1 if self.parts else 1) or class_id >= len(self.classes):
                raise BdganError(
                    f"{stored.id} has label {label} and class {class_id}, which the manifest of "
                    f"{self.data.folder} does not name; run `bdgan validate`"
                )
            check_class(stored, record, self.data.manifest)
            if stored.id.lower() in ids:  # its files would replace those of the other
                raise BdganError(
                    f"{stored.shard}: the set holds the id {stored.id} twice; run `bdgan validate`"
                )
            ids.add(stored.id.lower())
            categories = sample.mask.astype(np.uint16) * (1 if self.parts else class_id + 1)
            categories[sample.mask == UNLABELLED] = VOID_CATEGORY
            item = Item(stored, sample.image, sample.mask, categories, record)
            yield item
            self._advance(item)

    def _stored(self) -> Iterator[StoredSample]:
        for shard in self.data.shards:
            yield from self.data.stored(shard)

    def _largest_label(self) -> int:
        """The largest label of all masks: one more pass over a set whose manifest names no labels."""
        largest = 0
        for stored in self._stored():
            mask = decode_sample(stored, {})[0].mask
            largest = max(largest, int(mask[mask != UNLABELLED].max(initial=0)))
        return largest
