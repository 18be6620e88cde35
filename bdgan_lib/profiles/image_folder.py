"""Photographs of a profile's classes: a folder for each class, as ImageNet is unpacked."""

from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import read_image
from bdgan_lib.core.io import list_folder, list_pictures
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.synthesis.label_real import center_square


class LabelledPhotographs(NamedTuple):
    """N pictures of known classes, a class after the other in turn."""

    images: NDArray[np.uint8]  # [N, S, S, 3]
    class_ids: NDArray[np.int64]  # [N]

    def halves(self) -> "tuple[LabelledPhotographs, LabelledPhotographs]":
        """The first half and the second, to hold against each other."""
        middle = len(self.images) // 2
        return tuple(LabelledPhotographs(self.images[p], self.class_ids[p])
                     for p in (slice(middle), slice(middle, 2 * middle)))  # type: ignore[return-value]  # fmt: skip


def load_photographs(folder: str | Path, profile: Profile, count: int) -> LabelledPhotographs:
    """Up to `count` pictures of the folder: their centre squares, at the profile's side.

    The folder holds one for each class, named as the class or as its WordNet id ("robin", "n01558993").
    BdganError for a folder of another name, and where there are fewer than two pictures.
    """
    ids = {name: k for names in (profile.classes, profile.synsets) for k, name in enumerate(names)}
    inside = [path for path in list_folder(Path(folder)) if path.is_dir() and not path.name.startswith(".")]
    if strange := [path.name for path in inside if path.name not in ids]:
        raise BdganError(f"{folder} holds {strange[0]!r}, which is no class of profile {profile.name}")
    of_class = [[(path, ids[p.name]) for path in list_pictures(p, "*")] for p in inside]
    dealt = [pair for pair in chain.from_iterable(zip_longest(*of_class)) if pair is not None]
    pictures = [(center_square(read_image(path), profile.image_size), k)
             for path, k in islice(dealt, count)]  # fmt: skip
    if len(pictures) < 2:
        raise BdganError(
            f"{folder} holds {len(pictures)} pictures; give a folder with one for each class, say robin/1.jpg"
        )
    images, class_ids = zip(*pictures, strict=True)
    return LabelledPhotographs(np.stack(images), np.array(class_ids))
