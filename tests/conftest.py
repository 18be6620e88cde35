"""Generators small enough to be made anew for every test run."""

import pytest
import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, SelfAttn

from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork

SETTINGS = {
    "output_dim": 32,
    "z_dim": 8,
    "class_embed_dim": 8,
    "channel_width": 4,
    "num_classes": 12,
    "layers": [(False, 16, 16), (True, 16, 8), (True, 8, 4), (True, 4, 2), (False, 2, 1)],
    "attention_layer_position": 3,
    "eps": 1e-4,
    "n_stats": 51,
}

TINY = VQGANConfig(
    resolution=32, num_classes=3, codes=40, code_dim=6, z_channels=32, ch=32, ch_mult=(1, 1, 1, 1),
    attention=(4,), layers=4, heads=2, width=16,
)  # fmt: skip


@pytest.fixture
def biggan() -> BigGAN:
    """A BigGAN-deep of the package, fresh weights, every row of its statistics another; in eval mode."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = BigGAN(BigGANConfig.from_dict(SETTINGS))
        model.generator.bn.weight.fill_(1.0)  # the package leaves these uninitialised
        model.generator.bn.bias.zero_()
        for module in model.modules():
            if isinstance(module, SelfAttn):
                module.gamma.fill_(0.5)
            if isinstance(module, BigGANBatchNorm):
                module.running_means.normal_(0, 0.3)
                module.running_vars.uniform_(0.5, 1.5)
        model.train()
        for _ in range(5):  # the power iteration of spectral norm
            model(torch.randn(2, 8), torch.eye(12)[:2], 1.0)
    return model.eval()


@pytest.fixture
def vqgan() -> VQGAN:
    """A VQGAN of 32 pixels and 4 x 4 codes with random weights that make themselves felt."""
    pytest.importorskip("taming")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = VQGANNetwork(TINY)
        for x in network.transformer.parameters():
            x.normal_(0, 0.3)
        network.quantize.embedding.weight.normal_(0, 0.3)
        network.decoder.conv_out.weight.mul_(3)
    return VQGAN(network, "tiny VQGAN", ("robin", "mug", "saw"), "0" * 64)
