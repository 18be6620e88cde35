"""Reads MS-COCO instances: `annotations/instances_SPLIT.json` and the folder `SPLIT` of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core import rle
from bdgan_lib.core.image_codecs import read_image
from bdgan_lib.core.labelled_arrays import Detected
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats.coco import fill_polygons
from bdgan_lib.downstream.transfer.samples import Lazy, folder, require_files


@dataclass(frozen=True, eq=False)
class Instances:
    """The images of an instances file and the names of its classes."""

    samples: Lazy[Detected]
    classes: tuple[str, ...]  # class id k = k-th category of the file, sorted by id


def detection(root: Path, split: str) -> Instances:
    """A split in COCO's layout, such as "train2017" or "val2017".

    Raises:
        BdganError: the split is missing; see also `instances`.
    """
    notes = folder(Path(root), "annotations", "COCO's annotations") / f"instances_{split}.json"
    if not notes.is_file():
        raise BdganError(f"{notes} is missing: this copy of COCO has no split {split!r}")
    return instances(notes, folder(Path(root), split, f"COCO's pictures of {split}"))


def instances(notes: Path, pictures: Path) -> Instances:
    """The images of an instances file by id; crowds and boxes without area are `ignored`.

    Boxes are the file's; pycocotools fills the masks.

    Raises:
        BdganError: an image is missing or of another size than the file says, or an annotation is damaged,
            lies far outside its image, or has an unknown image or category.
    """
    record: dict[str, Any] = read_json(Path(notes), "give the instances file of COCO")
    try:
        categories = {c["id"]: str(c["name"]) for c in sorted(record["categories"], key=lambda c: c["id"])}
        images = {str(image["id"]): image for image in sorted(record["images"], key=lambda i: i["id"])}
        files = {key: Path(pictures) / _plain(image["file_name"]) for key, image in images.items()}
        of_image: dict[str, list[dict[str, Any]]] = {key: [] for key in images}
        for note in record["annotations"]:
            of_image[str(note["image_id"])].append(note)
    except (LookupError, TypeError, AttributeError) as error:
        raise BdganError(f"{notes} does not fit COCO's instances: {error!r:.100}") from error
    numbers = {id: k for k, id in enumerate(categories)}

    def read(key: str) -> Detected:
        image = read_image(files[key])
        height, width = image.shape[:2]
        declared = images[key].get("height"), images[key].get("width")
        if declared != (height, width):
            raise BdganError(f"{files[key].name} is {[height, width]}, the file says {list(declared)}")
        boxes, class_ids, masks, ignored = [], [], [], []
        for note in of_image[key]:
            try:
                x, y, w, h = map(float, note["bbox"])
                class_ids.append(numbers[note["category_id"]])
                masks.append(_pixels(note["segmentation"], height, width))
                crowd = bool(note.get("iscrowd", 0))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise BdganError(f"annotation {note.get('id')!r:.20}: {error!s:.200}") from error
            if not (-1 <= x <= x + w <= width + 1 and -1 <= y <= y + h <= height + 1):  # false for NaN
                raise BdganError(
                    f"annotation {note.get('id')!r:.20}: its box leaves {width} x {height} pixels"
                )
            boxes.append((x, y, x + w, y + h))
            ignored.append(crowd or w < 1e-3 or h < 1e-3)
        corners, pixels = np.array(boxes, np.float32).reshape(-1, 4), np.array(masks, bool)
        pixels = pixels.reshape(-1, height, width)
        return Detected(image, corners, np.array(class_ids, np.int64), pixels, np.array(ignored, bool))

    require_files(files.values())
    return Instances(Lazy(images, read), tuple(categories.values()))


def _plain(name: str) -> str:
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise BdganError(f"file name {name[:100]!r} leads outside; expected a plain one")
    return name


def _pixels(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    if not isinstance(segmentation, dict):
        return fill_polygons(segmentation, height, width)
    if segmentation["size"] != [height, width]:
        raise BdganError(f"its runs are of {segmentation['size']!r:.40}, the image of {[height, width]}")
    counts = segmentation["counts"]
    return (rle.decode if isinstance(counts, str) else rle.from_runs)(counts, height, width)
