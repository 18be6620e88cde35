"""Checkpoints of others give our network the images they give theirs; a key too many or too few is named."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan import BigGANConfig, BigGANNetwork, load_biggan
from bdgan_lib.generators.biggan_checkpoint import fuse_state_dict

CONFIG = BigGANConfig(128, num_classes=5, width=8, embedding=6)


def network():
    torch.manual_seed(0)
    model = BigGANNetwork(CONFIG).eval()
    with torch.no_grad():
        for name, x in model.state_dict().items():
            x.uniform_(0.5, 1.5) if name.endswith(("gamma", "var")) else x.normal_(0, 0.1)
    return model


def spectral(key, x):
    return key.endswith(".weight") and x.dim() > 1 and key != "shared.weight"


def as_pytorch(model):
    """BigGAN-PyTorch's layout of weights whose norms are as `u0` estimates them."""
    state = {}
    for key, x in model.state_dict().items():
        state[key] = x.clone()
        if spectral(key, x):
            layer = key.removesuffix(".weight")
            u0 = torch.randn(1, len(x))
            v = F.normalize(u0 @ x.flatten(1))
            norm = (v @ x.flatten(1).T).norm()
            state[key] = x * 3.0  # the estimate of 3 W is three times that of W
            state[f"{layer}.u0"], state[f"{layer}.sv0"] = u0, torch.ones(1)
            model.get_parameter(key).data /= norm  # what is meant: W over its norm
    return state


def as_ivclab(model):
    """The other layout, written from its own point of view: one entry of theirs after the other."""
    target, state = model.state_dict(), {}

    def put(theirs, weight):
        matrix = (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).flatten(1)
        u, s, v = torch.linalg.svd(matrix)
        state[f"{theirs}.weight_orig"] = weight / s[0] * 5.0
        state[f"{theirs}.weight_u"], state[f"{theirs}.weight_v"] = u[:, 0], v[0]
        scale[theirs] = s[0]

    def put_norm(theirs, ours):
        for end, stored in (("means", "stored_mean"), ("vars", "stored_var")):
            rows = torch.randn(50, len(target[f"{ours}.{stored}"]))
            rows[49] = target[f"{ours}.{stored}"]
            state[f"{theirs}.standing_{end}"] = rows
        state[f"{theirs}.running_mean"] = torch.zeros(len(target[f"{ours}.stored_mean"]))
        state[f"{theirs}.running_var"] = torch.ones(len(target[f"{ours}.stored_mean"]))
        state[f"{theirs}.num_batches_tracked"] = torch.tensor(0)

    scale = {}
    state["linear.weight"] = target["shared.weight"]
    channels = len(target["linear.bias"]) // 16
    put(
        "g_z.g_linear",
        target["linear.weight"].view(channels, 16, -1).permute(1, 0, 2).reshape(16 * channels, -1),
    )
    state["g_z.g_linear.bias"] = target["linear.bias"].view(channels, 16).T.reshape(-1)
    for i in range(5):
        theirs, ours = "gblock" + (f"_{i}" if i else ""), f"blocks.{i}.0"
        for a, b in (("conv0", "conv1"), ("conv1", "conv2"), ("conv_sc", "conv_sc")):
            put(f"{theirs}.{a}", target[f"{ours}.{b}.weight"])
            state[f"{theirs}.{a}.bias"] = target[f"{ours}.{b}.bias"]
        for a, b in (("hyperbn", "bn1"), ("hyperbn_1", "bn2")):
            for c, d in (("gamma", "gain"), ("beta", "bias")):
                weight = target[f"{ours}.{b}.{d}.weight"]  # [class, z] -> [z, class]
                put(f"{theirs}.{a}.{c}", torch.cat([weight[:, 6:], weight[:, :6]], 1))
            put_norm(f"{theirs}.{a}.crossreplicabn", f"{ours}.{b}")
    for a, b in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("o_conv", "o")):
        put(f"attention.{a}", target[f"blocks.3.1.{b}.weight"])
    state["attention.gamma"] = target["blocks.3.1.gamma"].view(1)
    put_norm("scaledcrossreplicabn", "output_layer.0")
    state["scaledcrossreplicabn.weight"] = target["output_layer.0.gain"]
    state["scaledcrossreplicabn.bias"] = target["output_layer.0.bias"]
    put("conv_2d", target["output_layer.2.weight"])
    state["conv_2d.bias"] = target["output_layer.2.bias"]
    for key, x in target.items():  # what is meant: every matrix over its largest singular value
        if spectral(key, x):
            model.get_parameter(key).data /= torch.linalg.matrix_norm(x.flatten(1), 2)
    return state


LAYOUTS = {"BigGAN-PyTorch": as_pytorch, "ivclab": as_ivclab}


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_the_images_are_those_of_the_weights_that_are_meant(layout):
    meant = network()
    state = {key: x.clone() for key, x in LAYOUTS[layout](meant).items()}
    filled = BigGANNetwork(CONFIG).eval()
    filled.load_state_dict(fuse_state_dict(state, filled.state_dict(), "state"))
    z, ids = torch.randn(2, filled.z_dim), torch.tensor([0, 4])
    assert meant(z, ids).std() > 0.01
    torch.testing.assert_close(filled(z, ids), meant(z, ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_and_a_surplus_key_are_named_and_only_what_inference_never_reads_may_be_absent(layout):
    model = network()
    whole, target = LAYOUTS[layout](model), model.state_dict()
    never = [
        key for key in whole if key.endswith(("sv0", "running_mean", "running_var", "num_batches_tracked"))
    ]
    fuse_state_dict({key: x for key, x in whole.items() if key not in never}, target, "state")
    for key in whole.keys() - set(never) - {"g_z.g_linear.weight_orig"}:
        with pytest.raises(BdganError, match=f"missing: {key}"):
            fuse_state_dict({k: x for k, x in whole.items() if k != key}, target, "state")
    with pytest.raises(BdganError, match=r"surplus: more\.weight"):
        fuse_state_dict({**whole, "more.weight": torch.ones(1)}, target, "state")
    with pytest.raises(BdganError, match=r"of another shape: .*\[7\] instead of \[3\]"):
        key = next(k for k in whole if "bias" in k and len(whole[k]) == 3)
        fuse_state_dict({**whole, key: torch.ones(7)}, target, "state")


def test_a_file_becomes_a_generator_and_one_of_another_size_does_not(tmp_path):
    torch.manual_seed(0)
    model = BigGANNetwork(BigGANConfig(128, num_classes=5, width=8))
    state = as_pytorch(model)
    save_file(state, tmp_path / "model.safetensors")
    generator = load_biggan(tmp_path / "model.safetensors", list("abcde"), 128, width=8)
    assert generator.sample(torch.tensor([1]), torch.tensor([2])).images.shape == (1, 3, 128, 128)
    with pytest.raises(
        BdganError,
        match=r"read as BigGAN 256, does not fit: missing: blocks\.4\.1\.g\.u0, .* and \d+ more; surplus",
    ):
        load_biggan(tmp_path / "model.safetensors", list("abcde"), 256, width=8)
    with pytest.raises(BdganError, match="missing"):
        load_biggan(tmp_path / "none", list("abcde"), 128)
    (tmp_path / "bad").write_bytes(b"no")
    with pytest.raises(BdganError, match="not a readable safetensors"):
        load_biggan(tmp_path / "bad", list("abcde"), 128)
