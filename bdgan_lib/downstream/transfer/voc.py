"""Reads Pascal VOC: `VOCdevkit/VOC2007` and `VOCdevkit/VOC2012`, in its authors' layout.

torchvision.datasets reads the same layout, and the tests compare with it. This reader also checks that all
files exist, names stay in the folder, and boxes and masks fit their image, and it reads `train_aug`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import read_image, read_labels
from bdgan_lib.core.labelled_arrays import Detected, Segmented
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.transfer.samples import Lazy, folder, require_files, segmented

VOC_CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
               "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
               "tvmonitor")  # fmt: skip
TRAINVAL_07_12 = (("2007", "trainval"), ("2012", "trainval"))  # detection's training set
TEST_07 = (("2007", "test"),)  # and its test set


def detection(root: Path, sets: Sequence[tuple[str, str]]) -> Lazy[Detected]:
    """Boxes of the images in `ImageSets/Main/SPLIT.txt`, for each (year, split) of `sets`.

    Class k is VOC_CLASSES[k]; objects marked difficult are `ignored`. VOC counts pixels from 1 and includes
    the last, so a file's box (xmin, ymin, xmax, ymax) covers columns [xmin - 1, xmax] here.

    Raises:
        BdganError: a split, image or annotation is missing, or (at access) an annotation does not fit.
    """
    keys = [f"{year}/{id}" for year, split in sets for id in _listed(root, year, "Main", split)]
    base = {year: _base(root, year) for year, _ in sets}

    def paths(key: str) -> tuple[Path, Path]:
        year, id = key.split("/")
        return base[year] / "JPEGImages" / f"{id}.jpg", base[year] / "Annotations" / f"{id}.xml"

    def read(key: str) -> Detected:
        image_path, notes_path = paths(key)
        return _with_objects(read_image(image_path), notes_path.read_bytes())

    require_files(path for key in keys for path in paths(key))
    return Lazy(keys, read)


def segmentation(root: Path, split: str, year: str = "2012") -> Lazy[Segmented]:
    """Masks of the images in `ImageSets/Segmentation/SPLIT.txt`: 0 = background, k + 1 = class k.

    Args:
        root: the folder that holds `VOCdevkit`.
        split: "train", "trainval", "val" or "train_aug", the 10,582 images of train extended with the SBD
            labels. The last is not part of VOC: as in most toolboxes, its list is `train_aug.txt` (or
            `trainaug.txt`) and its masks are in `SegmentationClassAug`.
        year: "2007" or "2012".

    Raises:
        BdganError: see `detection`.
    """
    base = _base(root, year)
    masks = folder(base, f"SegmentationClass{'Aug' * (split == 'train_aug')}", "VOC's masks")
    if split == "train_aug" and not (base / "ImageSets/Segmentation/train_aug.txt").is_file():
        split = "trainaug"
    keys = _listed(root, year, "Segmentation", split)

    def read(id: str) -> Segmented:
        image = read_image(base / "JPEGImages" / f"{id}.jpg")
        return segmented(image, read_labels(masks / f"{id}.png"), len(VOC_CLASSES) + 1)

    require_files(path for id in keys for path in (base / "JPEGImages" / f"{id}.jpg", masks / f"{id}.png"))
    return Lazy(keys, read)


def _base(root: Path, year: str) -> Path:
    return folder(Path(root) / "VOCdevkit", f"VOC{year}", f"Pascal VOC {year}")


def _listed(root: Path, year: str, task: str, split: str) -> list[str]:
    path = _base(root, year) / "ImageSets" / task / f"{split}.txt"
    if not path.is_file():
        raise BdganError(f"{path} is missing: this copy of VOC {year} has no split {split!r}")
    ids = path.read_text("ascii", errors="replace").split()
    if not ids:
        raise BdganError(f"{path} lists no image")
    return [checked_id(id) for id in ids]


def _with_objects(image: np.ndarray[Any, np.dtype[np.uint8]], notes: bytes) -> Detected:
    try:
        tree = fromstring(notes)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise BdganError(f"its annotation is not plain XML: {error!r:.100}") from error
    height, width = image.shape[:2]
    boxes, class_ids, difficult = [], [], []
    for item in tree.findall("object"):
        name = item.findtext("name", "")
        if name not in VOC_CLASSES:
            raise BdganError(f"expected one of VOC's 20 classes, got {name!r:.40}")
        try:
            left, top, right, bottom = (float(item.findtext(f"bndbox/{side}", "none"))
                                        for side in ("xmin", "ymin", "xmax", "ymax"))  # fmt: skip
        except ValueError as error:
            raise BdganError(f"the box of its {name} is incomplete") from error
        if not (1 <= left <= right < width + 1 and 1 <= top <= bottom < height + 1):  # false for NaN
            box = f"{left:g} {top:g} {right:g} {bottom:g}"
            raise BdganError(f"the box of its {name}, {box}, leaves {width} x {height} pixels")
        boxes.append((left - 1, top - 1, right, bottom))
        class_ids.append(VOC_CLASSES.index(name))
        difficult.append(item.findtext("difficult", "0").strip() == "1")
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detected(image, corners, np.array(class_ids, np.int64), None, np.array(difficult, bool))
