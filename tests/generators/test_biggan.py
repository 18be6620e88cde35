"""BigGAN: the published sizes, the order of operations by an independent reference, a sample's laws."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork
from bdgan_lib.heads.training_data import collect_training_data


def network(resolution=128, width=4):
    torch.manual_seed(0)
    model = BigGANNetwork(BigGANConfig(resolution, num_classes=5, width=width * 2, embedding=6)).eval()
    for name, buffer in model.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.7)
    return model


@pytest.mark.parametrize(
    ("resolution", "z_dim", "attention", "weights"),
    [(128, 120, 64, 70.3e6), (256, 140, 128, 82.5e6), (512, 128, 64, 82.1e6)],
)
def test_the_published_sizes(resolution, z_dim, attention, weights):
    with torch.device("meta"):
        model = BigGANNetwork(BigGANConfig(resolution))
    count = sum(p.numel() for p in model.parameters())
    generator = BigGAN(model, "random", [str(i) for i in range(1000)], "0" * 64, "meta")
    assert model.z_dim == z_dim and generator.image_size == resolution
    assert generator.blocks["attention"][1] == attention
    assert abs(count - weights) < 0.05 * weights


def test_at_512_the_release_s_groups_hold_3072_960_and_192_channels():
    from bdgan_lib.generators.hooks import group_blocks

    with torch.device("meta"):
        generator = BigGAN(BigGANNetwork(BigGANConfig()), "random", range(1000), "0" * 64, "meta")
    groups = group_blocks(generator.blocks)
    assert [sum(generator.blocks[b][0] for b in group) for group in groups] == [3072, 960, 192]


@pytest.mark.parametrize("resolution", [128, 256, 512])
@torch.no_grad()
def test_the_order_of_operations(resolution):
    """Upsampling before the shortcut's convolution, attention by its formula, as published."""
    model = network(resolution)
    z, ids = torch.randn(2, model.z_dim), torch.tensor([0, 4])
    part = {128: 20, 256: 20, 512: 16}[resolution]  # as the paper splits z
    y, (first, *rest) = model.shared(ids), z.split(part, 1)

    def norm(layer, x, condition):
        h = F.batch_norm(x, layer.stored_mean, layer.stored_var, eps=1e-4)
        gain, bias = 1 + layer.gain(condition), layer.bias(condition)
        return h * gain[..., None, None] + bias[..., None, None]

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = model.linear(first).view(2, -1, 4, 4)
    for layers, part in zip(model.blocks, rest):
        condition, block = torch.cat([y, part], 1), layers[0]
        x = block.conv1(up(norm(block.bn1, h, condition).relu()))
        h = block.conv2(norm(block.bn2, x, condition).relu()) + block.conv_sc(up(h))
        for attention in layers[1:]:
            n = h.shape[-1]
            theta = attention.theta(h).view(2, -1, n * n)
            phi = F.max_pool2d(attention.phi(h), 2).reshape(2, -1, n * n // 4)
            g = F.max_pool2d(attention.g(h), 2).reshape(2, -1, n * n // 4)
            weights = (theta.transpose(1, 2) @ phi).softmax(2)
            h = h + attention.gamma * attention.o((g @ weights.transpose(1, 2)).view(2, -1, n, n))
    expected = model.output_layer(h).tanh()
    torch.testing.assert_close(model(z, ids), expected, atol=1e-5, rtol=0)
    prepared = BigGAN(model, "tiny", list("abcde"), "0" * 64)  # upsampling folded into the convolution behind
    torch.testing.assert_close(prepared._model(z, ids), expected, atol=1e-5, rtol=0)


def test_a_sample_depends_on_its_class_and_seed_alone():
    generator = BigGAN(network(), "tiny", list("abcde"), "0" * 64)
    both = generator.sample(torch.tensor([0, 3]), torch.tensor([7, 8]))
    alone = generator.sample(torch.tensor([3]), torch.tensor([8]))
    torch.testing.assert_close(both.images[1:], alone.images, atol=1e-5, rtol=0)
    assert {b: tuple(x.shape[1:]) for b, x in both.features.items()} == {
        b: (c, side, side) for b, (c, side) in generator.blocks.items()
    }


def test_features_keep_the_generator_s_precision_until_they_leave_for_the_cpu():
    generator = BigGAN(network(), "tiny", list("abcde"), "0" * 64, bf16=True)
    sample = generator.sample(torch.tensor([0, 3]), torch.tensor([7, 8]))
    assert sample.images.dtype == torch.float32
    assert {x.dtype for x in sample.features.values()} == {torch.bfloat16}
    for block, x in sample.cpu().features.items():
        assert x.dtype == torch.float32 and torch.equal(x, sample.features[block].float())
    mask = np.arange(128 * 128, dtype=np.uint8).reshape(128, 128) % 2
    annotation = Annotation("a_1", "a", 0, 7, Sampling(), generator.sha256, mask, "test")
    kept = collect_training_data(generator, [annotation], feature_cache="memory")
    assert {x.dtype for x in kept.features.values()} == {torch.float32}
