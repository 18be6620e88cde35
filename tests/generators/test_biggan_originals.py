"""BigGAN against plain references of the originals, whose files are written as their tools write them.

The references follow the papers (Brock et al. 2019; Zhang et al. 2019) and the facts in
`biggan_checkpoint`, in float64, without any of our network.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.checkpoints.unpickle import read_tensors
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import write_tensors
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan import BigGANConfig, load_biggan
from bdgan_lib.generators.biggan_deep import deep_config
from bdgan_lib.generators.feature_generator import log_once

CHANNELS = {128: (16, 16, 8, 4, 2, 1), 512: (16, 16, 8, 8, 4, 2, 1, 1)}  # times the width
PART = {128: 20, 512: 16}  # of z, for the first layer and for every block
ATTENTION = 3  # the block that it follows
CLASSES, WIDTH, EMBEDDING = 5, 4, 128
IDS = torch.tensor([4, 1])


def normalised(x):
    return x / x.norm()


def up(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def attend(x, gamma, theta, phi, g, o):
    """Self-attention of SAGAN with keys and values pooled to half the side; 1x1 kernels."""
    query, key, value = F.conv2d(x, theta), F.max_pool2d(F.conv2d(x, phi), 2), F.max_pool2d(F.conv2d(x, g), 2)
    beta = (query.flatten(2).mT @ key.flatten(2)).softmax(2)
    return x + gamma * F.conv2d((value.flatten(2) @ beta.mT).unflatten(2, x.shape[2:]), o)


def brock(state, z, ids, bn_eps, output_eps):
    """BigGAN-PyTorch's state dict -> images before tanh."""
    s = {key: x.double() for key, x in state.items()}

    def weight(key):
        w, matrix = s[f"{key}.weight"], s[f"{key}.weight"].flatten(1)
        v = normalised(s[f"{key}.u0"] @ matrix)
        return w / (v @ matrix.T @ normalised(v @ matrix.T).T).squeeze()

    def conv(key, x):
        w = weight(key)
        return F.conv2d(x, w, s[f"{key}.bias"], padding=w.shape[2] // 2)

    def standardised(key, x, eps):
        mean, var = s[f"{key}.stored_mean"], s[f"{key}.stored_var"]
        return (x - mean[:, None, None]) / (var + eps).sqrt()[:, None, None]

    def norm(key, x, y):
        gain, bias = 1 + y @ weight(f"{key}.gain").T, y @ weight(f"{key}.bias").T
        return standardised(key, x, bn_eps) * gain[..., None, None] + bias[..., None, None]

    part = s["linear.weight"].shape[1]
    first, *parts = z.double().split(part, 1)
    h = (first @ weight("linear").T + s["linear.bias"]).view(len(z), -1, 4, 4)
    for i, part in enumerate(parts):
        block, y = f"blocks.{i}.0", torch.cat([s["shared.weight"][ids], part], 1)
        x = conv(f"{block}.conv1", up(norm(f"{block}.bn1", h, y).relu()))
        h = conv(f"{block}.conv2", norm(f"{block}.bn2", x, y).relu()) + conv(f"{block}.conv_sc", up(h))
        if f"blocks.{i}.1.gamma" in s:
            kernels = (weight(f"blocks.{i}.1.{name}") for name in ("theta", "phi", "g", "o"))
            h = attend(h, s[f"blocks.{i}.1.gamma"], *kernels)
    h = standardised("output_layer.0", h, output_eps) * s["output_layer.0.gain"][:, None, None]
    return conv("output_layer.2", (h + s["output_layer.0.bias"][:, None, None]).relu())


def ivclab(state, z, ids):
    """ivclab's state dict at truncation 1 -> images before tanh."""
    s = {key: x.double() for key, x in state.items()}

    def weight(key):
        w = s[f"{key}.weight_orig"]
        matrix = (w.permute(0, 2, 3, 1) if w.dim() == 4 else w).flatten(1)
        return w / (s[f"{key}.weight_u"] @ matrix @ s[f"{key}.weight_v"])

    def conv(key, x):
        w = weight(key)
        return F.conv2d(x, w, s[f"{key}.bias"], padding=w.shape[2] // 2)

    def standardised(key, x):
        mean, var = s[f"{key}.standing_means"][-1], s[f"{key}.standing_vars"][-1]
        return (x - mean[:, None, None]) / (var + 1e-4).sqrt()[:, None, None]

    def norm(key, x, y):
        gain, bias = 1 + y @ weight(f"{key}.gamma").T, y @ weight(f"{key}.beta").T
        return standardised(f"{key}.crossreplicabn", x) * gain[..., None, None] + bias[..., None, None]

    first, *parts = z.double().split(s["g_z.g_linear.weight_orig"].shape[1], 1)
    h = (first @ weight("g_z.g_linear").T + s["g_z.g_linear.bias"]).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    for i, part in enumerate(parts):
        block, y = "gblock" + (f"_{i}" if i else ""), torch.cat([part, s["linear.weight"][ids]], 1)
        x = conv(f"{block}.conv0", up(norm(f"{block}.hyperbn", h, y).relu()))
        h = conv(f"{block}.conv1", norm(f"{block}.hyperbn_1", x, y).relu()) + conv(f"{block}.conv_sc", up(h))
        if i == ATTENTION:
            kernels = (weight(f"attention.{name}") for name in ("theta", "phi", "g", "o_conv"))
            h = attend(h, s["attention.gamma"], *kernels)
    h = standardised("scaledcrossreplicabn", h) * s["scaledcrossreplicabn.weight"][:, None, None]
    return conv("conv_2d", (h + s["scaledcrossreplicabn.bias"][:, None, None]).relu())


class Tensorflow:
    """Variables of the module on TF Hub: kernels [h, w, in, out], matrices [in, out], singular vectors."""

    def __init__(self, resolution, variance):
        self.noise = torch.Generator().manual_seed(0)
        self.channels = [WIDTH * factor for factor in CHANNELS[resolution]]
        self.part, self.variance = PART[resolution], variance

    def normal(self, *shape):
        return torch.randn(shape, generator=self.noise)

    def spectral(self, *shape):
        """A kernel or matrix with its singular vectors u0 [1, out] and u1 [1, h * w * in]."""
        w = self.normal(*shape)
        matrix, u = w.reshape(-1, shape[-1]), self.normal(1, shape[-1])
        for _ in range(10):
            v = normalised(u @ matrix.T)
            u = normalised(v @ matrix)
        return w, u, v

    def statistics(self, channels, last=True):
        variance = self.variance if last else 1.0  # elsewhere it would make features explode
        return 0.1 * variance * self.normal(channels), variance * (0.5 + self.normal(channels).abs())


def as_converter(tf, resolution):
    """What BigGAN-PyTorch's converter from TF Hub saves: [1] for gamma, views for kernels, no `sv0`."""
    state, c = {}, tf.channels

    def spectral(key, *shape, bias=True):
        w, u, _ = tf.spectral(*shape)
        state[f"{key}.weight"] = w.permute(3, 2, 0, 1) if w.dim() == 4 else w.permute(1, 0)
        state[f"{key}.u0"] = u[0].unsqueeze(0)
        if bias:
            state[f"{key}.bias"] = tf.normal(shape[-1])

    state["shared.weight"] = tf.normal(CLASSES, EMBEDDING).permute(1, 0).t()
    spectral("linear", tf.part, 16 * c[0])
    for key in ("weight", "bias", "u0"):  # [4, 4, C] -> [C, 4, 4]
        x = state[f"linear.{key}"]
        rows = x.reshape(4, 4, c[0], -1).permute(2, 0, 1, 3).contiguous()
        state[f"linear.{key}"] = rows.view(x.shape)
    for i, (a, b) in enumerate(itertools.pairwise(c)):
        for n, inputs, outputs in ((1, a, b), (2, b, b)):
            spectral(f"blocks.{i}.0.conv{n}", 3, 3, inputs, outputs)
            norm = f"blocks.{i}.0.bn{n}"
            for what in ("gain", "bias"):
                spectral(f"{norm}.{what}", tf.part + EMBEDDING, inputs, bias=False)  # z comes first there
                x = state[f"{norm}.{what}.weight"]
                state[f"{norm}.{what}.weight"] = torch.cat([x[:, -EMBEDDING:], x[:, : tf.part]], 1)
            state[f"{norm}.stored_mean"], state[f"{norm}.stored_var"] = tf.statistics(inputs, i == len(c) - 2)
        spectral(f"blocks.{i}.0.conv_sc", 1, 1, a, b)
        if i == ATTENTION:
            for name, inputs, outputs in (
                ("theta", b, b // 8),
                ("phi", b, b // 8),
                ("g", b, b // 2),
                ("o", b // 2, b),
            ):
                spectral(f"blocks.{i}.1.{name}", 1, 1, inputs, outputs, bias=False)
            state[f"blocks.{i}.1.gamma"] = torch.tensor([0.7])
    state["output_layer.0.gain"], state["output_layer.0.bias"] = tf.normal(c[-1]), 0.1 * tf.normal(c[-1])
    state["output_layer.0.stored_mean"], state["output_layer.0.stored_var"] = tf.statistics(c[-1])
    spectral("output_layer.2", 3, 3, c[-1], 3)
    return state


def as_trained(tf, resolution):
    """What BigGAN-PyTorch's training saves: a scalar gamma, contiguous weights, `sv0` everywhere."""
    state = {key: x.contiguous() for key, x in as_converter(tf, resolution).items()}
    state |= {key.replace(".u0", ".sv0"): torch.ones(1) for key in state if key.endswith(".u0")}
    return {key: x.squeeze() if key.endswith("gamma") else x for key, x in state.items()}


def as_ivclab(tf, resolution):
    """What ivclab publishes: `_orig`, `_u` and `_v` of torch's spectral norm, 50 rows of statistics."""
    state, c = {}, tf.channels

    def spectral(key, *shape, bias=True):
        w, u, v = tf.spectral(*shape)
        state[f"{key}.weight_orig"] = w.permute(3, 2, 0, 1) if w.dim() == 4 else w.T
        state[f"{key}.weight_u"], state[f"{key}.weight_v"] = u[0], v[0]
        if bias:
            state[f"{key}.bias"] = tf.normal(shape[-1])

    def statistics(key, channels, last=True):
        rows = [tf.statistics(channels, last) for _ in range(50)]
        state[f"{key}.standing_means"], state[f"{key}.standing_vars"] = map(torch.stack, zip(*rows))
        state[f"{key}.running_mean"], state[f"{key}.running_var"] = (
            torch.zeros(channels),
            torch.ones(channels),
        )
        state[f"{key}.num_batches_tracked"] = torch.tensor(0)

    state["linear.weight"] = tf.normal(CLASSES, EMBEDDING)
    spectral("g_z.g_linear", tf.part, 16 * c[0])
    for i, (a, b) in enumerate(itertools.pairwise(c)):
        block = "gblock" + (f"_{i}" if i else "")
        for conv, norm, inputs in (("conv0", "hyperbn", a), ("conv1", "hyperbn_1", b)):
            spectral(f"{block}.{conv}", 3, 3, inputs, b)
            statistics(f"{block}.{norm}.crossreplicabn", inputs, i == len(c) - 2)
            for what in ("gamma", "beta"):
                spectral(f"{block}.{norm}.{what}", tf.part + EMBEDDING, inputs, bias=False)
        spectral(f"{block}.conv_sc", 1, 1, a, b)
        if i == ATTENTION:
            for name, inputs, outputs in (
                ("theta", b, b // 8),
                ("phi", b, b // 8),
                ("g", b, b // 2),
                ("o_conv", b // 2, b),
            ):
                spectral(f"attention.{name}", 1, 1, inputs, outputs, bias=False)
            state["attention.gamma"] = torch.tensor([0.7])
    state["scaledcrossreplicabn.weight"] = tf.normal(c[-1])
    state["scaledcrossreplicabn.bias"] = 0.1 * tf.normal(c[-1])
    statistics("scaledcrossreplicabn", c[-1])
    spectral("conv_2d", 3, 3, c[-1], 3)
    return state


LAYOUTS = {  # how the file is written, at which size, with which epsilons, and where the last gain is
    "release": (as_converter, 512, 1e-4, 1e-5, "output_layer.0"),
    "BigGAN-PyTorch": (as_trained, 128, 1e-4, 1e-5, "output_layer.0"),
    "BigGAN-PyTorch, BN_eps 1e-5": (as_trained, 128, 1e-5, 1e-5, "output_layer.0"),
    "ivclab": (as_ivclab, 128, 1e-4, 1e-4, "scaledcrossreplicabn"),
}


def original(layout, state, z, bn_eps=None, output_eps=None):
    _, _, own_bn_eps, own_output_eps, _ = LAYOUTS[layout]
    if layout == "ivclab":
        return ivclab(state, z, IDS)
    return brock(state, z, IDS, bn_eps or own_bn_eps, output_eps or own_output_eps)


@torch.no_grad()
def calibrated(layout, variance):
    """A state dict whose images are neither grey nor black and white, and latents."""
    torch.manual_seed(1)
    write, resolution, *_, last = LAYOUTS[layout]
    state = write(Tensorflow(resolution, variance), resolution)
    z = torch.randn(
        2, PART[resolution] * len(CHANNELS[resolution]), generator=torch.Generator().manual_seed(1)
    )
    state["conv_2d.bias" if layout == "ivclab" else "output_layer.2.bias"] = torch.zeros(3)
    scale = 0.5 / original(layout, state, z).std().float()
    for key in (f"{last}.weight", f"{last}.gain", f"{last}.bias"):
        state |= {key: state[key] * scale} if key in state else {}
    return state, z


def loaded(layout, state, folder, **settings):
    """The generator of a file as torch saves it, through the converter's reader."""
    torch.save(state, folder / "biggan.pth")
    write_tensors(folder / "biggan.safetensors", read_tensors(folder / "biggan.pth"))
    return load_biggan(
        folder / "biggan.safetensors", range(CLASSES), LAYOUTS[layout][1], width=WIDTH, **settings
    )


@pytest.mark.parametrize("variance", [1.0, 1e-3])
@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_the_images_are_the_original_s(layout, variance, tmp_path):
    state, z = calibrated(layout, variance)
    settings = {"bn_eps": 1e-5} if "1e-5" in layout else {}
    generator = loaded(layout, state, tmp_path, **settings)
    ours = generator.sample(IDS, torch.zeros(2, dtype=torch.int64), features=False, z=z).images
    expected = original(layout, state, z).tanh()
    assert 0.2 < expected.std() < 0.8
    assert (ours - expected).abs().max() < 2e-5
    if layout != "ivclab":  # which shows that the epsilons are told apart
        other = original(layout, state, z, 1.1e-5 / LAYOUTS[layout][2] * 1e-4, 1e-4).tanh()
        assert (ours - other).abs().max() > (5e-5 if variance == 1 else 5e-3)


def test_another_epsilon_is_another_generator_and_truncation_is_told_once(tmp_path, caplog):
    layout = "BigGAN-PyTorch"
    state = as_trained(Tensorflow(128, 1.0), 128)
    generator = loaded(layout, state, tmp_path)
    other = loaded(layout, state, tmp_path, bn_eps=1e-5)
    assert generator.sha256 == sha256_of(tmp_path / "biggan.safetensors")
    assert other.sha256 not in ("", generator.sha256) and len(other.sha256) == 64
    log_once.cache_clear()
    for sampling in (Sampling(), Sampling(z_std=0.9)):
        generator.sample(IDS, IDS, sampling, features=False)
    assert not caplog.messages
    for _ in range(2):
        generator.sample(IDS, IDS, Sampling(0.5), features=False)
    (message,) = caplog.messages
    assert "truncation 0.5 is applied to the latents alone" in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: BigGANConfig(64),
        lambda: BigGANConfig("512"),
        lambda: BigGANConfig(128, width=0),
        lambda: BigGANConfig(128, bn_eps=0.0),
        lambda: BigGANConfig(128, bn_eps=float("nan")),
        lambda: deep_config(64),
    ],
)
def test_a_size_that_no_biggan_has_is_refused(make):
    with pytest.raises(BdganError, match="expected"):
        make()


@pytest.mark.parametrize("settings", [{"resolution": 64}, {"width": -1}, {"bn_eps": -1.0}])
def test_a_file_read_at_a_size_that_no_biggan_has_is_refused(settings, tmp_path):
    write_tensors(tmp_path / "biggan.safetensors", as_trained(Tensorflow(128, 1.0), 128))
    with pytest.raises(BdganError, match="expected"):
        load_biggan(tmp_path / "biggan.safetensors", range(CLASSES), **{"resolution": 128, **settings})
