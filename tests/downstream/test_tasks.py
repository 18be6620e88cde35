"""Tasks: which classes take part and what becomes of their pixels; splits that clash with nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.labelled_arrays import class_masks, mask_value
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.tasks import Task, split_of, task_of_groups
from bdgan_lib.profiles import load_profile, pocket
from bdgan_lib.worlds.pocket import CLASSES, PARTS, render_set

POCKET, IMAGENET = load_profile("pocket").tasks, load_profile("imagenet-256").tasks
EVERY = [*POCKET.values(), *IMAGENET.values()]
IDS = [f"{task.world}-{task.name}" for task in EVERY]
LISTS = json.loads((assets_folder() / "imagenet/tasks.json").read_text())["tasks"]


def test_there_are_the_paper_s_seven_tasks_and_five_of_the_pocket():
    counts = {"Dog": 119, "Bird": 60, "FG/BG": 2, "MC-16": 16, "MC-100": 101, "MC-128": 128, "MC-992": 992}
    assert {name: task.count for name, task in IMAGENET.items()} == counts
    pocket = {"Bird": 4, "Fish": 4, "FG/BG": 2, "MC-superclass": 5, "MC-all": 13}
    assert {name: task.count for name, task in POCKET.items()} == pocket
    assert {task.world for task in POCKET.values()} == {"pocket"}


def test_the_classes_are_those_of_the_release_s_lists():
    for name in ("Dog", "Bird", "FG/BG", "MC-100", "MC-992"):
        assert list(IMAGENET[name].classes) == sorted(LISTS[name]["indices"])
    assert not set(LISTS["MC-992"]["left_out"]) & set(IMAGENET["MC-992"].classes)
    for group, label in LISTS["MC-16"]["label_of_group"].items():
        assert IMAGENET["MC-16"].labels[label] == group
        assert all(IMAGENET["MC-16"].of_class[id] == label for id in LISTS["MC-16"]["groups"].get(group, ()))


def test_mc_128_is_127_of_mc_992_s_classes_spread_evenly():
    chosen = np.array(IMAGENET["MC-128"].classes)
    steps = np.diff(chosen)
    assert len(chosen) == 127 and set(chosen) <= set(IMAGENET["MC-992"].classes)
    assert steps.min() >= 7 and steps.max() <= 10


def test_the_pocket_s_groups_hold_every_class_once_and_birds_and_fish_by_their_parts():
    assert POCKET["MC-superclass"].classes == POCKET["MC-all"].classes == tuple(range(12))
    for name in ("Bird", "Fish"):
        classes = POCKET[name].classes
        parts = PARTS[CLASSES[classes[0]]]
        assert classes == tuple(i for i, c in enumerate(CLASSES) if PARTS[c] == parts)


@pytest.mark.parametrize("task", EVERY, ids=IDS)
def test_every_class_mask_value_becomes_its_class_s_label(task):
    """The table against a look at each class alone."""
    wanted = {0: 0, UNLABELLED: UNLABELLED}
    wanted |= {mask_value(id + 1): label for id, label in enumerate(task.of_class)}
    values = np.array(sorted(wanted))
    found = task.masks(values.reshape(1, -1))
    assert found.shape == (1, len(values)) and found[0].tolist() == [wanted[v] for v in values]
    assert found.dtype == (np.uint8 if task.count <= 255 else np.uint16)
    assert set(found[0].tolist()) - {UNLABELLED} == {mask_value(n) for n in range(task.count)}
    assert task.holds(np.arange(len(task.of_class))).tolist() == [label > 0 for label in task.of_class]
    for strange in (-1, mask_value(len(task.of_class)) + 1, 10**9):
        with pytest.raises(BdganError, match=f"value {strange} is unknown"):
            task.masks(np.array([0, strange]))


def test_label_255_is_nobody_s_and_a_label_keeps_its_name():
    task = IMAGENET["MC-992"]
    assert len(task.labels) == 993 and task.labels[UNLABELLED] == "unlabelled"
    assert UNLABELLED not in task.of_class
    names = load_profile("imagenet-256").classes
    assert all(task.labels[task.of_class[id]] == names[id] for id in task.classes)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=5))
def test_class_masks_of_any_class_go_through_a_task_and_back(class_ids):
    """Class 254 would be 255, unlabelled, if the numbers did not step over it."""
    masks = np.tile(np.array([[0, 1, UNLABELLED]]), (len(class_ids), 1, 1))
    found = class_masks(masks, np.array(class_ids))
    task = IMAGENET["FG/BG"]
    assert (task.masks(found) == masks).all()
    assert found[:, 0, 1].tolist() == [mask_value(i + 1) for i in class_ids]


@pytest.mark.parametrize(
    ("groups", "told"),
    [({"a": [0], "b": [0]}, "once, got 0 in b"), ({"a": [3]}, "got 3 in a"), ({"a": [-1]}, "got -1 in a"),
     ({"a": [0], "b": []}, "each of"), ({"background": [1]}, "each once"), ({}, "labels")],
)  # fmt: skip
def test_a_task_that_makes_no_sense_is_refused(groups, told):
    with pytest.raises(BdganError, match=told):
        task_of_groups("w", "t", groups, 3)


def test_a_task_travels_by_value():
    assert POCKET["Bird"] == load_profile("pocket").tasks["Bird"] != POCKET["Fish"]
    with pytest.raises(BdganError, match="no task 'Dog' in profile pocket; it has Bird, Fish"):
        load_profile("pocket").task("Dog")
    with pytest.raises(BdganError, match="labels"):
        Task("w", "t", ("ground", "a"), (1,))


def test_a_real_file_s_split_is_its_name_s_alone_and_shares_are_as_said():
    names = [f"ILSVRC2012_val_{n:08d}" for n in range(5_000)]
    found = [split_of(name) for name in names]
    assert [split_of(f"val/n01440764/{name}.JPEG") for name in names] == found
    share = {split: found.count(split) / len(found) for split in sorted(set(found))}
    assert share == pytest.approx({"test": 0.2, "train": 0.7, "validation": 0.1}, abs=0.02)


def test_the_pocket_s_truth_is_the_task_s_images_with_exact_labels(monkeypatch):
    world, seen = load_profile("pocket"), []

    def few(count, first_seed):
        seen.append((count, first_seed))
        return render_set(24, first_seed)

    monkeypatch.setattr(pocket, "render_set", few)
    pocket._split.cache_clear()
    task = world.tasks["Fish"]
    truth = world.renderer.truth(task)
    world.renderer.truth(world.tasks["Bird"])
    assert seen == [(1_200, 30_240_000)], "rendered once for all tasks"
    pocket._split.cache_clear()
    assert truth.ids == tuple(sorted(
        f"{CLASSES[k]}_{30_240_000 + n * 12 + k}" for n in range(2) for k in task.classes
    ))  # fmt: skip
    for id in truth.ids:
        label = task.labels.index(id.split("_")[0])
        assert set(np.unique(truth.label(id))) == {0, label} and truth.image(id).shape == (64, 64, 3)
    with pytest.raises(BdganError, match="no split 'dodo'"):
        world.renderer.truth(task, "dodo")
    with pytest.raises(BdganError, match="never published: give your own with --labels DIR"):
        load_profile("imagenet-256").require("renderer")
