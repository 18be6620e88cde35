"""Losses against plainly written ones, momentum encoders against their definition, and what queues hold."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss, NTXentLoss

from bdgan_lib.downstream.pretraining.contrastive import in_batch, supcon
from bdgan_lib.downstream.pretraining.dense import against_queue, shared_points
from bdgan_lib.downstream.pretraining.learner import Batch, cosine_momentum, shuffle_batch_norm
from bdgan_lib.downstream.pretraining.training import METHODS, PretrainConfig, build_learner
from bdgan_lib.downstream.pretraining.views import ViewConfig, draw_views, identity

CONFIG = PretrainConfig(batch_size=8, views=replace(ViewConfig(), side=32))
WITH_MOMENTUM = ("moco-v2", "moco-v3", "byol", "densecl", "dino", "vader")


def batch(seed=0, count=8):
    stream = torch.Generator().manual_seed(seed)
    images = 2 * torch.rand(count, 3, 32, 32, generator=stream) - 1
    views = draw_views(images.repeat(2, 1, 1, 1), CONFIG.views, stream)
    ids = torch.arange(count) % 3
    return Batch(views.images.unflatten(0, (2, -1)), views.frames.unflatten(0, (2, -1)), ids, stream)


def vectors(count, seed=0):
    return F.normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)))


def pair_loss(anchor, positive, others, temperature):
    """-log of the positive's share, one anchor at a time, as the papers write it."""
    own, *rest = (math.exp((anchor @ x).item() / temperature) for x in (positive, *others))
    return -math.log(own / (own + sum(rest)))


def test_simclrs_loss_is_the_mean_over_all_2n_anchors():
    a, b = vectors(5), vectors(5, 1)
    z = torch.cat([a, b])
    others = lambda *pair: [z[j] for j in range(10) if j not in pair]
    losses = [pair_loss(z[i], z[(i + 5) % 10], others(i, (i + 5) % 10), 0.2) for i in range(10)]
    assert NTXentLoss(0.2)(a, b).item() == pytest.approx(sum(losses) / 10, rel=1e-5)


def test_mocos_loss_has_the_queue_as_negatives_and_then_holds_the_keys():
    criterion = NTXentLoss(0.2, memory_bank_size=(6, 16))
    queue = criterion.memory_bank.bank.clone()
    q, k = vectors(4).requires_grad_(), vectors(4, 1)
    losses = [pair_loss(q[i], k[i], queue, 0.2) for i in range(4)]
    assert criterion(q, k).item() == pytest.approx(sum(losses) / 4, rel=1e-5)
    torch.testing.assert_close(criterion.memory_bank.bank[:4], k)
    assert against_queue(q, k, queue.T, 0.2).item() == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_supcons_loss_is_equation_2_of_the_paper():
    z, ids = vectors(7), torch.tensor([0, 0, 1, 1, 1, 2, 2])
    losses = []
    for i in range(7):
        positives = [p for p in range(7) if p != i and ids[p] == ids[i]]
        each = [pair_loss(z[i], z[p], [z[a] for a in range(7) if a not in (i, p)], 0.1) for p in positives]
        losses.append(sum(each) / len(each))
    assert supcon(z, ids, 0.1).item() == pytest.approx(sum(losses) / 7, rel=1e-5)


def test_with_a_class_of_its_own_for_every_image_supcon_is_simclr():
    a, b = vectors(5), vectors(5, 1)
    found = supcon(torch.cat([a, b]), torch.arange(5).repeat(2), 0.2)
    torch.testing.assert_close(found, NTXentLoss(0.2)(a, b))


def test_mocov3s_loss_has_the_batchs_other_keys_as_negatives():
    q, k = vectors(5), vectors(5, 1)
    losses = [pair_loss(q[i], k[i], [k[j] for j in range(5) if j != i], 0.2) for i in range(5)]
    assert in_batch(3 * q, 2 * k, 0.2).item() == pytest.approx(2 * 0.2 * sum(losses) / 5, rel=1e-5)


def test_dinos_loss_is_cross_entropy_with_the_other_views_sharpened_teacher():
    teacher, student = [vectors(4, s) for s in (0, 1)], [vectors(4, s) for s in (2, 3)]
    cross_entropy = lambda t, s: -((t / 0.04).softmax(1) * (s / 0.1).log_softmax(1)).sum(1).mean()
    wanted = [cross_entropy(teacher[k], student[1 - k]) for k in (0, 1)]
    torch.testing.assert_close(DINOLoss(16)(teacher, student), sum(wanted) / 2)


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_few_steps_lower_the_loss_of_a_batch(method):
    learner = build_learner(method, CONFIG, 3).train()
    weights = [p for p in learner.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, 3e-3)
    losses = []
    for _ in range(12):
        losses.append(learner.loss(batch()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
        learner.update_momentum(0.5)
    if method in ("moco-v2", "densecl", "vader"):  # the queue fills with the batch's own keys: a moving goal
        losses = losses[2:]
        assert torch.stack(losses).isfinite().all()
    else:
        assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in learner.backbone.parameters())


@pytest.mark.parametrize("method", WITH_MOMENTUM)
def test_a_momentum_encoder_starts_as_a_copy_and_is_the_moving_average_it_says(method):
    learner = build_learner(method, CONFIG)
    names = [name for name, _ in learner.encoder.named_parameters()]
    before = {name: learner.momentum_encoder.get_parameter(name).clone() for name in names}
    assert all(torch.equal(before[name], learner.encoder.get_parameter(name)) for name in names)
    with torch.no_grad():
        for p in learner.encoder.parameters():
            p.add_(torch.randn_like(p))
    learner.loss(batch()).backward()
    assert all(p.grad is None for p in learner.momentum_encoder.parameters()), "no gradient reaches it"
    learner.update_momentum(0.25)
    constant = method in ("moco-v2", "densecl", "vader")
    start = learner.momentum
    m = start if constant else 1 - (1 - start) * (math.cos(math.pi / 4) + 1) / 2
    for name in names:
        wanted = m * before[name] + (1 - m) * learner.encoder.get_parameter(name)
        torch.testing.assert_close(learner.momentum_encoder.get_parameter(name), wanted.detach())


def test_momentum_rises_from_its_start_to_one():
    assert cosine_momentum(0.9, 0) == pytest.approx(0.9) and cosine_momentum(0.9, 1) == 1
    assert cosine_momentum(0.9, 0.2) < cosine_momentum(0.9, 0.7)


def test_groups_are_put_back_in_order():
    x = torch.arange(10.0)[:, None]
    sizes = []

    def encode(part, other):
        sizes.append(len(part))
        return part * 2, other

    found = shuffle_batch_norm(encode, torch.Generator().manual_seed(0), x, -x)
    assert torch.equal(found[0], 2 * x) and torch.equal(found[1], -x)
    assert len(sizes) == 4


def test_shared_points_show_the_same_place_in_both_views():
    """The views are crops of one ramp, on which a colour is a place."""
    y, x = torch.meshgrid(*(torch.arange(0.5, 64) / 32 - 1,) * 2, indexing="ij")
    ramp = torch.stack([x, y, 0 * x]).expand(16, 3, 64, 64)
    crops = replace(identity(64), smallest=0.3, stretch=4 / 3, flip=0.5)
    views = draw_views(ramp, crops, torch.Generator().manual_seed(0))
    images = views.images.unflatten(0, (2, -1))
    found = shared_points(views.frames.unflatten(0, (2, -1)), 50, torch.Generator().manual_seed(1))
    here, there, shared = found
    assert 0.2 < shared.float().mean() < 0.95
    inside = shared & (here.abs() < 0.95).all(-1) & (there.abs() < 0.95).all(-1)
    read = lambda x, at: F.grid_sample(x, at[:, :, None], align_corners=False)[..., 0].mT[inside]
    seen, other = read(images.flatten(0, 1), here), read(images.flip(0).flatten(0, 1), there)
    torch.testing.assert_close(seen, other, atol=0.01, rtol=0)
    assert inside.sum() > 200
