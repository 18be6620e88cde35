"""Segmenters answer at full size for every backbone and head, learn, and say what does not fit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import BACKBONES, build_backbone
from bdgan_lib.downstream.segmentation import HEADS, segmenter
from bdgan_lib.training.supervised import FitConfig, fit, predict


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", BACKBONES)
def test_logits_have_the_images_size(name, head):
    with torch.device("meta"):
        network = segmenter(build_backbone(name), 5, head)
    for height, width in ((64, 96), (61, 83)):
        images = torch.empty(2, 3, height, width, device="meta")
        assert network(images).shape == (2, 5, height, width)


@pytest.mark.parametrize("head", HEADS)
def test_every_weight_learns(head):
    torch.manual_seed(0)
    network = segmenter(build_backbone("pocket-10"), 3, head).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_a_split_of_colours_is_learned():
    images = np.random.default_rng(0).integers(0, 60, (16, 32, 32, 3), np.uint8)
    masks = np.zeros((16, 32, 32), np.uint8)
    images[:, 8:24, 4:20, 0] += 180
    masks[:, 8:24, 4:20] = 1
    torch.manual_seed(0)
    network = segmenter(build_backbone("pocket-10"), 2)
    fit(network, images, masks, FitConfig(steps=25, batch_size=8))
    assert (predict(network, images).argmax(1).numpy() == masks).mean() > 0.97


def test_what_does_not_fit_is_said():
    with pytest.raises(BdganError, match=r"deeplabv3.*'mlp'"):
        segmenter(build_backbone("pocket-10"), 2, "mlp")
    with pytest.raises(BdganError, match="labels, got 1"):
        segmenter(build_backbone("pocket-10"), 1)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(32, 32), (32, 48), (29, 35)])
def test_the_loss_is_the_cross_entropy_of_the_logits_and_so_are_its_gradients(head, size):
    torch.manual_seed(0)
    network = segmenter(build_backbone("pocket-10"), 3, head).train()
    images, targets = torch.rand(2, 3, *size) * 2 - 1, torch.randint(0, 3, (2, *size))
    targets[:, 3:9] = 255
    losses, gradients = [], []
    for by_logits in (True, False):
        torch.manual_seed(1)  # of the dropout
        network.zero_grad()
        if by_logits:
            loss = F.cross_entropy(network(images), targets, ignore_index=255)
        else:
            loss = network.loss(images, targets)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()
