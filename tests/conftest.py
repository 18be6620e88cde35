"""Generators and data sets small enough to be made anew for every test run."""

import os

import hypothesis
import numpy as np
import pytest
import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, SelfAttn

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest, write_shard
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork

keep_freed_memory()  # as commands and notebooks do
hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several processes none waits for the last file: those with slow tests come first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)  # stable


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


CLASSES = ("robin", "blue jay", "größer mug")


def shapes(rng: np.random.Generator, k: int, height: int, width: int) -> np.ndarray:
    """Overlapping discs, rings and specks of label ids, some pixels unlabelled."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    for label in range(1, k):
        distance = np.hypot(y - rng.integers(4, height - 4), x - rng.integers(4, width - 4))
        mask[(distance < rng.integers(4, 8)) & (distance > rng.integers(0, 3))] = label
        mask[rng.integers(height), rng.integers(width)] = label
    mask[rng.random(mask.shape) < 0.02] = 255
    return mask


@pytest.fixture
def make_set(tmp_path):
    """make_set(k=2, count=11, **about): a set of k labels, three shards, in `tmp_path / "set"`."""

    def make(k: int = 2, count: int = 11, **about) -> ShardedSet:
        folder, rng, samples = tmp_path / "set", np.random.default_rng(k), []
        folder.mkdir()
        for n in range(count):
            height, width = 20 + n % 2, 26
            mask = shapes(rng, k, height, width)
            if n < 3:  # nothing; all of it; nobody knows
                mask[:] = (0, 1, 255)[n]
            class_id = n % len(CLASSES)
            image = rng.integers(0, 256, (height, width, 3), np.uint8)
            id = sample_id(CLASSES[class_id], n)
            told = {
                "class_name": CLASSES[class_id],
                "bdgan_lib": "0.1.0",
                "confidence": n / 4,
                "extra": {"ü": [n]},
            }
            samples.append((LabelledSample(image, mask, class_id, n, id), told))
        shards = [write_shard(folder / f"shard_{i:05d}.tar", samples[4 * i : 4 * i + 4]) for i in range(3)]
        write_manifest(folder / MANIFEST, shards, {"spec": {}, "classes": CLASSES, **about})
        return ShardedSet(folder)

    return make
