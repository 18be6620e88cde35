"""Laws of the VQGAN adapter, against taming's own modules and between its own parts."""

import json
import pickle
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.hooks import group_blocks
from bdgan_lib.generators.vqgan import load_vqgan

IDS = torch.tensor([0, 2, 1])


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_codes_are_those_of_tamings_quantizer(vqgan, images):
    network = vqgan._network
    _, _, (_, _, indices) = network.quantize(network.quant_conv(network.encoder(images)))
    codes = vqgan.encode(images)
    assert torch.equal(codes.flatten(), indices.flatten())
    vectors = network.quantize.get_codebook_entry(codes.flatten(), (3, 4, 4, 6))
    assert torch.equal(network.look_up(codes), vectors)
    assert torch.equal(vqgan.decode(codes), network.decoder(network.post_quant_conv(vectors)).clamp(-1, 1))


def test_a_code_is_its_vectors_nearest_of_the_codebook(vqgan, images):
    vectors = vqgan._network.embed(images).permute(0, 2, 3, 1).flatten(0, 2).double()
    distances = torch.cdist(vectors, vqgan.codebook.double())
    chosen = distances.gather(1, vqgan.encode(images).flatten()[:, None])
    assert (chosen[:, 0] - distances.min(1).values).max() < 1e-6


def test_features_are_the_outputs_of_tamings_blocks(vqgan, images):
    codes, gpt = vqgan.encode(images), vqgan._network.transformer
    features = vqgan.features(codes, IDS)
    assert {k: tuple(v.shape[1:]) for k, v in features.items()} == {
        k: (c, s, s) for k, (c, s) in vqgan.blocks.items()
    }
    x = torch.cat([IDS[:, None], codes.flatten(1)[:, :-1]], 1)
    x = gpt.tok_emb(x) + gpt.pos_emb
    for i, block in enumerate(gpt.blocks, 1):
        x = block(x)
        if f"transformer{i}" in features:
            plain = x.reshape(3, 4, 4, 16).permute(0, 3, 1, 2)
            torch.testing.assert_close(features[f"transformer{i}"], plain, atol=1e-5, rtol=1e-5)
    assert list(group_blocks(vqgan.blocks)[0])[:3] == ["transformer2", "transformer3", "transformer4"]


def test_a_map_of_the_transformer_knows_only_the_codes_before_it(vqgan, images):
    codes = vqgan.encode(images)
    other = codes.clone()
    other[:, 2, 1] = (other[:, 2, 1] + 1) % 40  # place 9
    before, after = (vqgan.features(c, IDS)["transformer4"].flatten(2) for c in (codes, other))
    same = (before - after).abs().amax((0, 1)) < 1e-5
    assert same[:10].all() and not same[10]


def test_a_sample_is_what_its_codes_decode_to(vqgan):
    seeds, sampling = torch.arange(3), Sampling(top_k=20)
    sample = vqgan.sample(IDS, seeds, sampling)
    codes = vqgan.sample_codes(IDS, seeds, sampling)
    assert torch.equal(sample.images, vqgan.decode(codes))
    assert sample.images.min() >= -1 and sample.images.max() <= 1
    for block, x in vqgan.features(codes, IDS).items():
        torch.testing.assert_close(sample.features[block], x, atol=1e-5, rtol=1e-5)
    assert list(sample.features) == list(vqgan.blocks)
    bare = vqgan.sample(IDS, seeds, sampling, features=False)
    assert bare.features == {} and torch.equal(bare.images, sample.images)


def test_it_goes_to_another_process_after_sampling(vqgan):
    first = vqgan.sample(IDS, torch.arange(3)).images
    assert torch.equal(pickle.loads(pickle.dumps(vqgan)).sample(IDS, torch.arange(3)).images, first)


def saved(vqgan, folder, change=lambda state: None):
    state = vqgan._network.state_dict()
    change(state)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(vqgan.config)))
    return folder


def test_saved_and_loaded_it_samples_the_same(vqgan, tmp_path):
    again = load_vqgan(saved(vqgan, tmp_path), vqgan.classes)
    assert torch.equal(again.sample(IDS, torch.arange(3)).images, vqgan.sample(IDS, torch.arange(3)).images)
    assert again.config == vqgan.config and len(again.sha256) == 64
    both = [g.features(g.encode(torch.zeros(3, 3, 32, 32)), IDS) for g in (vqgan, again)]
    for block in vqgan.blocks:
        torch.testing.assert_close(both[0][block], both[1][block])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("decoder.conv_out.bias"), "missing: decoder.conv_out.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "surplus: extra"),
        (lambda state: state.update({"quant_conv.bias": torch.zeros(9)}), r"quant_conv.bias \[9\] instead of \[6\]"),  # noqa: E501
    ],
    ids=["missing", "surplus", "shape"],
)  # fmt: skip
def test_weights_that_do_not_fit_the_configuration_are_named(vqgan, tmp_path, change, message):
    with pytest.raises(BdganError, match=message):
        load_vqgan(saved(vqgan, tmp_path, change), vqgan.classes)


def test_bad_input_is_named_with_what_was_wanted(vqgan, images, tmp_path):
    codes, seeds = vqgan.encode(images), torch.arange(3)
    for message, call in {
        r"images \[B, 3, 32, 32\], got .* \[3, 3, 16, 16\]": lambda: vqgan.encode(images[..., :16, :16]),
        "torch.uint8": lambda: vqgan.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)),
        "from -1 to 1, got 0 to 255": lambda: vqgan.encode(torch.linspace(0, 255, 3072).view(1, 3, 32, 32)),
        "nan": lambda: vqgan.encode(images * torch.nan),
        "codes 0 to 39, got 0 to 40": lambda: vqgan.decode(torch.eye(4, dtype=torch.int64)[None] * 40),
        r"codes as int64 .* got torch.int64 \[3, 16\]": lambda: vqgan.features(codes.flatten(1), IDS),
        r"class ids 0 to 2 .* got \[3\]": lambda: vqgan.sample(torch.tensor([3]), seeds[:1]),
        "3 classes and 2 seeds": lambda: vqgan.sample(IDS, seeds[:2]),
        "2 classes and 3 images": lambda: vqgan.features(codes, IDS[:2]),
        "takes top_k, top_p": lambda: vqgan.sample(IDS, seeds, Sampling(truncation=0.9)),
        "negative": lambda: vqgan.sample(IDS, seeds - 1),
        "config.json is missing": lambda: load_vqgan(tmp_path, vqgan.classes),
        "3 class names for tiny VQGAN, got 2": lambda: type(vqgan)(vqgan._network, vqgan.name, ("a", "b"), ""),  # noqa: E501
    }.items():  # fmt: skip
        with pytest.raises(BdganError, match=message):
            call()


def test_generators_of_latents_refuse_settings_of_codes(biggan):
    from bdgan_lib.generators.latents import latents_from_seeds

    with pytest.raises(BdganError, match="only VQGAN takes them"):
        latents_from_seeds(torch.arange(2), 8, Sampling(top_p=0.9))
