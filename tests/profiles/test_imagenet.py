"""The ImageNet profiles: class lists, shapes without weights, the whole chain with them, clear refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_pretrained_biggan import BigGAN
from safetensors.torch import save_file
from torchvision.models import resnet50

from bdgan_lib.checkpoints import download
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.doctor import checkup, generator_costs
from bdgan_lib.experiments.runner import shipped_result
from bdgan_lib.generators.biggan_deep import deep_config
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.heads.training_data import collect_training_data
from bdgan_lib.profiles import PROFILES, load_profile
from bdgan_lib.profiles.imagenet import _normalised
from bdgan_lib.profiles.pocket import recorded_session

REAL = [name for name in PROFILES if not name.startswith("pocket")]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BDGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BDGAN_OFFLINE", "1")
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def test_a_thousand_classes_of_different_names_with_their_synsets():
    profile = load_profile("imagenet-128")
    assert len(set(profile.classes)) == len(set(profile.synsets)) == 1000
    for class_id, name, synset in ((0, "tench", "n01440764"), (207, "golden retriever", "n02099601"),
                                   (980, "volcano", "n09472597")):  # fmt: skip
        assert profile.class_id(name) == class_id and profile.synsets[class_id] == synset
    assert profile.class_id("mug") == profile.class_id("coffee mug"), "the only class of that last word"
    for name in ("dodo", "terrier"):  # none; many
        with pytest.raises(BdganError, match=f"no class '{name}'"):
            profile.class_id(name)


@pytest.mark.parametrize(
    ("name", "gflop", "blocks"),
    [
        ("imagenet-128", 22.6, 10),
        ("imagenet-256", 77.7, 12),
        ("imagenet-512", 151.5, 14),
        ("release-512", 239.7, 8),
    ],
)
def test_shapes_and_costs_are_known_without_weights(name, gflop, blocks):
    """GFLOP: of the released networks; ours computes the same with fewer, by a share that the layers give."""
    profile = load_profile(name)
    generator = profile.generator("meta")
    assert generator.image_size == profile.image_size and len(generator.blocks) == blocks
    flops, size, features = generator_costs(profile)
    assert 0.4 * gflop < flops / 1e9 < gflop
    assert 150e6 < size < 500e6 and features == sum(4 * c * s * s for c, s in generator.blocks.values())


def test_the_costs_of_vqgan_are_those_of_its_size():
    """Two operations per weight of the transformer and code, and a decoder of some 250 GFLOP."""
    flops, size, features = generator_costs(load_profile("imagenet-vqgan"))
    assert 2 * 1.36e9 * 256 < flops < 2 * 1.42e9 * 256 + 400e9
    assert 2 * 4 * 1.36e9 < size < 2 * 4 * 1.6e9 and features > 3 * 4 * 1536 * 256


@pytest.mark.parametrize("name", REAL)
def test_without_weights_and_network_the_error_says_what_to_put_where(name, cache):
    with pytest.raises(BdganError, match=r"offline; put .* there"):
        load_profile(name).generator()


@pytest.mark.parametrize("part", ["oracle", "classifier", "renderer", "shipped", "encoder"])
def test_what_only_other_worlds_have_is_none_and_refused_by_name(part):
    profile = load_profile("imagenet-256")
    assert getattr(profile, part) is None
    with pytest.raises(BdganError, match=r"profile imagenet-256 has no .*: "):
        profile.require(part)
    with pytest.raises(BdganError, match="has no shipped results: run `bdgan experiment NAME`"):
        shipped_result(profile, "x")
    with pytest.raises(BdganError, match=r"has no shipped results.*draw"):
        recorded_session(profile)


@pytest.mark.slow
def test_a_full_size_checkpoint_goes_through_conversion_verification_and_sampling(cache):
    """BigGAN-deep 128 with random weights, pickled as the package's own file is."""
    torch.manual_seed(0)
    model = BigGAN(deep_config(128))
    for name, x in model.state_dict().items():
        if "running" in name or name.startswith("generator.bn."):
            x.uniform_(0.5, 1.5)
    with torch.no_grad():  # a step of every power iteration, which a fresh model lacks
        model.train()(torch.randn(2, 128), torch.eye(1000)[:2], 1.0)
    torch.save(model.state_dict(), cache / "biggan-deep-128-pytorch_model.bin")
    profile = load_profile("imagenet-128")
    generator = profile.generator()
    sample = generator.sample(torch.tensor([7]), torch.tensor([3]), profile.sampling)
    assert sample.images.shape == (1, 3, 128, 128) and torch.isfinite(sample.images).all()
    shapes = {b: (c, s, s) for b, (c, s) in generator.blocks.items()}
    assert {b: tuple(x.shape[1:]) for b, x in sample.features.items()} == shapes
    (cache / "biggan-deep-128-pytorch_model.bin").unlink()  # the converted file is enough
    assert profile.generator().sha256 == generator.sha256
    whole = cache / "biggan-deep-128.safetensors"
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    with pytest.raises(BdganError, match=r"biggan-deep-128\.safetensors is damaged: expected sha256"):
        profile.generator()


def test_a_checkpoint_with_one_key_less_or_more_is_refused_by_name(cache):
    state = BigGAN(deep_config(128)).state_dict()
    first = next(iter(state))
    for change, says in (({first: None}, f"missing: {first}"), ({"more": torch.ones(1)}, "surplus: more")):
        entry = load_profile("imagenet-128").weights[0]
        kept = {k: x.contiguous() for k, x in {**state, **change}.items() if x is not None}
        save_file(kept, cache / f"{entry.name}.safetensors")  # as if converted
        with pytest.raises(BdganError, match=says):
            load_profile("imagenet-128").generator()


def test_a_sample_with_its_own_latent_gives_that_latent_s_features(tmp_path, biggan):
    from bdgan_lib.generators.biggan_deep import BigGANDeep

    generator = BigGANDeep(biggan, "tiny", [str(i) for i in range(12)], "0" * 64)
    z = torch.randn(1, generator.z_dim)
    side = generator.image_size
    plain = Annotation("a_1", "a", 1, 5, Sampling(), "0" * 64, np.zeros((side, side), np.uint8), "me")
    store = AnnotationStore(tmp_path)
    store.add(plain)
    store.add(replace(plain, id="b_1", latent=tuple(z[0].tolist())))
    examples = collect_training_data(generator, store, feature_cache="memory")
    ids, seeds = torch.tensor([1]), torch.tensor([5])
    for row, given in ((0, None), (1, z)):
        wanted = generator.sample(ids, seeds, Sampling(), z=given)
        for block, x in wanted.features.items():
            torch.testing.assert_close(examples.features[block][row : row + 1], x, atol=1e-5, rtol=1e-4)
    with pytest.raises(BdganError, match=r"expected latents .* got \[1, 3\]"):
        generator.sample(ids, seeds, Sampling(), z=torch.zeros(1, 3))
    with pytest.raises(BdganError, match="expected the sample"):
        store.add(replace(plain, latent=(1.0,)))


def test_the_doctor_says_what_is_missing_and_what_to_do(cache):
    text = "\n".join(checkup(load_profile("imagenet-256")))
    for part in ("torch ", "GB free", "GFLOP", "images/s", "Apache-2.0", "234 MB: not here",
                 "next: bdgan weights fetch biggan-deep-256 resnet50"):  # fmt: skip
        assert part in text
    entry = load_profile("imagenet-256").weights[0]
    (cache / entry.file).write_bytes(b"cut off")
    with pytest.raises(BdganError, match="damaged"):
        download.cached_file(entry, cache)


def test_a_profile_s_scorer_gives_each_image_its_class_s_probability(monkeypatch):
    class Classifier(torch.nn.Module):
        def forward(self, x):
            assert x.shape[1:] == (3, 224, 224) and x.abs().max() < 3
            return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

    scorer = lambda: NetworkScorer(Classifier(), _normalised)
    profile = replace(load_profile("imagenet-128"), load_scorer=scorer)
    images = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 255)])
    found = profile.scorer(images, np.array([1, 1]))
    assert found[0] > 0.9 > 0.1 > found[1]
    assert json.dumps(profile.sampling.to_json())


def random_inception(cache):
    """Inception with random weights, and the name of the published file."""
    kind = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    torch.save({}, cache / "empty.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "load_state_dict", lambda *_: None)
        network = kind("inception", ["2048"], cache / "empty.pth")
    return network, "weights-inception-2015-12-05-6726825d.pth"


@pytest.mark.parametrize("name", ["resnet50", "inception"])
def test_weights_of_a_scorer_that_do_not_fit_are_refused_by_name(name, cache):
    if name == "resnet50":
        state, key = resnet50().state_dict(), "bn1.bias"
        load = lambda: load_profile("imagenet-128").scorer
    else:
        network, _ = random_inception(cache)
        state, key = network.state_dict(), "Conv2d_1a_3x3.bn.bias"
        load = lambda: load_profile("imagenet-128").quality_features(np.zeros((1, 40, 40, 3), np.uint8))
    without = {k: x for k, x in state.items() if not k.endswith(".num_batches_tracked")}
    for change, says in (
        ({key: None}, f"does not fit.*missing: {key}$"),
        ({"more": torch.ones(1)}, "does not fit.*surplus: more$"),
        ({key: torch.ones(3)}, rf"does not fit.*of another shape: {key} \[3\] instead of"),
        ({}, ""),
    ):
        kept = {k: x.contiguous() for k, x in {**without, **change}.items() if x is not None}
        save_file(kept, cache / f"{name}.safetensors")  # as if converted
        if says:
            with pytest.raises(BdganError, match=says):
                load()
        else:
            load()


def test_published_fids_features_come_from_the_fetched_inception(cache):
    (network, file), profile = random_inception(cache), load_profile("imagenet-128")
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    with pytest.raises(BdganError, match="inception is not in"):
        profile.quality_features(images)
    torch.save(network.state_dict(), cache / file)
    found = profile.quality_features(images)
    assert found.shape == (3, 2048)
    assert np.array_equal(found, network(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy())
