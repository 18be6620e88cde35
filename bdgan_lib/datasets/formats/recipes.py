"""Recipes: what another tool needs beside an export to train on it, in files of that tool's own form."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.formats import voc, yolo
from bdgan_lib.datasets.formats.names import RECIPES
from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, Item, SetItems

ABOUT = "recipe.json"
_FOLDER = Path(__file__).with_name("recipe_files")
_FILES = {  # recipe -> file beside the data -> file of ours
    "ultralytics": {"train.py": "train_ultralytics.py"},
    "mmseg": {"config.py": "mmseg_config.py"},
    "detectron2": {"train.py": "train_detectron2.py"},
    "torchvision": {"train.py": "train_torchvision.py", "voc_data.py": "voc_data.py"},
    "smp": {"train.py": "train_smp.py", "voc_data.py": "voc_data.py"},
    "hf-trainer": {"train.py": "train_hf.py"},
}
_OBJECTS = ("ultralytics", "detectron2")  # they learn objects, and can leave no pixel out
_MOST_UNLABELLED = 0.1  # share of an image's pixels with which such a tool still trains on it
_EVERY = 10  # images of a class, one of which validates


def format_of(recipe: str, format: str | None = None) -> str:
    """The export format that a recipe's tool reads.

    Raises:
        BdganError: there is no such recipe, or it needs another format than the given one.
    """
    if recipe not in RECIPES:
        raise BdganError(f"unknown recipe {recipe!r}; choose one of {', '.join(RECIPES)}")
    if format not in (None, RECIPES[recipe]):
        raise BdganError(
            f"expected format {RECIPES[recipe]!r}, which recipe {recipe!r} reads, got {format!r}; "
            "leave the format out"
        )
    return RECIPES[recipe]


@dataclass
class RecipeWriter:
    """Writes the files of one recipe, after every image of an export has passed `add`.

    Raises:
        BdganError: the set has fewer than three images, or more categories than its masks hold.
    """

    recipe: str
    source: SetItems
    left_out: int = 0  # images in no list, as their pixels are unlabelled
    _images: list[tuple[int, str]] = field(default_factory=list)  # class id, file name
    _size: tuple[int, int] | None = None  # of the first image, width and height
    _shows_class: bool = False

    def __post_init__(self) -> None:
        if len(self.source.data) < 3:
            raise BdganError(
                f"expected three images or more to train and validate with, got {len(self.source.data)}; "
                "add some with `bdgan synthesize`"
            )
        if self.recipe not in _OBJECTS and len(self.source.names) > UNLABELLED:
            raise BdganError(
                f"expected at most {UNLABELLED} categories, as recipe {self.recipe!r} takes {UNLABELLED} for "
                f"unlabelled, got {len(self.source.names)}; choose {' or '.join(_OBJECTS)}"
            )

    def add(self, item: Item) -> None:
        """Note an image for the lists; one is left out if too little of it is labelled for the tool."""
        unlabelled = item.categories == VOID_CATEGORY
        self._size = self._size or (item.mask.shape[1], item.mask.shape[0])
        self._shows_class |= bool(((item.categories > 0) & ~unlabelled).any())
        if unlabelled.all() or (self.recipe in _OBJECTS and unlabelled.mean() > _MOST_UNLABELLED):
            self.left_out += 1
        else:
            self._images.append((int(item.record["class_id"]), item.stored.image_name))

    def write(self, folder: Path) -> list[str]:
        """Write the tool's files into an exported folder, and return a line for each loss.

        Raises:
            BdganError: no pixel has a class, or fewer than three images are labelled well enough.
        """
        if not self._shows_class:
            raise BdganError(
                f"expected pixels of a class for recipe {self.recipe!r}, got background alone; "
                "check the head that labelled the set"
            )
        if len(self._images) < 3:
            raise BdganError(
                f"expected three images or more that are labelled, got {len(self._images)} of "
                f"{len(self._images) + self.left_out}; add some with `bdgan synthesize`"
            )
        ordered = sorted(self._images)  # so that every class gives its share
        lists = {
            "val": [name for _, name in ordered[1::_EVERY]],
            "train": [name for k, (_, name) in enumerate(ordered) if k % _EVERY != 1],
        }
        _LISTS[RECIPES[self.recipe]](folder, lists, self.source)
        for name, origin in _FILES[self.recipe].items():
            shutil.copyfile(_FOLDER / origin, folder / name)
        about: dict[str, Any] = {
            "recipe": self.recipe,
            "classes": list(self.source.names),
            "ignore_index": UNLABELLED,
            "palette": voc.palette()[: len(self.source.names)].tolist(),
            "foreground_masks": not self.source.parts,
            "image_size": self._size,
            **{split: len(names) for split, names in lists.items()},
            "left_out": self.left_out,
        }
        write_json(folder / ABOUT, about, ascii_only=False)
        return [f"{self.left_out:,} images are in no list: too few of their pixels are labelled"] * (
            self.left_out > 0
        )


def _write_list(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")


def _voc_lists(folder: Path, lists: dict[str, list[str]], source: SetItems) -> None:
    ids = {split: [Path(name).stem for name in names] for split, names in lists.items()}
    for split, names in (ids | {"trainval": ids["train"] + ids["val"]}).items():
        _write_list(folder / voc.LISTS / f"{split}.txt", names)


def _yolo_lists(folder: Path, lists: dict[str, list[str]], source: SetItems) -> None:
    for split, names in lists.items():
        _write_list(folder / f"{split}.txt", [f"./{yolo.IMAGES}/{name}" for name in names])
    yolo.write_data_yaml(folder, source.names, "train.txt", "val.txt")


def _id_lists(folder: Path, lists: dict[str, list[str]], source: SetItems) -> None:
    for split, names in lists.items():
        _write_list(folder / f"{split}.txt", [Path(name).stem for name in names])


def _name_lists(folder: Path, lists: dict[str, list[str]], source: SetItems) -> None:
    for split, names in lists.items():
        _write_list(folder / f"{split}.txt", names)


_LISTS: dict[str, Callable[[Path, dict[str, list[str]], SetItems], None]] = {
    "voc": _voc_lists, "yolo-seg": _yolo_lists, "coco": _name_lists, "hf": _id_lists,
}  # fmt: skip
