"""Reads Cityscapes with fine labels from `leftImg8bit/SPLIT/CITY` and `gtFine/SPLIT/CITY`.

The classes are torchvision's table. Its reader is not used, because it lists cities in the file system's
order, unpacks archives, and does not check that masks exist and fit. The tests compare with it.
"""

from pathlib import Path

import numpy as np
from torchvision.datasets import Cityscapes

from bdgan_lib.core.image_codecs import read_image, read_labels
from bdgan_lib.core.io import list_folder
from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.transfer.samples import Lazy, folder, require_files, segmented

_KNOWN = [c for c in Cityscapes.classes if c.id >= 0]  # -1, the number plate, is not in the files
_LABELS = sorted((c.train_id, c.name) for c in _KNOWN if c.train_id not in (-1, UNLABELLED))
CITYSCAPES_LABELS = tuple(name for _, name in _LABELS)  # the 19 scored labels, in the benchmark's order
_TRAIN_IDS = np.full(256, 254, np.uint8)  # 254 = no known id, refused by `segmented`
_TRAIN_IDS[UNLABELLED] = UNLABELLED
_TRAIN_IDS[[c.id for c in _KNOWN]] = [c.train_id for c in _KNOWN]


def segmentation(root: Path, split: str) -> Lazy[Segmented]:
    """Images of a split by city and name; labels are indices into CITYSCAPES_LABELS, 255 is not scored.

    Reads `*_leftImg8bit.png` and `*_gtFine_labelIds.png`.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: "train" or "val"; the labels of "test" were never published.

    Raises:
        BdganError: a split or a mask is missing, or (at access) a mask does not fit its image.
    """
    if split not in ("train", "val"):
        raise BdganError(
            f"expected split 'train' or 'val' (the labels of 'test' are kept secret), got {split!r}"
        )
    images = folder(Path(root), f"leftImg8bit/{split}", "Cityscapes' images (leftImg8bit_trainvaltest.zip)")
    masks = folder(Path(root), f"gtFine/{split}", "Cityscapes' labels (gtFine_trainvaltest.zip)")
    ending = "_leftImg8bit.png"
    files = list_folder(images, f"*/*{ending}")
    keys = [path.relative_to(images).as_posix()[: -len(ending)] for path in files]
    if not keys:
        raise BdganError(f"{images} holds no CITY/*{ending}")

    def read(key: str) -> Segmented:
        image = read_image(images / f"{key}{ending}")
        labels = _TRAIN_IDS[read_labels(masks / f"{key}_gtFine_labelIds.png")]
        return segmented(image, labels, len(CITYSCAPES_LABELS))

    require_files(masks / f"{key}_gtFine_labelIds.png" for key in keys)
    return Lazy(keys, read)
