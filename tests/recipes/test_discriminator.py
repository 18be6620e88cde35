"""The training form is the package's BigGAN with batch statistics; its filled tables bring it back."""

from copy import deepcopy

import pytest
import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig

from bdgan_lib.recipes.discriminator import Discriminator, TrainingForm

SIZES = {"output_dim": 32, "z_dim": 8, "class_embed_dim": 8, "channel_width": 8, "num_classes": 3}
LAYERS = [(True, 16, 8), (True, 8, 4), (True, 4, 2), (False, 2, 1)]
CONFIG = BigGANConfig(**SIZES, layers=LAYERS, attention_layer_position=2, eps=1e-4, n_stats=3)
Z, IDS = torch.randn(36, 8, generator=torch.Generator().manual_seed(0)), torch.arange(36) % 3


@pytest.fixture
def form():
    torch.manual_seed(0)
    made = TrainingForm(CONFIG).train()
    with torch.no_grad():
        for _ in range(5):  # the power iteration of spectral norm
            made(Z[:6], IDS[:6])
    return made.eval()


def package(form):
    model = BigGAN(CONFIG)
    model.load_state_dict(form.model.state_dict())  # strict: the keys are the package's own
    return model.eval()


def test_the_state_is_the_package_s(form):
    assert form.model.state_dict().keys() == BigGAN(CONFIG).state_dict().keys()
    assert {f"model.{key}" for key in BigGAN(CONFIG).state_dict()} == form.state_dict().keys()


@torch.no_grad()
def test_filled_tables_bring_batch_statistics_back(form):
    form.fill_tables(IDS, Z, batch=36)
    model = package(form)
    for truncation in (0.5, 1.0):
        trained = form(Z * truncation, IDS)
        theirs = model(Z * truncation, torch.eye(3)[IDS], truncation)
        assert trained.std() > 0.05
        assert (trained - theirs).abs().mean() < 0.1 * trained.std()  # bfloat16 against float32


@torch.no_grad()
def test_an_unfinished_batch_counts_as_much_as_it_holds(form):
    """The first norm reads what no norm has touched, so the split into batches must not matter there."""
    first, tables = form.norms[0], []
    for batch in (36, 16):
        form.fill_tables(IDS, Z, batch=batch)
        tables.append((first.running_means.clone(), first.running_vars.clone()))
    for whole, split in zip(*tables, strict=True):
        torch.testing.assert_close(split, whole, atol=1e-4, rtol=1e-3)


def test_every_parameter_learns(form):
    form.train()
    form(Z[:8], IDS[:8]).square().mean().backward()
    idle = {name for name, p in form.model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    # attention starts at gamma = 0, so what stands behind it moves only after gamma has
    assert all("snconv1x1" in name or "scale" in name or "bn_" in name for name in idle), idle


def test_a_copy_runs_on_its_own_weights(form):
    copy = deepcopy(form)
    with torch.no_grad():
        for norm in form.norms:
            if norm.conditional:
                norm.offset.weight_orig.fill_(float("nan"))
    assert torch.isfinite(copy(Z[:4], IDS[:4])).all()


def test_the_discriminator_sees_the_class_and_the_spread_of_its_group():
    torch.manual_seed(0)
    judge = Discriminator(3, width=8)
    images = torch.randn(8, 3, 64, 64).clamp(-1, 1)
    with torch.no_grad():
        for _ in range(5):
            judge(images, torch.zeros(8, dtype=torch.int64))
        judge.eval()
        scores = judge(images, torch.zeros(8, dtype=torch.int64))
        assert scores.shape == (8,)
        assert not torch.allclose(scores, judge(images, torch.ones(8, dtype=torch.int64)))
        twins = images.clone()
        twins[1:4] = images[0]  # the first picture stays; its neighbours are copies of it
        changed = judge(twins, torch.zeros(8, dtype=torch.int64))
        assert abs(changed[0] - scores[0]) > 1e-4
        torch.testing.assert_close(changed[4:], scores[4:], atol=1e-2, rtol=1e-2)
