"""The pocket world: pictures are functions of (class, seed), and colour does not give their masks away."""

import numpy as np
import pytest

from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.worlds.pocket import CLASSES, LATENT_DIM, PARTS, latent_of, render, render_set

SCENES = render_set(180, 9_000_000)  # 15 of each class


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


@pytest.mark.parametrize("class_id", range(len(CLASSES)), ids=CLASSES)
def test_a_picture_is_a_function_of_its_class_and_seed(class_id):
    one, again, other = render(class_id, 5), render(class_id, 5), render(class_id, 6)
    assert np.array_equal(one.image, again.image) and np.array_equal(one.parts, again.parts)
    assert not np.array_equal(one.image, other.image) and not np.array_equal(one.parts, other.parts)
    assert one.image.shape == (64, 64, 3) and one.image.dtype == np.uint8
    assert one.parts.shape == (64, 64) and one.parts.dtype == np.uint8


def test_a_set_holds_the_pictures_of_its_seeds_whatever_was_drawn_before():
    for i in (37, 3, 179):
        scene = render(i % 12, 9_000_000 + i)
        assert np.array_equal(SCENES.images[i], scene.image) and np.array_equal(SCENES.parts[i], scene.parts)
        assert SCENES.class_ids[i] == i % 12
        assert np.array_equal(SCENES.latents[i], latent_of(9_000_000 + i))


def test_workers_change_nothing():
    assert same(render_set(244, 9_000_000, workers=2), render_set(244, 9_000_000))


def test_the_latent_draws_the_picture():
    assert np.array_equal(render(0, 5, latent=latent_of(5)).image, render(0, 5).image)
    moved = latent_of(5)
    moved[8:14] *= -1  # of a robin: place, size, turn, side, aspect
    assert not np.array_equal(render(0, 5, latent=moved).parts, render(0, 5).parts)


def test_latents_are_truncated_at_2_and_look_normal():
    latents = np.stack([latent_of(seed) for seed in range(200)])
    assert latents.shape == (200, LATENT_DIM) and latents.dtype == np.float32
    assert np.abs(latents).max() <= 2
    assert abs(latents.mean()) < 0.03 and abs(latents.std() - 0.88) < 0.02  # a normal cut at 2 has 0.880


def test_masks_are_the_parts_and_labels_are_the_class_s_own():
    assert np.array_equal(SCENES.masks, SCENES.parts > 0)
    assert np.array_equal(SCENES.class_masks.max((1, 2)), SCENES.class_ids + 1)
    scene = render(4, 3)
    assert np.array_equal(scene.mask, scene.parts > 0) and scene.mask.dtype == np.uint8
    for class_id, name in enumerate(CLASSES):
        found = np.unique(SCENES.parts[SCENES.class_ids == class_id])
        assert found.tolist() == list(range(len(PARTS[name]) + 1)), f"every part of a {name}, and no other"


def test_the_foreground_is_neither_tiny_nor_everything():
    share = SCENES.masks.mean((1, 2))
    assert share.min() > 0.05 and share.max() < 0.75
    assert 0.15 < share.mean() < 0.45


@pytest.mark.parametrize("class_id", range(len(CLASSES)), ids=CLASSES)
def test_a_larger_picture_shows_the_same_scene(class_id):
    for seed in (1, 2):
        small, large = render(class_id, seed).mask > 0, render(class_id, seed, 128).mask[1::2, 1::2] > 0
        assert (small & large).sum() / (small | large).sum() > 0.85


def cells(images):
    """Colours in 8 x 8 x 8 cells."""
    return (images.astype(int) // 32) @ [64, 8, 1]


def test_colour_alone_does_not_give_the_foreground_away():
    """The best answer per colour, learnt on some scenes: any threshold on colours is a case of it."""
    for class_id in (None, 0, 4, 8):  # all classes together, and single ones
        used = np.full(180, True) if class_id is None else SCENES.class_ids == class_id
        images, masks = [np.split(x[used], [used[:120].sum()]) for x in (SCENES.images, SCENES.masks > 0)]
        counts = [np.bincount(cells(images[0])[masks[0] == k], minlength=512) for k in (False, True)]
        found, wanted = (counts[1] > counts[0])[cells(images[1])], masks[1]
        assert mean_iou(found, wanted, 2) < 0.8


@pytest.mark.parametrize("wrong", [-1, 12])
def test_an_unknown_class_is_refused(wrong):
    with pytest.raises(BdganError, match=rf"class 0 to 11 \(robin.*got {wrong}"):
        render(wrong, 0)
