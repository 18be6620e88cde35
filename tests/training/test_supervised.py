"""The training loop repeats itself and sees every image; prediction does not depend on the batch."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bdgan_lib.core import precision
from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.precision import bf16_is_fast
from bdgan_lib.downstream import compare
from bdgan_lib.downstream.compare import TrainingSetScore, _train_and_score, compare_training_sets
from bdgan_lib.heads.training import launch_fabric
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.training.file_logs import LogFolder
from bdgan_lib.training.supervised import FitConfig, epoch_batch, fit, predict, seeded
from benchmarks.training import plain_fit, plain_unet, unet

QUICK = FitConfig(steps=6, batch_size=4)


def network():
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1))


def data(count=10):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return images, (images[..., 0] > 127).astype(np.uint8)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()])


def fitted(config, seed=0):
    model = seeded(network, seed)
    loss = fit(model, *data(), config)
    return weights(model), loss


def test_the_same_seed_gives_the_same_weights():
    (one, loss), (again, loss_again) = fitted(QUICK), fitted(QUICK)
    assert torch.equal(one, again) and loss == loss_again
    assert not torch.equal(one, fitted(replace(QUICK, seed=1))[0])
    assert torch.equal(weights(seeded(network, 3)), weights(seeded(network, 3)))


def test_fabric_trains_the_same_network():
    model = seeded(network, 0)
    precision = "bf16-mixed" if bf16_is_fast("cpu") else "32-true"
    loss = fit(model, *data(), QUICK, fabric=launch_fabric(precision=precision))
    wanted, wanted_loss = fitted(QUICK)
    torch.testing.assert_close(weights(model), wanted, atol=1e-3, rtol=1e-3)
    assert loss == pytest.approx(wanted_loss, abs=1e-3)


def test_a_batch_without_a_label_has_no_loss_and_no_effect_on_the_others():
    model, (images, masks) = seeded(network, 0), data()
    masks[5:] = 255
    assert np.isfinite(fit(model, images, masks, replace(QUICK, steps=30, batch_size=1)))
    assert weights(model).isfinite().all()
    assert fit(model, images, np.full_like(masks, 255), QUICK) == 0


def test_the_loss_falls():
    assert fitted(replace(QUICK, steps=60, learning_rate=0.02))[1] < 0.8 * fitted(QUICK)[1]


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (5, 8), (3, 7)])
def test_an_epoch_shows_every_image_once(count, batch):
    config = replace(QUICK, batch_size=batch)
    seen = np.concatenate([epoch_batch(count, step, config) for step in range(2 * count)])
    epochs = seen[: len(seen) // count * count].reshape(-1, count)
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1, "each in its own order"


def test_unlabelled_pixels_teach_nothing():
    images, masks = data()
    results = []
    for hidden in (0, 200):  # the pictures differ only where nobody labelled
        model = seeded(lambda: nn.Conv2d(3, 3, 1), 0)
        shown, wanted = images.copy(), masks.copy()
        shown[:, 4:] = hidden
        wanted[:, 4:] = 255
        fit(model, shown, wanted, QUICK)
        results.append(weights(model))
    torch.testing.assert_close(*results)


def test_prediction_does_not_depend_on_the_batch_size():
    model, (images, _) = seeded(network, 0), data()
    whole = predict(model, images)
    assert whole.shape == (10, 3, 8, 8) and whole.dtype == torch.float32
    torch.testing.assert_close(predict(model, images, batch_size=3), whole, atol=2e-2, rtol=0)
    assert not model.training


def test_worth_scores_and_logs_every_set_with_every_seed(tmp_path, monkeypatch):
    # starting other processes takes seconds
    in_this_process = lambda function, jobs, workers: enumerate(map(function, jobs))
    monkeypatch.setattr(compare, "run_in_processes", in_this_process)
    images, masks = data()
    test = LabelledSet(images, masks)
    sets = {"all": test, "two": LabelledSet(images[:2], masks[:2])}
    logs = LogFolder("csv", tmp_path)
    found = compare_training_sets(sets, test, network, 3, QUICK, seeds=(0, 1), progress=False, logs=logs)
    assert [(w.name, w.images) for w in found] == [("all", 10), ("two", 2)]
    assert all(len(w.all_class) == len(w.fgbg) == 2 for w in found)
    for result in found:
        for seed, *scores in zip((0, 1), result.all_class, result.fgbg, strict=True):
            config = replace(QUICK, seed=seed)
            alone = _train_and_score((sets[result.name], test, network, 3, config, "cpu", None, ""))
            assert tuple(scores) == alone[:2], "each pair of set and seed by itself"
        labels = predict(result.network, images).argmax(1).numpy()
        assert mean_iou(labels, masks, 3) == result.all_class[0], "the network is the first seed's"
        for seed in ("0", "1"):
            log = (tmp_path / result.name / seed / "metrics.csv").read_text("utf-8").splitlines()
            assert len(log) == 1 + QUICK.steps


def test_unlabelled_test_pixels_do_not_score():
    images, masks = data()
    hidden = masks.copy()
    hidden[:, 4:] = 255
    examples, settings = LabelledSet(images, masks), (partial(nn.Conv2d, 3, 3, 1), 3, QUICK, "cpu", None, "")
    scores = lambda *test: _train_and_score((examples, LabelledSet(*test), *settings))[:2]
    assert scores(images[:, :4], masks[:, :4]) == pytest.approx(scores(images, hidden), abs=0.02)


def test_class_masks_name_the_class_where_there_is_foreground():
    masks = np.array([[[0, 1]], [[3, 255]]], np.uint8)
    assert class_masks(masks, np.array([0, 11])).tolist() == [[[0, 1]], [[12, 255]]]


def test_a_row_says_mean_and_deviation_over_the_seeds():
    row = TrainingSetScore("sim", 600, (0.5, 0.7), (0.8,), nn.Identity()).row()
    assert row["all-class mIoU"] == "0.600 ± 0.141"
    assert row["FG/BG mIoU"] == "0.800 ± 0.000"


@pytest.mark.parametrize("in_bfloat16", [False, True])
def test_losses_and_weights_are_those_of_the_plain_loop(monkeypatch, in_bfloat16):
    if in_bfloat16 and not bf16_is_fast("cpu"):
        pytest.skip("this CPU does not compute with bfloat16")
    monkeypatch.setattr(precision, "bf16_is_fast", lambda device: in_bfloat16)
    noise, config = np.random.default_rng(0), FitConfig(steps=8, batch_size=6, learning_rate=1e-3)
    images = noise.integers(0, 256, (16, 32, 32, 3), np.uint8)
    masks = (images[..., 0] > 127).astype(np.uint8)
    masks[:, :5] = 255
    plain, present = plain_unet(), unet()
    assert fit(present, images, masks, config) == plain_fit(plain, images, masks, config)
    assert torch.equal(weights(plain), weights(present))
