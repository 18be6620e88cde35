"""Pre-training repeats itself, goes on where it stopped, notices collapse, and says what it cannot do."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from bdgan_lib.core.labelled_arrays import LabelledSet
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.pretraining import training
from bdgan_lib.downstream.pretraining.branch import Branch, BranchConfig, labelled_views
from bdgan_lib.downstream.pretraining.files import load_pretrained
from bdgan_lib.downstream.pretraining.learner import Learner
from bdgan_lib.downstream.pretraining.quality import (
    deviation,
    effective_rank,
    knn_accuracy,
    linear_accuracy,
    pooled_features,
)
from bdgan_lib.downstream.pretraining.training import METHODS, PretrainConfig, pretrain
from bdgan_lib.downstream.pretraining.views import ViewConfig

SMALL = replace(ViewConfig(), side=16)
QUICK = PretrainConfig(steps=6, batch_size=8, views=SMALL, save_every=2)


@cache
def data(count=24):
    """Blobs of three colours: something to tell apart."""
    noise = np.random.default_rng(0)
    ids = np.arange(count) % 3
    images = noise.integers(0, 100, (count, 24, 24, 3), np.uint8)
    images[np.arange(count), 6:18, 6:18, ids] += 150
    return images, ids


def branch(weight=1.0, count=10):
    images, ids = data()
    masks = np.zeros(images.shape[:3], np.uint8)
    masks[:, 6:18, 6:18] = ids[:, None, None] + 1
    config = BranchConfig(4, weight, batch_size=4, views=replace(SMALL, smallest=0.5))
    return Branch(LabelledSet(images[:count], masks[:count]), config)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(method, tmp_path):
    whole = pretrain(method, *data(), QUICK)
    path, (images, ids) = tmp_path / "checkpoint.pt", data()
    _stop_early(path, {"method": method, "images": images, "class_ids": ids, "config": QUICK}, step=5)
    assert path.exists()
    torch.manual_seed(123)  # what the process drew before does not matter
    resumed = pretrain(method, *data(), QUICK, checkpoint=path)
    assert equal(whole.state, resumed.state) and whole.record["losses"] == resumed.record["losses"]
    assert not path.exists()


def test_the_seed_decides_and_another_training_has_another_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    one = pretrain("simclr", *data(), QUICK)
    assert not equal(one.state, pretrain("simclr", *data(), replace(QUICK, seed=1)).state)
    for stop in ({"method": "byol"}, {"config": replace(QUICK, batch_size=9)}, {"images": data(27)[0]}):
        arguments = {"method": "simclr", "images": data()[0], "config": QUICK}
        _stop_early(path, arguments)
        with pytest.raises(BdganError, match="of another training"):
            pretrain(**{**arguments, **stop}, checkpoint=path)
        path.unlink()


def _stop_early(path, arguments, step=4):
    def stops(*batch):
        if batch[3] == step:
            raise Stopped
        return real(*batch)

    with pytest.MonkeyPatch.context() as patch:
        real = training._batch
        patch.setattr(training, "_batch", stops)
        with pytest.raises(Stopped):
            pretrain(**arguments, checkpoint=path)


@pytest.mark.parametrize("method", ["simclr", "byol", "densecl"])
def test_a_branch_without_weight_changes_no_bit(method):
    plain = pretrain(method, *data(), QUICK)
    assert equal(plain.state, pretrain(method, *data(), QUICK, branch=branch(0.0)).state)
    joined = pretrain(method, *data(), QUICK, branch=branch(1.0))
    assert not equal(plain.state, joined.state)
    assert joined.record["branch"]["weight"] == 1.0


@pytest.mark.parametrize("method", ["random", "supervised", "moco-v2", "vader"])
def test_a_branch_joins_a_method_and_is_resumed_with_it(method, tmp_path):
    whole = pretrain(method, *data(), QUICK, branch=branch())
    path = tmp_path / "checkpoint.pt"
    images, ids = data()
    arguments = {"method": method, "images": images, "class_ids": ids, "config": QUICK, "branch": branch()}
    _stop_early(path, arguments)
    assert equal(whole.state, pretrain(**arguments, checkpoint=path).state)


def test_the_branchs_loss_is_the_methods_plus_lambda_times_cross_entropy():
    once = lambda weight: pretrain("simclr", *data(), replace(QUICK, steps=1), branch=branch(weight))
    none, one, three = (once(weight).record["losses"][0] for weight in (0.0, 1.0, 3.0))
    assert one > none
    assert three - none == pytest.approx(3 * (one - none), abs=1e-3)


def test_labels_move_with_their_images():
    images, _ = data()
    masks = (np.random.default_rng(0).random((24, 6, 6)) < 0.5).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    masks[:, :4] = 255
    examples = LabelledSet(np.where(masks[..., None] == 1, 255, images // 3).astype(np.uint8), masks)
    config = BranchConfig(2, batch_size=40, views=replace(ViewConfig(), side=48, smallest=0.3, blur=0.0))
    views, labels = labelled_views(examples, config, torch.Generator().manual_seed(0))
    assert set(labels.unique().tolist()) == {0, 1, 255}
    bright, known = views.mean(1) > -0.1, labels != 255
    assert (bright == (labels == 1))[known].float().mean() > 0.93, "but for edges"
    wrong = labels.flip(2)
    assert (bright == (wrong == 1))[wrong != 255].float().mean() < 0.7


def test_unlabelled_pixels_alone_give_no_loss():
    hidden = branch()
    hidden.training_set.masks[:] = 255
    assert pretrain("random", *data(), QUICK, branch=hidden).record["losses"] == [0.0] * 6


def test_random_is_the_networks_own_initialisation_and_every_method_starts_from_it():
    found = pretrain("random", *data(), QUICK)
    assert found.record["losses"] == []
    for method in METHODS:
        learner = training.build_learner(method, QUICK, 3)
        assert equal(found.state, learner.backbone.state_dict()), method


def test_methods_without_labels_never_read_them():
    images, ids = data()
    assert equal(pretrain("simclr", images, None, QUICK).state, pretrain("simclr", images, ids, QUICK).state)


def test_collapse_is_noticed(monkeypatch):
    class Collapse(Learner):
        def __init__(self, backbone):
            super().__init__(backbone)
            torch.nn.init.zeros_(backbone.layer4[0].bn2.weight)
            torch.nn.init.zeros_(backbone.layer4[0].downsample[1].weight)
            torch.nn.init.ones_(backbone.layer4[0].bn2.bias)

    monkeypatch.setattr(training, "build_learner", lambda *_: Collapse(training.build_backbone("pocket-10")))
    found = pretrain("random", *data(), QUICK)
    assert found.collapsed and found.record["deviation"] < 1e-3
    monkeypatch.undo()
    assert not pretrain("random", *data(), QUICK).collapsed


def test_divergence_is_an_error_that_names_the_rate():
    with pytest.raises(BdganError, match=r"the loss is .* lower learning_rate"):
        pretrain("simclr", *data(), replace(QUICK, steps=40, learning_rate=1e30))


def test_deviation_and_rank_of_known_features():
    same, axes = torch.ones(20, 4), torch.eye(4).repeat(5, 1)
    assert deviation(same) == pytest.approx(0, abs=1e-3)
    assert deviation(torch.cat([axes, -axes])) == pytest.approx(1)
    assert effective_rank(axes) == pytest.approx(3, rel=1e-4), "four points span three directions"
    line = torch.linspace(-1, 1, 20)[:, None] * torch.tensor([[0.01, 0.0]]) + torch.tensor([[0.0, 1.0]])
    assert effective_rank(line) == pytest.approx(1, abs=0.01)


def test_probes_read_separable_features_and_no_noise():
    noise = torch.Generator().manual_seed(0)
    ids = np.arange(300) % 3
    apart = torch.randn(300, 8, generator=noise) * 0.2
    apart[torch.arange(300), torch.from_numpy(ids)] += 2
    nothing = torch.randn(300, 8, generator=noise)
    for probe in (knn_accuracy, linear_accuracy):
        assert probe(apart[:200], ids[:200], apart[200:], ids[200:]) > 0.97
        assert probe(nothing[:200], ids[:200], nothing[200:], ids[200:]) < 0.55


def test_a_saved_backbone_comes_back_and_a_damaged_one_does_not(tmp_path):
    found = pretrain("simclr", *data(), QUICK)
    found.save(tmp_path / "a")
    again = load_pretrained(tmp_path / "a")
    assert equal(found.state, again.state)
    assert again.record["losses"] == found.record["losses"] and not again.collapsed
    features = pooled_features(again.backbone(), data()[0], batch_size=5)
    torch.testing.assert_close(features, pooled_features(found.backbone(), data()[0]), atol=2e-2, rtol=0)
    path = tmp_path / "a" / "backbone.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BdganError, match="damaged"):
        load_pretrained(tmp_path / "a")
    path.write_bytes(b"no")
    with pytest.raises(BdganError, match="not a readable"):
        load_pretrained(tmp_path / "a")
    path.unlink()
    with pytest.raises(BdganError, match=r"backbone\.safetensors is missing"):
        load_pretrained(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "swav"}, "simclr.*'swav'"),
        ({"method": "supcon", "class_ids": None}, "supcon learns from class ids.*got none"),
        ({"method": "supervised", "class_ids": np.zeros(3, int)}, r"one per image.*\[3\]"),
        ({"method": "supervised", "class_ids": np.full(24, -1)}, "least -1"),
        ({"images": np.zeros((24, 24, 24, 3))}, "float64"),
        ({"images": np.zeros((3, 24, 24, 3), np.uint8)}, "8 or more"),
        ({"config": replace(QUICK, steps=0)}, "steps from 1 .*got 0"),
        ({"config": replace(QUICK, backbone="vgg")}, "'vgg'"),
    ],
)
def test_bad_input_is_named(change, message):
    images, ids = data()
    arguments = {"method": "simclr", "images": images, "class_ids": ids, "config": QUICK, **change}
    with pytest.raises(BdganError, match=message):
        pretrain(**arguments)


@pytest.mark.parametrize(
    ("labels", "weight", "message"),
    [(2, 1.0, "expected labels 0 to 1 or 255, got 2"), (4, -1.0, "-1.0"), (4, float("nan"), "nan")],
)
def test_a_bad_branch_is_named(labels, weight, message):
    examples = branch().training_set
    with pytest.raises(BdganError, match=message):
        Branch(examples, BranchConfig(labels, weight))
    with pytest.raises(BdganError, match="a mask for each"):
        Branch(LabelledSet(examples.images, examples.masks[:3]), BranchConfig(4))
