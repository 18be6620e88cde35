"""The label head: what it computes, by an independent reference; and that a saved one is the same one."""

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.base import Architecture, HeadConfig, largest
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.mixconv import ConditionalNorm

BLOCKS = (("b1", 10, 4), ("b2", 8, 4), ("b3", 8, 8), ("b4", 6, 16), ("b5", 6, 32), ("b6", 4, 32))
KINDS = [
    Architecture("paper", (6, 5, 4)),
    Architecture("paper", (6, 5, 4), members=3),
    Architecture("fast", (6, 5, 4), stride=1),
    Architecture("fast", (6, 5, 4), stride=2, members=3),
    Architecture("fast", (6, 5, 4), stride=4, conditional=False),
    Architecture("fast", (6, 5, 4), groups=("mid",)),
    Architecture("linear"),
    Architecture("mlp", (7, 5), members=2),
]


def name_of(kind):
    return f"{kind.variant}-{kind.stride}-{kind.members}-{len(kind.groups)}"


def make_head(seed=0, labels=("background", "foreground", "other"), kind=KINDS[2]):
    """A head whose standardisation is no identity."""
    torch.manual_seed(seed)
    head = build_head(HeadConfig(BLOCKS, 3, labels, kind))
    for name, channels, _ in BLOCKS:
        getattr(head, f"mean_{name}").copy_(torch.randn(channels))
        getattr(head, f"scale_{name}").copy_(torch.rand(channels) + 0.5)
    return head


def make_features(batch=2, seed=1):
    noise = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, c, side, side, generator=noise) * 2 + 1 for name, c, side in BLOCKS}


def resize(x, side):
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def standardised(head, features, name):
    mean, scale = getattr(head, f"mean_{name}"), getattr(head, f"scale_{name}")
    return (features[name] - mean[:, None, None]) * scale[:, None, None]


def gathered(head, features, names, side):
    """The release's order: standardise, resize every block, concatenate, one 1x1 convolution."""
    wide = torch.cat([resize(standardised(head, features, name), side) for name in names], 1)
    weight = torch.cat([head.projections[name].weight for name in names], 1)
    return F.conv2d(wide, weight, sum(head.projections[name].bias for name in names))


@torch.no_grad()
def test_the_paper_s_head_is_the_published_order_of_operations():
    head, features = make_head(kind=KINDS[0]).double().eval(), make_features()
    features, class_ids = {name: x.double() for name, x in features.items()}, torch.tensor([0, 2])
    low, mid, high = ["b1", "b2"], ["b3"], ["b4", "b5", "b6"]
    assert list(head.groups.values()) == [low, mid, high]
    x = resize(gathered(head, features, low, 4), 8)
    x = head.mixes["mid"](torch.cat([x, gathered(head, features, mid, 8)], 1), class_ids)
    x = head.mixes["high"](torch.cat([resize(x, 32), gathered(head, features, high, 32)], 1), class_ids)
    expected = head.out(head.norm(x).relu())
    torch.testing.assert_close(head(features, class_ids)[:, 0], expected, atol=1e-12, rtol=0)


@torch.no_grad()
def test_a_pixel_s_network_sees_the_resized_features_of_that_pixel_alone():
    """DatasetGAN's order: resize and concatenate all blocks, then member by member one pixel at a time."""
    head, features = make_head(kind=KINDS[7]).double().eval(), make_features()
    features = {name: x.double() for name, x in features.items()}
    for norm in (head.norm1, head.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    names = [name for name, _, _ in BLOCKS]
    wide = torch.cat([resize(standardised(head, features, name), 32) for name in names], 1)
    rows = wide.permute(0, 2, 3, 1).reshape(-1, wide.shape[1])
    first = torch.cat([head.projections[name].weight[..., 0, 0] for name in names], 1)
    bias = sum(head.projections[name].bias for name in names)

    def normed(x, norm, at):
        mean, var = norm.running_mean[at], norm.running_var[at]
        return (x - mean) / (var + norm.eps).sqrt() * norm.weight[at] + norm.bias[at]

    logits = head(features, torch.tensor([0, 1]))
    for m in range(2):
        at, then, last = slice(7 * m, 7 * m + 7), slice(5 * m, 5 * m + 5), slice(3 * m, 3 * m + 3)
        h = normed((rows @ first[at].T + bias[at]).relu(), head.norm1, at)
        hidden = h @ head.hidden.weight[then, :, 0, 0].T + head.hidden.bias[then]
        h = normed(hidden.relu(), head.norm2, then)
        scores = h @ head.out.weight[last, :, 0, 0].T + head.out.bias[last]
        expected = scores.reshape(2, 32, 32, 3).permute(0, 3, 1, 2)
        torch.testing.assert_close(logits[:, m], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_every_head_gives_logits_of_every_member_for_every_pixel(kind):
    head, features = make_head(kind=kind), make_features()
    logits = head(features, torch.tensor([0, 2]))
    assert logits.shape == (2, kind.members, 3, 32, 32)
    logits.sum().backward()
    unused = [name for name, p in head.named_parameters() if p.grad is None]
    assert not unused, "no weight is there for nothing"


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_head_looks_only_at_the_groups_it_was_given(kind):
    head, features, ids = make_head(kind=kind).eval(), make_features(), torch.tensor([0, 1])
    read = {name for group in kind.groups for name in head.groups[group]}
    for name in features:
        changed = {**features, name: features[name] + torch.randn_like(features[name])}
        assert torch.equal(head(features, ids), head(changed, ids)) == (name not in read)


@torch.no_grad()
def test_moving_the_image_by_a_patch_moves_the_labels_with_it():
    """Far from the border, the fast head knows no place but by its features."""
    head = make_head(kind=Architecture("fast", (6, 5, 4), stride=2, groups=("high",))).eval()
    features = make_features()
    moved = {name: x.roll(8 * x.shape[-1] // 32, 3) for name, x in features.items()}
    one, two = (head(x, torch.tensor([0, 1])) for x in (features, moved))
    torch.testing.assert_close(two[..., 14:26], one[..., 6:18], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"variant": "magic"}, "paper, fast.*magic"),
        ({"widths": (3, 4)}, "expected 3 widths"),
        ({"widths": (3, 0, 4)}, "widths"),
        ({"groups": ("low", "top")}, "top"),
        ({"groups": ()}, "groups"),
        ({"variant": "paper", "groups": ("low",)}, "paper"),
        ({"members": 0}, "1 or more members .* got 0 and 2"),
        ({"stride": 0}, "stride 1 or more, got 1 and 0"),
    ],
)
def test_settings_a_head_cannot_have_are_refused(wrong, says):
    with pytest.raises(BdganError, match=says):
        Architecture(**wrong)


@torch.no_grad()
def test_the_class_decides_with_the_features():
    head, features = make_head().eval(), make_features(1)
    head.mixes["mid"].norm1.gain.weight[1] *= 2
    assert not torch.allclose(head(features, torch.tensor([0])), head(features, torch.tensor([1])))
    plain = make_head(kind=Architecture("fast", (6, 5, 4), conditional=False)).eval()
    assert torch.equal(plain(features, torch.tensor([0])), plain(features, torch.tensor([1])))


def test_standardised_features_have_mean_0_and_deviation_1_however_they_come():
    head, features = make_head(), make_features(5)
    head.standardise({name: x[part] for name, x in features.items()} for part in ([0, 1, 2], [3], [4]))
    for name, x in features.items():
        y = standardised(head, features, name)
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-4, rtol=0)
        deviation = y.std((0, 2, 3), correction=0)
        torch.testing.assert_close(deviation, torch.ones(x.shape[1]), atol=2e-3, rtol=0)


def test_a_stride_that_does_not_divide_the_image_is_refused():
    with pytest.raises(BdganError, match="stride 16 does not fit images of 32"):
        make_head(kind=Architecture("fast", stride=16))


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
    labels = head.predict(sample)
    assert labels.dtype == np.uint8 and labels.shape == (2, 32, 32)
    assert np.array_equal(labels, head(sample.features, sample.class_ids)[:, 0].argmax(1).numpy())


def test_the_fingerprint_is_that_of_settings_and_weights():
    one = make_head()
    assert one.sha256 == make_head().sha256 != make_head(seed=1).sha256
    assert one.sha256 != make_head(labels=("background", "foreground", "renamed")).sha256
    before = one.sha256
    with torch.no_grad():
        one.mean_b1[0] += 1  # buffers count
    assert one.sha256 != before


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_saved_head_is_the_same_head(tmp_path, kind):
    head, sample = make_head(kind=kind).eval(), make_sample()
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
    with pytest.raises(BdganError, match=rf"head\.safetensors.*{head.sha256}.*got [0-9a-f]{{64}}") as error:
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


@pytest.mark.parametrize("calls_before", range(5))
@pytest.mark.parametrize("call", [(os, "fsync"), (Path, "replace")], ids=["fsync", "rename"])
def test_a_head_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, call, calls_before):
    """The process ends at the n-th write to the disk: the old or the new head is there."""
    old, new = make_head(), make_head()
    with torch.no_grad():
        next(new.parameters()).add_(1)
    save_head(old, tmp_path)
    owner, name = call
    true_call, calls = getattr(owner, name), []

    def ended(*args):
        calls.append(args)
        if len(calls) > calls_before:
            raise SystemExit
        return true_call(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, ended)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as after SIGKILL
        with suppress(SystemExit):
            save_head(new, tmp_path)
    assert load_head(tmp_path).sha256 in (old.sha256, new.sha256)
    save_head(new, tmp_path)
    assert load_head(tmp_path).sha256 == new.sha256
    names = [path.name for path in tmp_path.iterdir() if not path.name.endswith(".tmp")]
    assert sorted(names) == ["head.json", "head.safetensors"]


def test_a_record_without_a_fingerprint_is_refused(tmp_path):
    save_head(make_head(), tmp_path)
    record = json.loads((tmp_path / "head.json").read_text())
    del record["sha256"]
    (tmp_path / "head.json").write_text(json.dumps(record))
    with pytest.raises(BdganError, match="sha256"):
        load_head(tmp_path)


def test_the_largest_score_is_found_and_the_first_of_equal_ones():
    scores = torch.randint(0, 4, (2, 5, 7, 9)).float()
    assert torch.equal(largest(scores).long(), scores.argmax(1))


@torch.no_grad()
def test_a_conditional_norm_in_evaluation_is_batch_norm_with_the_class_s_gain_and_bias():
    norm = ConditionalNorm(4, 3).eval()
    for value in (norm.norm.running_mean, norm.norm.running_var, norm.gain.weight, norm.bias.weight):
        value.uniform_(0.5, 2)
    x, ids = torch.randn(2, 4, 5, 5), torch.tensor([2, 0])
    expected = norm.norm(x) * norm.gain(ids)[..., None, None] + norm.bias(ids)[..., None, None]
    torch.testing.assert_close(norm(x, ids), expected)
