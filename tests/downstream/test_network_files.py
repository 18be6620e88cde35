"""Networks from any start, with any decoder: they learn, answer at full size, and are read back the same."""

import json
import sys

import numpy as np
import pytest
import torch

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import build_backbone
from bdgan_lib.downstream.network_files import load_network, save_network
from bdgan_lib.downstream.segmentation import segmenter
from bdgan_lib.downstream.starts.load import load_start
from bdgan_lib.downstream.starts.smp_decoders import DECODERS
from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded

smp = pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("timm")

KINDS = [
    ("timm:resnet18@random", "unet"),
    ("timm:convnext_atto@random", "smp:UPerNet"),
    ("timm:vit_tiny_patch16_224@random", "smp:FPN"),
    ("pocket-10", "smp:DeepLabV3Plus"),
]


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    """Sixteen images with a bright box, and its mask; sides that no network's stride divides."""
    images = np.random.default_rng(0).integers(0, 60, (16, 44, 52, 3), np.uint8)
    masks = np.zeros((16, 44, 52), np.uint8)
    images[:, 8:32, 4:28, 0] += 180
    masks[:, 8:32, 4:28] = 1
    return images, masks


@pytest.mark.parametrize(("init", "decoder"), KINDS)
def test_a_network_learns_is_saved_and_read_back(tmp_path, scenes, init, decoder):
    images, masks = scenes
    build = lambda: segmenter(seeded(lambda: load_start(init).trunk, 0), 2, decoder)
    few, more = (FitConfig(steps=steps, batch_size=8, learning_rate=3e-4) for steps in (1, 15))
    network = build()
    assert fit(network, images, masks, more) < fit(build(), images, masks, few), "mean loss of 15 steps, of 1"
    logits = predict(network, images[:2])
    assert logits.shape == (2, 2, 44, 52)
    save_network(network, decoder, ("background", "box"), tmp_path / "net", task="boxes")
    again, record = load_network(tmp_path / "net")
    assert torch.equal(predict(again, images[:2]), logits)
    assert record["labels"] == ["background", "box"] and record["task"] == "boxes"
    assert again.backbone.statistics == network.backbone.statistics


def test_damaged_or_missing_files_are_named(tmp_path):
    network = segmenter(build_backbone("pocket-10"), 2)
    save_network(network, "unet", ("a", "b"), tmp_path / "net")
    with pytest.raises(BdganError, match="net exists and is not written over"):
        save_network(network, "unet", ("a", "b"), tmp_path / "net")
    weights = tmp_path / "net/network.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BdganError, match="is damaged: its sha256 is not the record's"):
        load_network(tmp_path / "net")
    (tmp_path / "net/network.json").unlink()
    with pytest.raises(
        BdganError, match=r"network\.json is missing; give a folder of `bdgan benchmark train`"
    ):
        load_network(tmp_path / "net")


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("decoder", 5, "expected the names of labels and a decoder, got .* and 5"),
        ("labels", "ab", "expected the names of labels and a decoder, got 'ab'"),
        ("labels", [1, 2], r"expected the names of labels and a decoder, got \[1, 2\]"),
        ("trunk", [], r"expected a trunk with a name, got \[\]"),
        ("trunk.name", [], "expected a trunk with a name"),
        ("trunk.mean", "abc", "expected a mean of three numbers, got 'abc'"),
        ("trunk.mean", [1], r"expected a mean of three numbers, got \[1\]"),
        ("trunk.mean", [10**400, 0, 0], "expected a mean of three numbers"),
        ("trunk.mean", [float("nan"), 0, 0], "expected a mean of three numbers"),
        ("trunk.deviation", [0, 0, 0], r"expected a deviation of three positive numbers, got \[0, 0, 0\]"),
        ("trunk.settings", 5, "expected settings by name, got 5"),
        ("trunk.settings", {"img_size": {}}, "expected a plain img_size, got {}"),
        ("trunk.settings", {"depth": 3}, "timm does not build resnet18 with {'depth': 3}"),
        ("trunk.settings", {"checkpoint_path": "f"}, "not built with the setting 'checkpoint_path'"),
    ],
)
def test_a_malformed_record_is_one_line(tmp_path, part, value, text):
    network = segmenter(load_start("timm:resnet18@random").trunk, 2)
    save_network(network, "unet", ("a", "b"), tmp_path / "net")
    path = tmp_path / "net/network.json"
    record = json.loads(path.read_text("utf-8"))
    place, key = (record["trunk"], part[6:]) if part.startswith("trunk.") else (record, part)
    place[key] = value
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(BdganError, match=text) as error:
        load_network(tmp_path / "net")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_smp_s_on_smp_s_own_maps(name):
    """On the maps of a ResNet, ours computes what smp's decoder and head do with the same weights."""
    torch.manual_seed(0)
    trunk = build_backbone("resnet50")
    ours = segmenter(trunk, 3, f"smp:{name}").eval()
    assert type(ours.head.decoder) is type(getattr(smp, name)("resnet18", encoder_weights=None).decoder)
    with torch.no_grad():
        assert ours(torch.randn(1, 3, 128, 160)).shape == (1, 3, 128, 160)


def test_decoders_that_need_more_say_so_in_one_line(monkeypatch):
    with pytest.raises(BdganError, match=r"expected a decoder smp:NAME of Unet, .*, got smp:DPT"):
        segmenter("pocket-10", 2, "smp:DPT")
    network = segmenter("resnet50", 2, "smp:PAN")
    with pytest.raises(BdganError, match="smp:PAN needs larger images"):
        network(torch.randn(2, 3, 64, 64))
    with pytest.raises(BdganError, match="more of them in a batch"):
        segmenter("pocket-10", 2, "smp:DeepLabV3").train()(torch.randn(1, 3, 64, 64))
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(BdganError, match=r"pip install 'bdgan-lib\[timm\]'"):
        segmenter("pocket-10", 2, "smp:Unet")
