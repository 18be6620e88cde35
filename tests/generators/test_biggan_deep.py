"""The pocket's loader computes what the package computes, and is right where the package is not."""

import json
from copy import deepcopy

import pytest
import torch
from pytorch_pretrained_biggan.model import BigGANBatchNorm
from safetensors.torch import load_file, save_file

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan_deep import BigGANDeep, load_biggan_deep
from bdgan_lib.generators.feature_generator import log_once
from bdgan_lib.generators.hooks import capture_features
from bdgan_lib.generators.latents import latents_from_seeds

NAMES = tuple(f"class {i}" for i in range(12))
IDS, SEEDS = torch.tensor([0, 3, 11, 3]), torch.tensor([5, 6, 7, 8])


@pytest.fixture
def generator(biggan):
    return BigGANDeep(deepcopy(biggan), "tiny", NAMES, "0" * 64)


@pytest.fixture
def folder(biggan, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(biggan.config.to_dict()))
    save_file(biggan.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


@torch.no_grad()
def package(model, truncation, row_of=None):
    """The package's own images of IDS and SEEDS; row_of: the latents' truncation, if it is another."""
    z = latents_from_seeds(SEEDS, 8, Sampling(row_of or truncation))
    return model(z, torch.eye(12)[IDS], truncation)


@pytest.mark.parametrize("truncation", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_images_equal_the_package_s_where_it_reads_the_right_row(biggan, generator, truncation):
    quotient = truncation / 0.02
    assert quotient == round(quotient)
    ours = generator.sample(IDS, SEEDS, Sampling(truncation)).images
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, package(biggan, truncation), atol=1e-5, rtol=0)


def test_the_nearest_row_of_statistics_is_read_where_the_package_takes_its_neighbour(biggan, generator):
    ours = generator.sample(IDS, SEEDS, Sampling(0.58)).images
    assert (ours - package(biggan, 0.58)).abs().max() > 1e-3, (
        "0.58 / 0.02 is 28.999...: the package reads row 28"
    )
    for module in biggan.modules():
        if isinstance(module, BigGANBatchNorm):
            for table in (module.running_means, module.running_vars):
                table[:] = table[29].clone()
    torch.testing.assert_close(ours, package(biggan, 0.5, row_of=0.58), atol=1e-5, rtol=0)


def test_plain_scaling_reads_the_statistics_of_the_whole_normal(biggan, generator):
    ours = generator.sample(IDS, SEEDS, Sampling(z_std=0.9)).images
    with torch.no_grad():
        theirs = biggan(latents_from_seeds(SEEDS, 8, Sampling(z_std=0.9)), torch.eye(12)[IDS], 1.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_spectral_norm_is_fused_into_equal_weights(biggan, generator):
    layer = biggan.generator.gen_z
    with torch.no_grad():
        layer(torch.zeros(1, 16))  # computes `weight`
    fused = generator._model.generator.gen_z
    torch.testing.assert_close(fused.weight, layer.weight, atol=1e-6, rtol=1e-6)
    assert not any("weight_orig" in key for key in generator._model.state_dict())


def test_features_are_the_package_s_and_have_the_announced_shapes(biggan, generator):
    sample = generator.sample(IDS, SEEDS)
    assert list(sample.features) == list(generator.blocks) == [f"block{i}" for i in range(1, 6)]
    assert list(generator.blocks.values()) == [(64, 4), (32, 8), (16, 16), (8, 32), (4, 32)]
    with capture_features(biggan, ["generator.layers.2", "generator.layers.5"]) as outputs:
        package(biggan, 1.0)
    torch.testing.assert_close(sample.features["block3"], outputs["generator.layers.2"], atol=1e-5, rtol=0)
    torch.testing.assert_close(sample.features["block5"], outputs["generator.layers.5"], atol=1e-5, rtol=0)
    for name, (channels, side) in generator.blocks.items():
        assert sample.features[name].shape == (4, channels, side, side)
        assert sample.features[name].dtype == torch.float32


def test_a_sample_depends_on_its_class_and_seed_not_on_its_neighbours(generator):
    order = torch.tensor([2, 0, 3, 1])
    one, other = generator.sample(IDS, SEEDS), generator.sample(IDS[order], SEEDS[order])
    assert torch.equal(one.images[order], other.images)
    neighbours = generator.sample(torch.tensor([0, 9, 9, 9]), torch.tensor([5, 90, 91, 92]))
    assert torch.equal(one.images[0], neighbours.images[0])
    for block in generator.blocks:
        assert torch.equal(one.features[block][0], neighbours.features[block][0])
    alone = generator.sample(IDS[:1], SEEDS[:1])  # another batch size: other kernels, the same picture
    torch.testing.assert_close(alone.images[0], one.images[0], atol=1e-5, rtol=0)


def test_class_and_seed_both_matter(generator):
    images = generator.sample(torch.tensor([0, 0, 1]), torch.tensor([5, 6, 5]), features=False).images
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert (images[0] - images[2]).abs().max() > 1e-3


def test_without_features_the_images_are_the_same(generator):
    bare = generator.sample(IDS, SEEDS, features=False)
    assert bare.features == {}
    assert torch.equal(bare.images, generator.sample(IDS, SEEDS).images)


@pytest.mark.parametrize("wrong", [12, -1])
def test_an_unknown_class_is_refused(generator, wrong):
    with pytest.raises(BdganError, match=rf"0 to 11 for tiny, got \[{wrong}\]"):
        generator.sample(torch.tensor([wrong]), torch.tensor([0]))


def test_as_many_seeds_as_classes(generator):
    with pytest.raises(BdganError, match="2 classes and 1 seeds"):
        generator.sample(torch.tensor([0, 1]), torch.tensor([0]))


def test_loading_gives_the_same_generator(folder, generator):
    loaded = load_biggan_deep(folder, NAMES)
    assert torch.equal(loaded.sample(IDS, SEEDS).images, generator.sample(IDS, SEEDS).images)
    assert len(loaded.sha256) == 64 and loaded.classes == NAMES and loaded.image_size == 32


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BdganError, match=name):
        load_biggan_deep(folder, NAMES)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_unreadable_file_is_named(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(BdganError, match=name):
        load_biggan_deep(folder, NAMES)


def test_every_key_that_does_not_fit_is_named(folder):
    state = load_file(folder / "model.safetensors")
    del state["embeddings.weight"]
    state["stranger.weight"] = torch.zeros(3)
    state["generator.bn.bias"] = torch.zeros(7)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(BdganError) as error:
        load_biggan_deep(folder, NAMES)
    for part in (
        "missing: embeddings.weight",
        "surplus: stranger.weight",
        "generator.bn.bias [7] instead of [4]",
    ):
        assert part in str(error.value)


def test_class_names_must_be_as_many_as_the_generator_s_classes(folder):
    with pytest.raises(BdganError, match=r"12 class names for .*, got 2"):
        load_biggan_deep(folder, ["robin", "mug"])


@pytest.mark.parametrize(("truncation", "told"), [(0.5, False), (1.0, False), (0.58, True), (0.505, True)])
def test_other_statistics_than_the_package_s_are_told_once(biggan, generator, truncation, told, caplog):
    log_once.cache_clear()
    for _ in range(2):
        ours = generator.sample(IDS, SEEDS, Sampling(truncation), features=False).images
    assert [f"truncation {truncation} reads" in message for message in caplog.messages] == [True] * told
    assert ((ours - package(biggan, truncation)).abs().max() > 1e-4) == told
