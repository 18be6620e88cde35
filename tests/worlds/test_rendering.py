"""The stand-ins to transfer to: pictures are functions of their seeds, and what is said of them is so."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from bdgan_lib.core.types import BdganError
from bdgan_lib.worlds.chest import CHEST_LABELS, chest
from bdgan_lib.worlds.pocket import CLASSES
from bdgan_lib.worlds.rendering import render_many
from bdgan_lib.worlds.scenes import SLIVER, scene, tight_box
from bdgan_lib.worlds.street import ROAD, SKY, STREET_LABELS, street

WORLDS = [scene, street, chest]
SCENES = render_many(scene, 120, 20_000_000)
STREETS = render_many(street, 40, 20_000_000)
CHESTS = render_many(chest, 60, 20_000_000)


def test_the_worlds_are_drawn_without_torch():
    code = "import sys; from bdgan_lib.worlds import chest, pocket, scenes, street; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0, "each process would import it"


def content(sample):
    return [x.tobytes() for x in vars(sample).values()]


@pytest.mark.parametrize("world", WORLDS)
def test_a_picture_is_a_function_of_its_seed(world):
    assert content(world(7)) == content(world(7))
    assert content(world(7))[0] != content(world(8))[0]
    image = world(7).image
    assert image.dtype == np.uint8 and image.shape == (len(image), len(image), 3)


@pytest.mark.parametrize("world", WORLDS)
def test_workers_and_neighbours_change_nothing(world):
    alone = [content(world(seed)) for seed in range(30, 36)]
    assert list(map(content, render_many(world, 6, 30))) == alone
    if world is chest:  # one pool is enough: starting it is what takes long
        assert list(map(content, render_many(world, 6, 30, workers=2))) == alone


@pytest.mark.parametrize("world", WORLDS)
def test_a_larger_picture_shows_the_same(world):
    for seed in (1, 2, 3):
        small = world(seed)
        large = partial(world, size=2 * len(small.image))(seed)
        halved = large.image.reshape(len(small.image), 2, len(small.image), 2, 3).mean((1, 3))
        assert np.abs(halved - small.image).mean() < 12


@pytest.mark.parametrize("world", WORLDS)
def test_a_negative_seed_is_refused(world):
    with pytest.raises(BdganError, match="seed is -1"):
        world(-1)


def test_objects_are_apart_and_their_boxes_tight():
    for item in SCENES:
        n = len(item.class_ids)
        assert 1 <= n <= 5 and item.masks.shape == (n, 96, 96) and item.boxes.shape == (n, 4)
        assert item.masks.sum(0).max() == 1, "a pixel shows one object"
        assert np.array_equal(item.ignored, item.masks.sum((1, 2)) < SLIVER)
        for mask, box in zip(item.masks, item.boxes, strict=True):
            left, top, right, bottom = box.astype(int)
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert mask[top].any() and mask[bottom - 1].any()
            assert mask[:, left].any() and mask[:, right - 1].any()


def test_scenes_vary():
    count = np.bincount([len(item.class_ids) for item in SCENES], minlength=6)
    assert (count[1:5] > 5).all()
    classes = np.concatenate([item.class_ids for item in SCENES])
    assert len(set(classes.tolist())) == len(CLASSES)
    side = np.concatenate([np.sqrt(np.prod(i.boxes[:, 2:] - i.boxes[:, :2], 1)) for i in SCENES])
    assert side.min() < 20 and side.max() > 45
    boxes = np.concatenate([item.boxes for item in SCENES])
    cut_off = (boxes[:, :2].min(1) == 0) | (boxes[:, 2:].max(1) == 96)
    assert 0.1 < cut_off.mean() < 0.6
    touching = [box_overlaps(item.boxes) for item in SCENES]
    assert 0.2 < np.mean(touching) < 0.9, "some stand before others"


def box_overlaps(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return bool(((high > low).all(2) & ~np.eye(len(boxes), dtype=bool)).any())


def test_a_tight_box_of_one_pixel():
    mask = np.zeros((4, 6), bool)
    mask[1, 5] = True
    assert tight_box(mask).tolist() == [5, 1, 6, 2]


def test_every_label_of_a_street_occurs_and_it_stands_upright():
    labels = np.stack([item.labels for item in STREETS])
    assert set(np.unique(labels).tolist()) == set(range(len(STREET_LABELS)))
    rows = np.arange(labels.shape[1])[None, :, None] * np.ones_like(labels)
    assert rows[labels == SKY].mean() < 30 < 60 < rows[labels == ROAD].mean()


def test_a_chest_has_two_lungs_and_a_heart():
    labels = np.stack([item.labels for item in CHESTS])
    assert set(np.unique(labels).tolist()) == set(range(len(CHEST_LABELS)))
    assert (labels == 1)[:, :, :32].any((1, 2)).all() and (labels == 1)[:, :, 32:].any((1, 2)).all()
    share = np.stack([(labels == k).mean((1, 2)) for k in (1, 2)])
    assert share[0].min() > 0.08 and share[1].min() > 0.02 and share.max() < 0.45
    assert all(np.ptp(item.image, axis=2).max() == 0 for item in CHESTS), "it is grey"


@pytest.mark.parametrize(("items", "label"), [(CHESTS, 1), (CHESTS, 2), (STREETS, ROAD)])
def test_no_threshold_of_brightness_finds_them(items, label):
    images, wanted = np.stack([i.image.mean(2) for i in items]), np.stack([i.labels for i in items]) == label
    best = 0.0
    for threshold in range(10, 250, 10):
        for found in (images < threshold, images > threshold):
            best = max(best, (found & wanted).sum() / (found | wanted).sum())
    assert best < 0.7
