"""COCO's average precision of findings made by hand, and against another's use of it."""

import numpy as np
import pytest
import torch

from bdgan_lib.core.labelled_arrays import Detected
from bdgan_lib.core.types import BdganError
from bdgan_lib.metrics.detection import AveragePrecision, Detections

SIDE = 60


def filled(boxes):
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (left, top, right, bottom) in zip(masks, np.asarray(boxes, int), strict=True):
        mask[top:bottom, left:right] = True
    return masks


def target(boxes, class_ids, ignored=None):
    return Detected(
        np.zeros((SIDE, SIDE, 3), np.uint8), np.array(boxes, np.float32).reshape(-1, 4),
        np.array(class_ids, np.int64), filled(boxes), np.array(ignored or [False] * len(boxes), bool),
    )  # fmt: skip


def predictions(boxes, class_ids, scores):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int64),
        np.array(scores, np.float32), filled(boxes),
    )  # fmt: skip


def scores(*pairs, classes=2):
    metric = AveragePrecision(classes, masks=True)
    for pair in pairs:
        metric.add(*pair)
    return metric.scores()


BOXES, CLASSES = [(0, 0, 20, 20), (30, 30, 50, 45)], [0, 1]
TRUTH, FOUND = target(BOXES, CLASSES), predictions(BOXES, CLASSES, [0.9, 0.8])


def test_perfect_findings_score_one(capfd):
    got = scores((TRUTH, FOUND))
    assert set(got) == {f"{ap}_{kind}" for ap in ("ap", "ap50", "ap75") for kind in ("box", "mask")}
    assert all(value == pytest.approx(1) for value in got.values())
    assert capfd.readouterr() == ("", ""), "pycocotools is kept silent"


def test_no_findings_score_nothing_and_nothing_to_find_no_score():
    assert set(scores((TRUTH, predictions([], [], []))).values()) == {0.0}
    assert np.isnan([*scores((target([], []), FOUND)).values()]).all()


@pytest.mark.parametrize(("shift", "thresholds"), [(1, 9), (3, 5), (5, 3), (7, 0), (12, 0)])
def test_a_shifted_box_passes_the_thresholds_below_its_iou(shift, thresholds):
    moved = [(left + shift, top, right + shift, bottom) for left, top, right, bottom in BOXES[:1]]
    iou = (20 - shift) / (20 + shift)
    assert thresholds == sum(iou >= 0.5 + 0.05 * k for k in range(10)), "the case itself"
    got = scores((target(BOXES[:1], [0]), predictions(moved, [0], [0.9])))
    assert got["ap_box"] == pytest.approx(thresholds / 10) == got["ap_mask"]
    assert [got["ap50_box"], got["ap75_box"]] == pytest.approx([float(iou >= 0.5), float(iou >= 0.75)])


def test_another_class_is_a_miss():
    assert scores((TRUTH, predictions(BOXES, [1, 0], [0.9, 0.8])))["ap_box"] == 0


def test_a_surer_wrong_finding_costs_and_a_less_sure_one_does_not():
    wrong = (40, 0, 55, 20)
    costs = scores((target(BOXES[:1], [0]), predictions([BOXES[0], wrong], [0, 0], [0.8, 0.9])))
    free = scores((target(BOXES[:1], [0]), predictions([BOXES[0], wrong], [0, 0], [0.9, 0.8])))
    assert costs["ap_box"] == pytest.approx(0.5) and free["ap_box"] == pytest.approx(1)


def test_what_is_ignored_counts_neither_way():
    truth = target(BOXES, [0, 0], [False, True])
    both, one = predictions(BOXES, [0, 0], [0.8, 0.9]), predictions(BOXES[:1], [0], [0.8])
    assert scores((truth, both)) == scores((truth, one))
    assert scores((truth, one))["ap_box"] == pytest.approx(1)


def test_findings_of_one_image_are_none_of_another():
    assert scores((TRUTH, predictions([], [], [])), (target([], []), FOUND))["ap_box"] == 0


def test_torchmetrics_agrees():
    metrics = pytest.importorskip("torchmetrics.detection")
    theirs = metrics.MeanAveragePrecision(
        iou_type=("bbox", "segm"),  # its own thresholds are rounded: an overlap of 0.6 would not reach 0.6
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(12):
        corners = rng.integers(0, 30, (4, 2))
        truth = np.concatenate([corners, corners + rng.integers(8, 28, (4, 2))], 1)
        guess = np.clip(truth[rng.integers(0, 4, 6)] + rng.integers(-4, 5, (6, 4)), 0, SIDE)
        classes = rng.integers(0, 3, 4)
        one = target(truth, classes)
        other = predictions(guess, rng.choice(classes, 6), rng.random(6))
        pairs.append((one, other))
        theirs.update(
            [{"boxes": torch.from_numpy(other.boxes), "labels": torch.from_numpy(other.class_ids),
              "scores": torch.from_numpy(other.scores), "masks": torch.from_numpy(other.masks)}],
            [{"boxes": torch.from_numpy(one.boxes), "labels": torch.from_numpy(one.class_ids),
              "masks": torch.from_numpy(one.masks)}],
        )  # fmt: skip
    got, reference = scores(*pairs, classes=3), theirs.compute()
    assert 0.05 < got["ap_box"] < 0.95
    for ours, name in (("ap", "map"), ("ap50", "map_50"), ("ap75", "map_75")):
        assert got[f"{ours}_box"] == pytest.approx(float(reference[f"bbox_{name}"]), abs=1e-6)
        assert got[f"{ours}_mask"] == pytest.approx(float(reference[f"segm_{name}"]), abs=1e-6)


def test_boxes_alone_are_scored_where_nobody_outlined():
    metric = AveragePrecision(2, masks=False)
    metric.add(Detected(TRUTH.image, TRUTH.boxes, TRUTH.class_ids, None, TRUTH.ignored),
              Detections(TRUTH.boxes, TRUTH.class_ids, np.float32([0.9, 0.8])))  # fmt: skip
    assert set(metric.scores()) == {"ap_box", "ap50_box", "ap75_box"}


@pytest.mark.parametrize(("truth", "guess", "why"), [
    (target(BOXES, [0, 2]), predictions([], [], []), "expected class 0 to 1, got 2"),
    (TRUTH, predictions(BOXES, [0, -1], [1, 1]), "expected class 0 to 1, got -1"),
    (TRUTH, predictions(BOXES, [0, 1], [1]), "2 boxes and 1 scores"),
    (TRUTH, Detections(TRUTH.boxes, TRUTH.class_ids, np.float32([1, 1])), "image 1 has no masks"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(truth, guess, why):
    with pytest.raises(BdganError, match=why):
        scores((truth, guess))
