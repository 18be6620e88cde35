"""The label head: what it computes, by an independent reference; and that a saved one is the same one."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.heads.label_head import HeadConfig, LabelHead
from bdgan_lib.heads.training import load_head, save_head
from bdgan_lib.types import BdganError, Sample, Sampling

BLOCKS = (("b1", 10, 4), ("b2", 8, 4), ("b3", 8, 8), ("b4", 6, 16), ("b5", 6, 32), ("b6", 4, 32))


def make_head(seed=0, labels=("background", "foreground", "other")):
    torch.manual_seed(seed)
    return LabelHead(HeadConfig(BLOCKS, 3, labels, (6, 5, 4)))


def make_features(batch=2, seed=1):
    noise = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, c, side, side, generator=noise) * 2 + 1 for name, c, side in BLOCKS}


def resize(x, side):
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def reference(head, features, class_ids):
    """The paper's order: standardise, resize a group to its finest side, concatenate, one 1x1 convolution."""
    fused = None
    for group, mix in zip(head.groups, head.mixes, strict=True):
        side = max(features[name].shape[-1] for name in group)
        wide, weight, bias = [], [], 0
        for name in group:
            mean, scale = getattr(head, f"mean_{name}"), getattr(head, f"scale_{name}")
            wide.append(resize((features[name] - mean[:, None, None]) * scale[:, None, None], side))
            weight.append(head.projections[name].weight)
            bias = bias + head.projections[name].bias
        x = F.conv2d(torch.cat(wide, 1), torch.cat(weight, 1), bias)
        fused = mix(x if fused is None else torch.cat([resize(fused, side), x], 1), class_ids)
    return head.out(fused.relu())


@torch.no_grad()
def test_projecting_before_the_resize_is_the_same_function_as_after_it():
    head, features, class_ids = make_head().double().eval(), make_features(), torch.tensor([0, 2])
    features = {name: x.double() for name, x in features.items()}
    for name, channels, _ in BLOCKS:
        getattr(head, f"mean_{name}").copy_(torch.randn(channels))
        getattr(head, f"scale_{name}").copy_(torch.rand(channels) + 0.5)
    logits = head(features, class_ids)
    assert logits.shape == (2, 3, 32, 32)
    torch.testing.assert_close(logits, reference(head, features, class_ids), atol=1e-12, rtol=0)


@torch.no_grad()
def test_the_class_decides_with_the_features():
    head, features = make_head().eval(), make_features(1)
    head.mixes[0].norm1.gain.weight[1] *= 2
    assert not torch.allclose(head(features, torch.tensor([0])), head(features, torch.tensor([1])))


def test_standardised_features_have_mean_0_and_deviation_1():
    head, features = make_head(), make_features(5)
    head.standardise(features)
    for name, x in features.items():
        y = (x - getattr(head, f"mean_{name}")[:, None, None]) * getattr(head, f"scale_{name}")[:, None, None]
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(x.shape[1]), atol=2e-3, rtol=0)


def test_a_missing_block_is_named():
    features = make_features()
    del features["b3"]
    with pytest.raises(BdganError, match="b3"):
        make_head()(features, torch.tensor([0, 1]))


def make_sample(batch=2):
    seeds, class_ids = torch.arange(batch), torch.arange(batch) % 3
    return Sample(torch.zeros(batch, 3, 32, 32), make_features(batch), class_ids, seeds, Sampling())


def test_predict_gives_the_most_likely_label_of_every_pixel():
    head, sample = make_head(), make_sample()
    found = head.predict(sample)
    assert found.dtype == np.uint8 and found.shape == (2, 32, 32)
    assert np.array_equal(found, head(sample.features, sample.class_ids).argmax(1).numpy())


def test_the_fingerprint_is_that_of_settings_and_weights():
    one = make_head()
    assert one.sha256 == make_head().sha256 != make_head(seed=1).sha256
    assert one.sha256 != make_head(labels=("background", "foreground", "renamed")).sha256
    before = one.sha256
    with torch.no_grad():
        one.mean_b1[0] += 1  # buffers count
    assert one.sha256 != before


def test_a_saved_head_is_the_same_head(tmp_path):
    head, sample = make_head().eval(), make_sample()
    save_head(head, tmp_path / "head")
    loaded = load_head(tmp_path / "head")
    assert loaded.sha256 == head.sha256 and loaded.config == head.config
    logits = [h(sample.features, sample.class_ids) for h in (head, loaded)]
    assert torch.equal(*logits)


def test_flipped_weights_are_refused_with_both_fingerprints(tmp_path):
    head = make_head()
    save_head(head, tmp_path)
    data = bytearray((tmp_path / "head.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "head.safetensors").write_bytes(data)
    with pytest.raises(
        BdganError, match=rf"head\.safetensors.*{head.sha256}.*actual [0-9a-f]{{64}}"
    ) as error:
        load_head(tmp_path)
    assert str(error.value).count(head.sha256) == 1, "the other one is the damaged file's"


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
def test_a_missing_or_cut_file_is_refused(tmp_path, name):
    save_head(make_head(), tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BdganError, match=str(tmp_path)):
        load_head(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BdganError, match=name):
        load_head(tmp_path)


def test_a_record_without_a_fingerprint_is_refused(tmp_path):
    save_head(make_head(), tmp_path)
    record = json.loads((tmp_path / "head.json").read_text())
    del record["sha256"]
    (tmp_path / "head.json").write_text(json.dumps(record))
    with pytest.raises(BdganError, match="sha256"):
        load_head(tmp_path)
