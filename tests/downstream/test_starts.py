"""Starts from other libraries' files: the same features as those libraries, strict keys, plain messages."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import IMAGENET, build_backbone
from bdgan_lib.downstream.pretraining.files import Pretrained
from bdgan_lib.downstream.starts.load import load_start
from bdgan_lib.downstream.starts.timm_networks import TimmTrunk

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

IMAGES = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
IMAGES_128 = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}


def standardised(images, mean, std) -> torch.Tensor:
    """As the other libraries take images: in [0, 1], less the mean, over the deviation."""
    return torchvision.transforms.functional.normalize((images + 1) / 2, mean, std)


def shifted(network: torch.nn.Module) -> torch.nn.Module:
    """A network whose every weight and statistic differs from its initial value, so that each one counts."""
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, x in network.state_dict().items():
            if x.is_floating_point():
                noise = 0.02 * torch.randn(x.shape, generator=stream)
                x.copy_(x + (noise.abs() if name.endswith("running_var") else noise))
    return network.eval()


@torch.no_grad()
def same(start, images, theirs) -> None:
    for ours, other in zip(start.trunk.eval()(images), theirs, strict=True):
        assert ours.shape == other.shape and (ours - other).abs().max() <= 1e-5 * max(1, other.abs().max())


@torch.no_grad()
def timm_maps(network, images, **how) -> list[torch.Tensor]:
    config = network.pretrained_cfg
    x = standardised(images, config["mean"], config["std"])
    return network.forward_intermediates(x, intermediates_only=True, **how)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_050"])
def test_maps_of_a_timm_file_are_timm_s(tmp_path, name):
    file = tmp_path / "net.safetensors"
    theirs = shifted(timm.create_model(name))
    save_file(theirs.state_dict(), file)
    start = load_start(f"timm:{name}@{file}")
    assert re.search(r"left out the classifier, \w+\.", start.note)
    same(start, IMAGES_128, timm_maps(theirs, IMAGES_128)[-4:])


@pytest.mark.parametrize("safe", [True, False])
def test_a_timm_transformer_has_its_own_normalisation_and_any_grid(tmp_path, safe):
    """In the folder that timm writes for the Hub. Maps are four blocks' normalised tokens, resized."""
    theirs = shifted(timm.create_model("vit_tiny_patch16_224", img_size=96, depth=4, dynamic_img_size=True))
    assert theirs.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    how = {"model_args": {"img_size": 96, "depth": 4}, "safe_serialization": safe}
    timm.models.save_for_hf(theirs, tmp_path, **how)
    start = load_start(str(tmp_path))
    assert start.trunk.statistics == ((0.5,) * 3, (0.5,) * 3) and "head.weight" in start.note
    for images in (IMAGES[..., :96, :96], IMAGES[..., :64, :96]):
        maps = timm_maps(theirs, images, norm=True)
        height, width = (side // 32 for side in images.shape[-2:])
        sizes = [(8 * height, 8 * width), (4 * height, 4 * width), (2 * height, 2 * width), (height, width)]
        same(
            start,
            images,
            [torch.nn.functional.interpolate(x, size=s, mode="bilinear") for x, s in zip(maps, sizes)],
        )


def test_positions_of_a_bare_file_keep_their_grid(tmp_path):
    theirs = shifted(timm.create_model("vit_tiny_patch16_224", img_size=96))
    save_file(theirs.state_dict(), tmp_path / "net.safetensors")
    start = load_start(f"timm:vit_tiny_patch16_224@{tmp_path / 'net.safetensors'}")
    assert start.trunk.settings == {"img_size": 96}
    assert torch.equal(start.trunk.model.pos_embed, theirs.pos_embed)


DINOS = {
    "v2": ("Dinov2", {"image_size": 112, "patch_size": 14}),
    "v2 gated": ("Dinov2", {"image_size": 112, "patch_size": 14, "use_swiglu_ffn": True}),
    "v2 registers": ("Dinov2WithRegisters", {"image_size": 112, "patch_size": 14, "num_register_tokens": 3}),
    "v3": ("DINOv3ViT", {"intermediate_size": 64, "num_register_tokens": 4}),
    "v3 gated": (
        "DINOv3ViT",
        {"intermediate_size": 64, "num_register_tokens": 4, "use_gated_mlp": True, "hidden_act": "silu"},
    ),
    "v3 without biases": (
        "DINOv3ViT",
        {"intermediate_size": 64, "num_register_tokens": 4, "query_bias": False, "value_bias": False},
    ),
}


def dino(kind: str, **more):
    name, settings = DINOS[kind]
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **settings, **more})
    return shifted(getattr(transformers, f"{name}Model")(config))


@torch.no_grad()
def dino_maps(network, images) -> list[torch.Tensor]:
    """Every block's normalised patch tokens, by transformers' own forward pass, in the pyramid's sizes."""
    config = network.config
    hidden = network(standardised(images, *IMAGENET), output_hidden_states=True).hidden_states[1:]
    norm = network.layernorm if hasattr(network, "layernorm") else network.norm
    first, grid = 1 + getattr(config, "num_register_tokens", 0), images.shape[-1] // config.patch_size
    maps = [norm(x)[:, first:].mT.unflatten(2, (grid, grid)) for x in hidden]
    sizes = (4 * grid, 2 * grid, grid, grid // 2)
    return [
        torch.nn.functional.interpolate(x, size=(s, s), mode="bilinear")
        for x, s in zip(maps, sizes, strict=True)
    ]


@pytest.mark.parametrize("kind", DINOS)
def test_maps_of_a_hugging_face_dino_are_its_own(tmp_path, kind):
    theirs = dino(kind)
    theirs.save_pretrained(tmp_path)
    images = IMAGES if kind.startswith("v2") else IMAGES_128
    for place in (tmp_path, tmp_path / "model.safetensors"):
        same(load_start(str(place)), images, dino_maps(theirs, images))


def facebook(state: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    """Facebook's layout of a Hugging Face file, written from the tensors' names in its published files."""
    names = {
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.patch_embeddings": "patch_embed.proj",
        "embeddings.position_embeddings": "pos_embed", "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token", "layernorm": "norm", "encoder.layer": "blocks",
        "embeddings.register_tokens": "register_tokens" if kind.startswith("v2") else "storage_tokens",
        "attention.output.dense": "attn.proj", "attention.o_proj": "attn.proj",
        "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
        "mlp.weights_in": "mlp.w12", "mlp.weights_out": "mlp.w3",
    }  # fmt: skip
    out = {}
    for key, x in state.items():
        for theirs, name in names.items():
            key = key.replace(theirs, name)
        out[re.sub(r"^layer\.", "blocks.", key)] = x
    if kind == "v3":
        out = {
            key.replace("mlp.up_proj", "mlp.fc1").replace("mlp.down_proj", "mlp.fc2"): x
            for key, x in out.items()
        }
    for k in range(SMALL["num_hidden_layers"]):
        q, key, v = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
        if kind == "v3":
            q, key, v = (f"attention.{part}_proj" for part in "qkv")
        for end in ("weight", "bias"):
            parts = [out.pop(f"blocks.{k}.{part}.{end}", None) for part in (q, key, v)]
            parts = [torch.zeros(SMALL["hidden_size"]) if x is None else x for x in parts]
            out[f"blocks.{k}.attn.qkv.{end}"] = torch.cat(parts)
        if kind == "v3":
            out[f"blocks.{k}.attn.qkv.bias_mask"] = torch.ones(3 * SMALL["hidden_size"])
    if kind == "v3":
        out["rope_embed.periods"] = torch.ones(8)
    return out


@pytest.mark.parametrize("kind", ["v2", "v2 registers", "v2 gated", "v3"])
def test_facebook_s_layout_is_read_as_well(tmp_path, kind):
    theirs = dino(kind)
    theirs.save_pretrained(tmp_path)
    state = facebook(load_file(tmp_path / "model.safetensors"), kind)
    (tmp_path / "config.json").unlink()
    save_file(state, tmp_path / "dino.safetensors")
    with pytest.raises(BdganError, match=r"attention heads does not show in 32 channels; put .*config\.json"):
        load_start(str(tmp_path / "dino.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 2}), "utf-8")
    images = IMAGES if kind.startswith("v2") else IMAGES_128
    same(load_start(str(tmp_path / "dino.safetensors")), images, dino_maps(theirs, images))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_s_pickle_is_read_by_the_restricted_converter(tmp_path, name):
    theirs = shifted(getattr(torchvision.models, name)())
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    start = load_start(str(tmp_path / "net.pth"))
    assert start.note.endswith("left out the classifier, fc.bias, fc.weight")
    stages = torchvision.models._utils.IntermediateLayerGetter(
        theirs, {f"layer{k}": f"{k}" for k in (1, 2, 3, 4)}
    )
    with torch.no_grad():
        same(start, IMAGES_128, list(stages(standardised(IMAGES_128, *IMAGENET)).values()))
    assert not list(Path(tmp_path).glob("*.safetensors")), "nothing is left beside the file"


class Runs:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_a_pickle_that_could_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Runs()}, "net.pth")
    with pytest.raises(BdganError, match=r"net\.pth was not converted: .* could run"):
        load_start("net.pth")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "setting",
    ["checkpoint_path", "pretrained_cfg_overlay", "pretrained_cfg", "cache_dir", "file", "pretrained"],
)
def test_a_folder_of_the_hub_gives_settings_of_the_architecture_alone(tmp_path, monkeypatch, setting):
    """Others would have timm read a file of the folder's choice, which older versions unpickle."""
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "resnet18", "model_args": {setting: "notes.txt"}}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    monkeypatch.setattr(timm, "create_model", None)  # not reached
    with pytest.raises(BdganError, match=f"timm:resnet18 is not built with the setting '{setting}'"):
        load_start(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"pretrained_cfg": {"mean": "abc", "std": [1, 1, 1]}},
            "expected a mean of three numbers, got 'abc'",
        ),
        ({"pretrained_cfg": {"mean": [1], "std": [1]}}, r"expected a mean of three numbers, got \[1\]"),
        ({"pretrained_cfg": {"mean": [0, 0, 0], "std": [0, 0, 0]}}, "a deviation of three positive numbers"),
        ({"pretrained_cfg": [1]}, r"expected pretrained_cfg of config.json to be an object, got \[1\]"),
        ({"model_args": [1]}, r"expected model_args of config.json to be an object, got \[1\]"),
        ({"model_args": {"depth": "x" * 99}}, "expected a plain depth"),
        ({"architecture": 5}, "timm has no network '5'"),
    ],
)
def test_a_malformed_config_is_one_line(tmp_path, config, text):
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", **config}), "utf-8")
    with pytest.raises(BdganError, match=text):
        load_start(str(tmp_path))


def test_our_starts_are_read_as_before(tmp_path):
    backbone = build_backbone("pocket-10")
    record = {"config": {"backbone": "pocket-10"}, "collapsed": False}
    Pretrained(backbone.state_dict(), record).save(tmp_path)
    assert torch.equal(load_start(str(tmp_path)).trunk.conv1.weight, backbone.conv1.weight)
    assert load_start("pocket-18").trunk.name == "pocket-18"
    published = {f"module.encoder_q.{key}": x for key, x in build_backbone("resnet101").state_dict().items()}
    save_file(published, tmp_path / "moco.safetensors")
    assert load_start(f"moco-v2:{tmp_path / 'moco.safetensors'}").trunk.name == "resnet101"


def test_what_does_not_fit_is_named_in_one_line(tmp_path, monkeypatch):
    state = timm.create_model("resnet18").state_dict()
    file = tmp_path / "net.safetensors"

    def said(text: str) -> str:
        with pytest.raises(BdganError) as error:
            load_start(text)
        assert "\n" not in str(error.value)
        return str(error.value)

    save_file({"strange": torch.zeros(1)} | {k: x for k, x in state.items() if k != "conv1.weight"}, file)
    assert re.search(r"missing: conv1\.weight; surplus: strange", said(f"timm:resnet18@{file}"))
    save_file(state, file)
    assert re.search(r"missing: .* more; surplus|missing: layer1\.2\.", said(f"timm:resnet34@{file}"))
    save_file({**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}, file)
    assert "of another shape: conv1.weight [64, 3, 3, 3] instead of [64, 3, 7, 7]" in said(
        f"timm:resnet18@{file}"
    )
    save_file({"blocks.0.weight": torch.zeros(1)}, file)
    assert f"name the network with timm:NAME@{file}" in said(str(file))
    assert "names like it: resnet18" in said("timm:resnet81@random")
    assert "expected four, each of half the size" in said("timm:levit_128s@random")
    assert "expected timm:NAME, a file, a folder, or one of pocket-10" in said("nothing")
    dino("v3").save_pretrained(tmp_path / "v3")
    config = json.loads((tmp_path / "v3/config.json").read_text("utf-8"))
    (tmp_path / "v3/config.json").write_text(json.dumps(config | {"hidden_act": "relu"}), "utf-8")
    assert "hidden_act gelu, got relu" in said(str(tmp_path / "v3"))
    monkeypatch.setitem(sys.modules, "timm", None)
    assert said("timm:resnet18").endswith("pip install 'bdgan-lib[timm]'")


def test_weights_that_cannot_be_fetched_are_one_line_with_the_way_out(monkeypatch):
    def fails(name, pretrained, **_):
        raise OSError("no\nroute to host")

    monkeypatch.setattr(timm, "create_model", fails)
    with pytest.raises(BdganError) as error:
        load_start("timm:resnet18.a1_in1k")
    assert str(error.value) == (
        "the weights of timm:resnet18.a1_in1k could not be fetched (no route to host); give a file of them, "
        "timm:resnet18.a1_in1k@FILE, or begin untrained, timm:resnet18.a1_in1k@random"
    )
    tagged = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    bare = sorted({*timm.list_models()} - tagged)[0]
    with pytest.raises(BdganError, match=f"timm has no weights of {bare}; give a file"):
        load_start(f"timm:{bare}")


def test_a_network_of_one_image_size_says_so():
    with pytest.raises(BdganError, match=r"does not take images of 128 × 128 .*; resize them, or choose"):
        TimmTrunk("mixer_s32_224")(IMAGES_128)
