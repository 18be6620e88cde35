"""The benchmark's tasks: the classes of each and the labels of their pixels (paper section 4).

Seven tasks on ImageNet and five on the pocket world share this code. What can be reproduced of the paper's
ImageNet figures: the tasks (all but MC-128 are the official release's class lists), training on its annotated
BigGAN images or on synthetic sets, and the score. What cannot: the labels of the real test images were never
published, nor was the list of MC-128's classes. If you label real images, score on them with
`bdgan benchmark score --labels DIR`; such scores compare with each other, not with the paper's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.labelled_arrays import mask_value
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.formats.shapes import BACKGROUND, VOID

FOREGROUND = "foreground"


@dataclass(frozen=True)
class Task:
    """A segmentation task on a world of classes.

    An image belongs to the task if its class does (`holds`); others are left out of training and test. So Dog
    distinguishes breeds of dogs, and does not search for dogs among other images; FG/BG takes every image.
    """

    world: str  # "pocket", "imagenet"
    name: str
    labels: tuple[str, ...]  # by value in masks; 0 is the background, 255 (if present) "unlabelled"
    of_class: tuple[int, ...]  # the label of each class of the world; 0 = not in this task

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels) or self.labels[0] != BACKGROUND:
            rule = f"expected labels with {BACKGROUND!r} first, each once"
            raise BdganError(f"task {self.name}: {rule}, got {self.labels!r:.200}")
        given = set(self.of_class) - {0}
        if given != {mask_value(n) for n in range(1, self.count)}:
            raise BdganError(
                f"task {self.name}: expected each of its labels among the classes, got {sorted(given)}"
            )

    @property
    def count(self) -> int:
        """The number of labels, background included: the N of the paper's MC-16 and MC-992."""
        return len(self.labels) - (len(self.labels) > UNLABELLED)

    @property
    def classes(self) -> tuple[int, ...]:
        """The ids of the task's classes."""
        return tuple(id for id, label in enumerate(self.of_class) if label)

    def holds(self, class_ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether images belong to the task, by their class ids [N]."""
        return np.array(self.of_class)[class_ids] > 0

    def masks(self, class_masks: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
        """Class masks of any shape -> masks of the task's labels, uint8 (uint16 for more than 255 labels).

        Class masks hold 0 for background, 255 for unlabelled (which stays) and `mask_value(class id + 1)`
        for foreground. A class outside the task becomes background.

        Raises:
            BdganError: a value belongs to no class.
        """
        values, last = np.asarray(class_masks), len(self._table) - 1
        inside = values if values.dtype == np.uint8 else np.clip(values, 0, last)
        labels = self._table[inside]
        if labels.min(initial=0) < 0 or (inside is not values and not np.array_equal(inside, values)):
            strange = values[(labels < 0) | (inside != values)]
            raise BdganError(
                f"class mask value {strange[0]} is unknown; {self.world} has {len(self.of_class)} classes: "
                f"expected 0 to {mask_value(len(self.of_class))}, or {UNLABELLED} for unlabelled"
            )
        return labels.astype(np.uint8 if len(self.labels) <= UNLABELLED + 1 else np.uint16)

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        """The label, or -1, of every value that a class mask may hold (at least all of uint8)."""
        classes = mask_value(np.arange(1, len(self.of_class) + 1))
        table = np.full(max(UNLABELLED, classes[-1]) + 1, -1, np.int16)
        table[0], table[UNLABELLED], table[classes] = 0, UNLABELLED, self.of_class
        return table


def task_of_groups(world: str, name: str, groups: Mapping[str, Sequence[int]], num_classes: int) -> Task:
    """The task whose labels are the background and these groups of class ids, in order.

    Raises:
        BdganError: a class id is unknown or in two groups.
    """
    labels, of_class = [BACKGROUND], [0] * num_classes
    for group, ids in groups.items():
        if len(labels) == UNLABELLED:
            labels.append(VOID)
        for id in ids:
            if not 0 <= id < num_classes or of_class[id]:
                raise BdganError(
                    f"task {name}: expected class ids 0 to {num_classes - 1}, each once, got {id} in {group}"
                )
            of_class[id] = len(labels)
        labels.append(group)
    return Task(world, name, tuple(labels), tuple(of_class))


def task_of_classes(world: str, name: str, ids: Sequence[int], classes: Sequence[str]) -> Task:
    """The task whose labels are the background and each of these classes."""
    return task_of_groups(world, name, {classes[id]: [id] for id in ids}, len(classes))


_POCKET = {
    "bird": ("robin", "blue jay", "goldfinch"),
    "fish": ("clownfish", "angelfish", "trout"),
    "plant": ("mushroom", "apple", "flower"),  # grown
    "thing": ("car", "mug", "house"),  # made
}


def pocket_tasks(classes: Sequence[str]) -> dict[str, Task]:
    """Bird, Fish, FG/BG, MC-superclass and MC-all on the classes of the pocket world."""
    kinds = {kind: [classes.index(name) for name in names] for kind, names in _POCKET.items()}
    every = range(len(classes))
    tasks = [
        task_of_classes("pocket", "Bird", kinds["bird"], classes),
        task_of_classes("pocket", "Fish", kinds["fish"], classes),
        task_of_groups("pocket", "FG/BG", {FOREGROUND: every}, len(classes)),
        task_of_groups("pocket", "MC-superclass", kinds, len(classes)),
        task_of_classes("pocket", "MC-all", every, classes),
    ]
    return {task.name: task for task in tasks}


def imagenet_tasks(path: Path, classes: Sequence[str]) -> dict[str, Task]:
    """Dog, Bird, FG/BG, MC-16, MC-100, MC-128 and MC-992.

    MC-16 has 15 groups and the background, MC-992 991 classes and the background; MC-100 has 100 classes and
    the background, as in the official release. MC-128's list was never published: ours has the background and
    127 of MC-992's classes, evenly spaced in their order (index floor(i * 991 / 127), i from 0). That order
    follows WordNet, so every kind of object is represented.

    Args:
        path: the shipped class lists, `assets/imagenet/tasks.json`.
        classes: names of the 1,000 classes.
    """
    lists = json.loads(path.read_text("utf-8"))["tasks"]
    every, order = lists["MC-992"]["indices"], lists["MC-16"]["label_of_group"]
    groups = dict(sorted(lists["MC-16"]["groups"].items(), key=lambda item: order[item[0]]))
    spaced = [every[i * len(every) // 127] for i in range(127)]
    tasks = [
        task_of_classes("imagenet", "Dog", lists["Dog"]["indices"], classes),
        task_of_classes("imagenet", "Bird", lists["Bird"]["indices"], classes),
        task_of_groups("imagenet", "FG/BG", {FOREGROUND: lists["FG/BG"]["indices"]}, len(classes)),
        task_of_groups("imagenet", "MC-16", groups, len(classes)),
        task_of_classes("imagenet", "MC-100", lists["MC-100"]["indices"], classes),
        task_of_classes("imagenet", "MC-128", spaced, classes),
        task_of_classes("imagenet", "MC-992", every, classes),
    ]
    return {task.name: task for task in tasks}


def split_of(file_name: str) -> str:
    """The split of a real image, a function of its file's name without folder and ending.

    The first 8 hexadecimal digits of the name's sha256, modulo 10: 0 and 1 test, 2 validation, else train.

    >>> split_of("ILSVRC2012_val_00000001.JPEG")
    'train'
    """
    digit = int(sha256(PurePath(file_name).stem.encode()).hexdigest()[:8], 16) % 10
    return "test" if digit < 2 else "validation" if digit == 2 else "train"
