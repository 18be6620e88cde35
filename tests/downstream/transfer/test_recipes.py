"""The recipes: they repeat themselves, leave the caller's backbone alone, and learn."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib.core.labelled_arrays import Detected, Segmented
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.backbones import build_backbone
from bdgan_lib.downstream.segmentation import segmenter
from bdgan_lib.downstream.transfer import chest, coco, detect, segment
from bdgan_lib.downstream.transfer.detectors import PAPER_DETECTOR, DetectorConfig, detector
from bdgan_lib.downstream.transfer.samples import Lazy, in_order, shuffled
from bdgan_lib.training.supervised import FitConfig
from bdgan_lib.worlds.chest import CHEST_LABELS
from bdgan_lib.worlds.chest import chest as draw_chest
from bdgan_lib.worlds.rendering import render_many
from bdgan_lib.worlds.scenes import scene, tight_box
from bdgan_lib.worlds.street import STREET_LABELS, street

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[4] / "shared")
PHOTOGRAPHS = SHARED / "data" / "coco_mini"
SCENES = render_many(scene, 10, 20_000_200)
CHESTS = render_many(draw_chest, 12, 20_000_200)
QUICK = detect.DetectConfig(steps=3, batch_size=4)
BRIEF = FitConfig(steps=3, batch_size=4)
ON_STREETS = segment.SegmentConfig(STREET_LABELS, fit=BRIEF)
ON_CHESTS = chest.ChestConfig(1.0, replace(chest.POCKET, fit=BRIEF))


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return build_backbone("pocket-10")


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


RECIPES = {
    "detect": lambda b, seed: detect.train_and_score(b, SCENES[:6], SCENES[6:], replace(QUICK, seed=seed)),
    "segment": lambda b, seed: segment.train_and_score(
        b, CHESTS[:8], CHESTS[8:], segment.SegmentConfig(CHEST_LABELS, fit=replace(BRIEF, seed=seed))
    ),
    "chest": lambda b, seed: chest.train_and_score(
        b, CHESTS[:8], CHESTS[8:], chest.with_seed(ON_CHESTS, seed)
    ),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_scores_and_the_backbone_stays(backbone, recipe):
    before, stream = state(backbone), torch.get_rng_state()
    one = RECIPES[recipe](backbone, 3)
    assert torch.equal(torch.get_rng_state(), stream), "the caller's random numbers stay"
    torch.rand(5)
    assert RECIPES[recipe](backbone, 3) == pytest.approx(one, nan_ok=True, abs=0)
    assert RECIPES[recipe](backbone, 4)["loss"] != one["loss"]
    assert equal(state(backbone), before)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_backbone_matters(backbone, recipe):
    other = build_backbone("pocket-10")
    assert RECIPES[recipe](other, 3)["loss"] != RECIPES[recipe](backbone, 3)["loss"]


# Detection ----------------------------------------------------------------------------------------


def test_scores_are_of_boxes_and_masks_where_there_are_masks(backbone):
    found = detect.train_and_score(backbone, SCENES[:6], SCENES[6:], QUICK)
    assert set(found) == {f"{ap}_{k}" for ap in ("ap", "ap50", "ap75") for k in ("box", "mask")} | {"loss"}
    plain = [Detected(s.image, s.boxes, s.class_ids, None, s.ignored) for s in SCENES]
    boxes = replace(QUICK, detector=DetectorConfig(masks=False))
    found = detect.train_and_score(backbone, plain[:6], plain[6:], boxes)
    assert set(found) == {"ap_box", "ap50_box", "ap75_box", "loss"}
    with pytest.raises(BdganError, match=r"no masks; train Faster R-CNN"):
        detect.train_and_score(backbone, plain[:6], plain[6:], QUICK)


def test_scores_on_the_way_are_those_of_shorter_trainings_and_change_nothing(backbone):
    plain = replace(QUICK, optimizer="sgd")  # its rate does not depend on the number of steps
    end = detect.train_and_score(backbone, SCENES[:6], SCENES[6:], plain)
    marked = detect.train_and_score(backbone, SCENES[:6], SCENES[6:], plain, evaluation_steps=[2])
    short = detect.train_and_score(backbone, SCENES[:6], SCENES[6:], replace(plain, steps=2))
    assert {key: marked[key] for key in end} == pytest.approx(end, nan_ok=True, abs=0)
    assert all(marked[f"{key} after 2"] == short[key] for key in short if key != "loss")


def test_a_mirrored_target_is_the_target_of_the_mirrored_picture():
    x, target = detect._target(SCENES[0], True, QUICK)
    plain, _ = detect._target(SCENES[0], False, QUICK)
    assert torch.equal(x, plain.flip(-1))
    assert np.array_equal(target["masks"].numpy(), SCENES[0].masks[..., ::-1])
    boxes = np.stack([tight_box(mask > 0) for mask in target["masks"].numpy()])
    assert np.array_equal(target["boxes"].numpy(), boxes)
    assert target["labels"].tolist() == (SCENES[0].class_ids + 1).tolist()


def test_what_is_ignored_is_not_taught():
    some = SCENES[0]
    hidden = Detected(some.image, some.boxes, some.class_ids, some.masks, np.ones(len(some.boxes), bool))
    _, target = detect._target(hidden, False, QUICK)
    assert all(len(value) == 0 for value in target.values())


def test_pictures_without_objects_are_no_trouble(backbone):
    nothing = Detected(SCENES[0].image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                       np.zeros((0, 96, 96), bool), np.zeros(0, bool))  # fmt: skip
    assert detect.train_and_score(backbone, [nothing] * 4, SCENES[:2], QUICK)["ap_box"] == 0


def test_pictures_go_through_the_detector_as_they_come(backbone):
    network = detector(backbone, DetectorConfig())
    x = torch.rand(3, 96, 64)
    for training in (True, False):
        network.train(training)
        images, _ = network.transform([x])
        assert torch.equal(images.tensors[0], x) and images.image_sizes == [(96, 64)]


def test_the_published_detector_fits_the_published_backbone():
    with torch.device("meta"):
        network = detector(build_backbone("resnet50"), PAPER_DETECTOR)
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
    count = lambda part: sum(p.numel() for p in part.parameters())
    assert count(network.rpn) == count(theirs.rpn) and count(network.roi_heads) == count(theirs.roi_heads)
    assert count(network.backbone.pyramid) == count(theirs.backbone.fpn)
    with pytest.raises(BdganError, match=r"as levels \(3\), or one more, got 2"):
        detector(build_backbone("pocket-10"), DetectorConfig(anchors=(20, 32)))


def test_published_schedules_rise_hold_and_fall(backbone):
    config = detect.COCO_1X
    optimizer, schedule = detect._optimizer(backbone, config)
    rate = [schedule.lr_lambdas[0](step) for step in (0, 500, 1_000, 59_999, 60_000, 79_999, 80_000, 89_999)]
    assert rate == pytest.approx([1e-3, 0.501, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert optimizer.defaults["momentum"] == 0.9
    with pytest.raises(BdganError, match="got 'adam'"):
        detect._optimizer(backbone, replace(config, optimizer="adam"))


def test_a_detector_that_diverges_says_so(backbone):
    with pytest.raises(BdganError, match=r"the loss is nan at step .*lower learning_rate"):
        backbone.conv1.weight.data.fill_(float("nan"))
        detect.train_and_score(backbone, SCENES[:6], SCENES[6:], QUICK)


def test_reading_ahead_changes_nothing():
    alone: list[list[bytes]] = []
    for workers in (0, 2):
        scenes = Lazy(map(str, range(10)), lambda key: SCENES[int(key)])
        batches = [[s.image.tobytes() for s in batch] for batch in shuffled(scenes, 4, 3, 5, workers)]
        alone = alone or batches
        assert batches == alone
    assert [len(batch) for batch in in_order(SCENES, 4)] == [4, 4, 2]


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs the 16 photographs of coco_mini")
def test_photographs_go_through_the_whole_recipe(backbone):
    found = coco.instances(PHOTOGRAPHS / "instances.json", PHOTOGRAPHS / "images")
    small = DetectorConfig(num_classes=len(found.classes), short_side=96)
    config = detect.DetectConfig(small, steps=2, batch_size=2)
    scores = detect.train_and_score(backbone, found.samples[:12], found.samples[12:], config)
    assert 0 <= scores["ap_mask"] <= 1 and np.isfinite(scores["loss"])


# Segmentation -------------------------------------------------------------------------------------


def test_streets_are_learned(backbone):
    streets = render_many(street, 12, 20_000_300)
    config = replace(ON_STREETS, fit=FitConfig(steps=30, batch_size=4))
    before = segment.train_and_score(backbone, streets[:8], streets[8:], ON_STREETS)
    after = segment.train_and_score(backbone, streets[:8], streets[8:], config)
    assert set(after) == {"miou", "loss"} | {f"iou {name}" for name in STREET_LABELS}
    assert after["loss"] < 0.7 * before["loss"] and after["miou"] > before["miou"]


def test_pictures_of_any_size_are_scored_whole_and_one_by_one(backbone):
    network = segmenter(backbone, 3).eval()
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (64, 64), (40, 70), (64, 64), (33, 31)]
    items = [Segmented(rng.integers(0, 256, (*s, 3), np.uint8), np.zeros(s, np.uint8)) for s in sizes]
    found = list(segment._labelled(network, items, "cpu"))
    assert [item for item, _ in found] == items
    assert [labels.shape for _, labels in found] == sizes
    for item, labels in found:
        [(_, alone)] = segment._labelled(network, [item], "cpu")
        assert (alone != labels).mean() < 0.01, "sums may round otherwise in a batch"


def test_crops_are_of_one_size_and_keep_image_and_labels_together():
    rng = np.random.default_rng(0)
    x = np.mgrid[:40, :60][1]
    item = Segmented(np.repeat((4 * x + 10)[..., None], 3, 2).astype(np.uint8), (x // 20).astype(np.uint8))
    for _ in range(30):
        crop = segment._cropped(item, 32, (0.5, 2.0), rng)
        assert crop.image.shape == (32, 32, 3) and crop.labels.shape == (32, 32)
        known = crop.labels != UNLABELLED
        assert known.any() and (crop.image[~known] == 0).all()
        assert (np.abs((crop.image[known][:, 0] - 10) // 80.0 - crop.labels[known]) <= 1).all()
    whole = segment._cropped(item, 60, (1.0, 1.0), rng)
    assert np.array_equal(whole.image[:40], item.image) and np.array_equal(whole.labels[:40], item.labels)
    assert (whole.labels[40:] == UNLABELLED).all()


def test_pictures_of_several_sizes_need_a_crop(backbone):
    other = Segmented(np.zeros((32, 64, 3), np.uint8), np.zeros((32, 64), np.uint8))
    mixed, config = [CHESTS[0], other], segment.SegmentConfig(CHEST_LABELS, fit=BRIEF)
    with pytest.raises(BdganError, match="give a crop"):
        segment.train_and_score(backbone, mixed, CHESTS[8:], config)
    scores = segment.train_and_score(backbone, mixed, [*CHESTS[8:], other], replace(config, crop=32))
    assert 0 <= scores["miou"] <= 1


@pytest.mark.parametrize("recipe", [detect, segment])
def test_no_pictures_are_refused(backbone, recipe):
    config = {detect: QUICK, segment: ON_STREETS}[recipe]
    with pytest.raises(BdganError, match="to train on and to score, got 0 and 1"):
        recipe.train_and_score(backbone, [], SCENES[:1], config)


# Few labels ---------------------------------------------------------------------------------------


def test_nothing_of_a_frozen_backbone_changes(backbone):
    network = segment.Frozen(segmenter(backbone, 3))
    before, head = state(backbone), state(network.network.head)
    images, masks = np.stack([c.image for c in CHESTS]), np.stack([c.labels for c in CHESTS])
    segment.fit_batches(network, [(images, masks)] * 3, BRIEF)
    assert equal(state(backbone), before) and not equal(state(network.network.head), head)


@pytest.mark.parametrize("count", [7, 100, 200, 138])
def test_labelled_shares_are_nested_and_the_seeds(count):
    shares = [0.01, 0.05, 0.07, 0.1, 0.5, 1.0]
    picked = [chest.labelled(count, share, 0) for share in shares]
    assert [len(p) for p in picked] == [-(-round(share * 100) * count // 100) for share in shares]
    assert all(set(a) <= set(b) for a, b in pairwise(picked))
    assert sorted(picked[-1]) == list(range(count))
    assert chest.labelled(count, 0.5, 0) == picked[4] != chest.labelled(count, 0.5, 1)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_of_nothing_or_more_than_all_is_refused(share):
    with pytest.raises(BdganError, match="expected a share"):
        chest.labelled(10, share, 0)


def test_only_the_labelled_share_is_read(backbone):
    read = set()

    class Watched(list):
        def __getitem__(self, k):
            read.add(k)
            return super().__getitem__(k)

    train = Watched(CHESTS)
    found = chest.train_and_score(backbone, train, CHESTS[8:], replace(ON_CHESTS, share=0.25))
    assert found["labelled"] == 3 and read == set(chest.labelled(12, 0.25, 0))
