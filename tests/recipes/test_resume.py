"""A recipe that is cut off and started again ends with the weights of a run that nothing stopped."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_pretrained_biggan import BigGANConfig

from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.recipes import biggan as biggan_recipe
from bdgan_lib.recipes import common, pocket_biggan, pocket_classifier, vqgan
from bdgan_lib.training.supervised import FitConfig, seeded
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.pocket import render_set


@pytest.fixture
def biggan(monkeypatch):
    narrow = BigGANConfig.from_dict({**pocket_biggan.CONFIG.to_dict(), "channel_width": 4, "n_stats": 2})
    for name, value in {"CONFIG": narrow, "PAIRS": 48, "HELD_OUT": 24}.items():
        monkeypatch.setattr(pocket_biggan, name, value)
    monkeypatch.setattr(biggan_recipe, "SAVE_EVERY", 2)
    recipe = biggan_recipe.Recipe(warm_steps=3, adversarial_steps=4, batch_size=4)
    parts = ("generator", "average", "discriminator", "optimizer", "discriminator_optimizer")
    return partial(pocket_biggan.trainer_of, recipe, device="cpu"), "perceptual.pt", parts


@pytest.fixture
def augmented_biggan(biggan):
    trainer, features, parts = biggan
    recipe = replace(*trainer.args, random_latents=True, augment=True, batch_size=8)
    return partial(trainer.func, recipe, **trainer.keywords), features, parts


@pytest.fixture
def plain_vqgan(monkeypatch):
    small = VQGANConfig(codes=40, ch_mult=(1, 1, 1, 1), layers=1, width=16)
    monkeypatch.setattr(vqgan, "SAVE_EVERY", 2)
    scenes, features = render_set(60, 0), seeded(Classifier, 1).eval().requires_grad_(False)
    recipe = vqgan.Recipe(
        image_steps=5, image_batch=4, plain_steps=1, revive_every=2, code_steps=4, code_batch=4
    )
    data = scenes.images, scenes.class_ids, 48, features, small
    return partial(vqgan.VQGANTrainer, *data, recipe), "features.pt", ("network",)


@pytest.fixture
def adversarial_vqgan(plain_vqgan):
    trainer, features, _ = plain_vqgan
    *data, recipe = trainer.args
    recipe = replace(recipe, adversarial=0.3, adversarial_from=0.4)
    return partial(vqgan.VQGANTrainer, *data, recipe), features, ("network", "discriminator")


@pytest.fixture
def refined_vqgan(plain_vqgan):
    trainer, features, _ = plain_vqgan
    *data, recipe = trainer.args
    recipe = replace(recipe, decoder_steps=4, decoder_batch=16, decoder_samples=24)
    return partial(vqgan.VQGANTrainer, *data, recipe), features, ("network",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["biggan", "augmented_biggan", "plain_vqgan", "adversarial_vqgan", "refined_vqgan"]
)
def test_a_run_cut_off_in_every_stage_ends_with_the_same_weights(name, request, tmp_path, monkeypatch):
    (trainer, features, parts), add, taken = request.getfixturevalue(name), common.StepLog.add, []
    monkeypatch.setattr(common, "LOG_EVERY", 2)

    def counted(log, step, figures):
        taken.append((*log.stage, step))
        if taken[-1] in stops:
            stops.remove(taken[-1])
            raise KeyboardInterrupt
        add(log, step, figures)

    monkeypatch.setattr(common.StepLog, "add", counted)
    ends = []
    stages = [("images", 4), ("codes", 3), ("decoder", 3)][: 3 if "refined" in name else 2]
    for stops in ([], [(3,), (6,)] if "biggan" in name else stages):
        run = tmp_path / str(len(ends))
        run.mkdir()
        torch.save(seeded(Classifier, 1).state_dict(), run / features)
        for _ in range(len(stops)):
            with pytest.raises(KeyboardInterrupt):
                trainer(run=run).train()
        torch.manual_seed(len(ends))  # what the process drew before is nothing to a recipe
        whole = trainer(run=run)
        whole.train()
        ends.append({part: getattr(whole, part).state_dict() for part in parts})
    assert taken[-1][-1] == (7 if "biggan" in name else 4)
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=0, equal_nan=True)


def test_the_decoders_stage_follows_a_finished_run_and_changes_the_decoder_alone(
    plain_vqgan, refined_vqgan, tmp_path, monkeypatch
):
    taken = []
    monkeypatch.setattr(common.StepLog, "add", lambda log, step, figures: taken.append((*log.stage, step)))
    before, after = (trainer(run=tmp_path) for trainer, *_ in (plain_vqgan, refined_vqgan))
    before.train()
    taken.clear()
    after.train()
    assert taken == [("decoder", step) for step in range(1, 5)]
    old, new = before.network.state_dict(), after.network.state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_a_classifier_cut_off_before_the_oracle_starts_anew_and_ends_the_same(tmp_path, monkeypatch):
    for name in ("TRAIN", "TEST"):
        monkeypatch.setattr(pocket_classifier, name, replace(getattr(pocket_classifier, name), count=24))
    for name in ("CLASSIFIER", "ORACLE"):
        monkeypatch.setattr(pocket_classifier, name, FitConfig(steps=2, batch_size=4))
    monkeypatch.setattr("sys.argv", ["recipe", "--out", str(tmp_path / "whole"), "--workers", "1"])
    pocket_classifier.main()
    monkeypatch.setattr("sys.argv", ["recipe", "--out", str(tmp_path / "cut"), "--workers", "1"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pocket_classifier, "joint_labels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        pocket_classifier.main()
    torch.manual_seed(9)
    pocket_classifier.main()
    for name in ("classifier", "oracle"):
        whole, cut = (tmp_path / run / name / "model.safetensors" for run in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()
