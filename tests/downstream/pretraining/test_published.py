"""Published layouts give back the backbone that was put in; whatever else a file holds is named."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from bdgan_lib.checkpoints.unpickle import read_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import build_backbone
from bdgan_lib.downstream.pretraining.published import LAYOUTS, backbone_state, load_published


def own(name="resnet50"):
    """A full-size state dict of nearly no memory: each tensor repeats one number of its own."""
    with torch.device("meta"):
        shapes = build_backbone(name).state_dict()
    number = lambda i, x: torch.tensor(i if x.dtype == torch.int64 else i + 0.5, dtype=x.dtype)
    return {key: number(i, x).expand(x.shape) for i, (key, x) in enumerate(shapes.items())}


def with_prefix(prefix, state):
    return {prefix + key: x for key, x in state.items()}


def linear(*names):
    return {f"{name}.{end}": torch.zeros(2) for name in names for end in ("weight", "bias")}


def zeros(*names):
    return {name: torch.zeros(1) for name in names}


S = own()
Q = with_prefix("module.encoder_q.", S)
FILES = {  # as the authors' code writes them
    "torchvision": ("supervised", {**S, **linear("fc")}),
    "SupContrast": ("supcon", {**with_prefix("module.encoder.", S), **linear("module.head.0")}),
    "SupContrast, encoder in parallel": ("supcon", {**with_prefix("encoder.module.", S), **linear("head.0")}),
    "sthalles/SimCLR": ("simclr", {**with_prefix("backbone.", S), **linear("backbone.fc.0")}),
    "Spijkervet/SimCLR": ("simclr", {**with_prefix("encoder.", S), **linear("projector.0", "projector.2")}),
    "simclr-converter": ("simclr", {**S, **linear("fc")}),
    "MoCo-v2, published": ("moco-v2", {**Q, **linear("module.encoder_q.fc.0", "module.encoder_q.fc.2")}),
    "MoCo-v2, of a training": (
        "moco-v2", {**Q, **with_prefix("module.encoder_k.", S), **zeros("module.queue", "module.queue_ptr")}
    ),
    "MoCo-v3": (
        "moco-v3",
        {
            **with_prefix("module.base_encoder.", S), **with_prefix("module.momentum_encoder.", S),
            **linear("module.base_encoder.fc.0", "module.predictor.0"),
        },
    ),
    "byol-convert": ("byol", {**S, **linear("fc")}),
    "DenseCL, backbone": ("densecl", S),
    "DenseCL, of a training": (
        "densecl",
        {
            **with_prefix("encoder_q.0.", S), **with_prefix("encoder_k.0.", S), **with_prefix("backbone.", S),
            **linear("encoder_q.1.mlp.0", "encoder_k.1.mlp.0"), **zeros("queue", "queue2", "queue2_ptr"),
        },
    ),
    "DINO, backbone": ("dino", S),
    "DINO, teacher": ("dino", {**with_prefix("backbone.", S), **linear("head.mlp.0", "head.last_layer")}),
    "ReSim": ("resim", {**Q, **linear("module.encoder_q.fpn_lateral2")}),
}  # fmt: skip


def test_every_method_is_covered():
    assert {method for method, _ in FILES.values()} == LAYOUTS.keys()


@pytest.mark.parametrize("file", FILES)
def test_the_backbone_comes_back(file):
    method, state = FILES[file]
    found = backbone_state(state, method)
    assert found.keys() == S.keys()
    assert all(torch.equal(found[key], S[key]) for key in S)


@pytest.mark.parametrize("file", FILES)
def test_a_key_too_few_too_many_or_of_another_shape_is_named(file):
    method, state = FILES[file]
    key = next(k for k in state if k.endswith("layer3.2.conv2.weight"))
    with pytest.raises(BdganError, match=f"missing: {key}"):
        backbone_state({k: x for k, x in state.items() if k != key}, method)
    with pytest.raises(BdganError, match=r"surplus: stray\.weight"):
        backbone_state({**state, "stray.weight": torch.zeros(1)}, method)
    with pytest.raises(BdganError, match=r"of another shape: .*\[7\]"):
        backbone_state({**state, key: torch.zeros(7)}, method)


@pytest.mark.parametrize("file", FILES)
def test_counters_may_be_absent_and_half_precision_becomes_whole(file):
    method, state = FILES[file]
    bare = {k: x.half() for k, x in state.items() if not k.endswith("num_batches_tracked")}
    found = backbone_state(bare, method)
    assert found["bn1.num_batches_tracked"] == 0 and found["conv1.weight"].dtype == torch.float32


def test_counters_of_one_number_are_scalars_as_for_torch():
    state = {key: x.reshape(1) if x.dim() == 0 else x for key, x in S.items()}
    assert backbone_state(state, "supervised")["bn1.num_batches_tracked"].shape == ()


def test_a_backbone_beside_the_prefix_never_takes_its_place():
    state = {**with_prefix("module.encoder_q.", S), "conv1.weight": torch.zeros(64, 3, 7, 7)}
    with pytest.raises(BdganError, match=r"surplus: conv1\.weight"):
        backbone_state(state, "moco-v2")


@pytest.mark.parametrize("name", ["resnet101", "resnet152"])
def test_deeper_resnets_are_read_as_what_they_are(name):
    state = own(name)
    assert backbone_state(state, "supervised", name).keys() == state.keys()
    with pytest.raises(BdganError, match=f"expected resnet50, got {name}"):
        backbone_state(state, "supervised")


OTHERS = {
    "a ResNet with a 3x3 first convolution": {**S, "conv1.weight": torch.zeros(64, 3, 3, 3)},
    "a wider ResNet": {**S, "layer1.0.conv2.weight": torch.zeros(128, 128, 3, 3)},
    "a vision transformer": {"patch_embed.proj.weight": torch.zeros(1), "cls_token": torch.zeros(1)},
    r"a ResNet of basic blocks \(1, 1, 1, 1\)": {
        f"layer{k}.0.conv{i}.weight": torch.zeros(64, 64, 3, 3) for k in (1, 2, 3, 4) for i in (1, 2)
    }
    | {"conv1.weight": torch.zeros(64, 3, 7, 7)},
    "a ResNet-like network": {"conv1.weight": torch.zeros(64, 3, 7, 7)},
}


@pytest.mark.parametrize("words", OTHERS)
@pytest.mark.parametrize(("method", "prefix"), [("dino", ""), ("moco-v3", "module.base_encoder.")])
def test_another_architecture_is_named_as_such(words, method, prefix):
    with pytest.raises(BdganError, match=f"expected resnet50, got {words}"):
        backbone_state(with_prefix(prefix, OTHERS[words]), method)


def test_another_methods_file_says_whose_it_may_be():
    with pytest.raises(BdganError, match=r"no backbone of moco-v3.*may be of .*moco-v2"):
        backbone_state(FILES["MoCo-v2, published"][1], "moco-v3")
    with pytest.raises(BdganError, match=r"moco-v2.*'swav'"):
        backbone_state(S, "swav")
    for nothing in ({}, {"a": torch.zeros(1)}):
        with pytest.raises(BdganError, match="no backbone of dino"):
            backbone_state(nothing, "dino")


def test_a_file_becomes_a_backbone_that_standardises_as_its_authors_did(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({k: x.contiguous() for k, x in S.items()}, path)
    for method, mean in (("supervised", 0.485), ("simclr", 0.0)):
        backbone = load_published(path, method)
        assert torch.equal(backbone.bn1.bias, S["bn1.bias"])
        assert backbone.mean.flatten()[0].item() == pytest.approx(2 * mean - 1)
    with pytest.raises(BdganError, match="missing"):
        load_published(tmp_path / "none", "dino")
    path.write_bytes(b"\x80\x02}")
    with pytest.raises(BdganError, match="bdgan weights convert"):
        load_published(path, "dino")


@pytest.mark.parametrize("where", ["state_dict", "model", "teacher"])
def test_the_converter_finds_the_weights_where_the_authors_put_them(tmp_path, where):
    weights = {"module.encoder.conv1.weight": torch.ones(3)}
    beside = {"opt": argparse.Namespace(lr=1), "student": {"x": torch.zeros(1)}, "epoch": 3}
    torch.save({**beside, where: weights}, tmp_path / "c.pth")
    assert read_tensors(tmp_path / "c.pth").keys() == weights.keys()
