"""A network of one's own: what it must keep to be a generator, and that all later stages then take it."""

import numpy as np
import pytest
import torch
from torch import nn

from bdgan_lib.annotation.candidates import annotate_candidates, choose_candidates, image_source
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.validate import validate
from bdgan_lib.generators.custom import CustomGenerator
from bdgan_lib.generators.hooks import capture_features
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.training import HeadTraining, train_head
from bdgan_lib.synthesis.filters import Models, calibrate_filters
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec

BLOCKS = ["body.up4", "body.up1", "body.up2", "body.up3"]  # in any order
CLASSES = ("disc", "ring")
IDS, SEEDS = torch.tensor([0, 1, 1, 0]), torch.tensor([5, 6, 7, 6])


class Tiny(nn.Module):
    """Six numbers and a class into 32 x 32 pixels, as anyone might write it."""

    def __init__(self, steps: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.start = nn.Linear(6 + 2, 8 * 16)
            self.body = nn.Sequential()
            for k, (before, after) in enumerate([(8, 8), (8, 6), (6, 5), (5, 4)]):
                self.body.append(nn.Upsample(scale_factor=2 if k else 1))
                layers = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()
                self.body.add_module(f"up{k + 1}", nn.Sequential(*layers))
            self.rgb = nn.Conv2d(4, 3, 1)
            for weight in (x for x in self.parameters() if x.ndim > 1):
                nn.init.kaiming_normal_(weight)  # else latents hardly show
        self.register_buffer("steps", torch.tensor(steps))

    def forward(self, z, class_ids):
        h = torch.cat([z, nn.functional.one_hot(class_ids, 2)], 1)
        for _ in range(int(self.steps)):  # like a diffusion's, its blocks run several times
            x = self.body(self.start(h).view(-1, 8, 4, 4))
            h = h + x.mean((1, 2, 3))[:, None]
        return self.rgb(x).tanh()


def tiny(network=None, **changes):
    arguments = {"name": "tiny", "classes": CLASSES, "z_dim": 6, "blocks": BLOCKS} | changes
    return CustomGenerator(network or Tiny(), **arguments)


def test_an_image_depends_on_its_class_and_seed_alone():
    batch, alone = tiny().sample(IDS, SEEDS), tiny().sample(IDS[1:2], SEEDS[1:2])
    torch.testing.assert_close(batch.images[1:2], alone.images, atol=1e-5, rtol=0)
    for block, x in alone.features.items():
        torch.testing.assert_close(batch.features[block][1:2], x, atol=1e-5, rtol=0)
    assert not torch.allclose(batch.images[1], batch.images[3], atol=1e-3), "one seed, two classes"
    torch.manual_seed(1)
    assert torch.equal(tiny().sample(IDS, SEEDS).images, batch.images)


def test_images_and_features_are_the_network_s_own():
    sampling, network = Sampling(z_std=0.7), Tiny().eval()
    sample = tiny().sample(IDS, SEEDS, sampling)
    with torch.no_grad(), capture_features(network, BLOCKS) as outputs:
        images = network(latents_from_seeds(SEEDS, 6, sampling), IDS)
    torch.testing.assert_close(sample.images, images, atol=1e-5, rtol=0)
    for block, path in zip(["body_up1", "body_up2", "body_up3", "body_up4"], sorted(BLOCKS)):
        torch.testing.assert_close(sample.features[block], outputs[path], atol=1e-5, rtol=0)


def test_blocks_are_measured_and_stand_coarse_to_fine():
    generator = tiny()
    assert list(generator.blocks.values()) == [(8, 4), (6, 8), (5, 16), (4, 32)]
    assert generator.image_size == 32 and generator.z_dim == 6 and generator.classes == CLASSES


def test_the_sha256_is_that_of_weights_and_buffers():
    assert tiny().sha256 == tiny(name="another").sha256
    assert tiny().sha256 != tiny(Tiny(steps=3)).sha256
    other = Tiny()
    other.rgb.bias.data[0] += 1e-6
    assert tiny().sha256 != tiny(other).sha256


class Changed(Tiny):
    """Tiny with its images changed, and a module that gives two tensors."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change, self.pair = change, Pair()

    def forward(self, z, class_ids):
        self.pair(z)
        return self.change(super().forward(z, class_ids))


class Pair(nn.Module):
    def forward(self, z):
        return z, z


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x[:, :1], r"\[2, 1, 32, 32\]"),
        (lambda x: x[..., :16], r"\[2, 3, 32, 16\]"),
        (lambda x: (x + 1) * 127.5, "expected image values from -1 to 1"),
        (lambda x: x * float("nan"), "expected image values from -1 to 1"),
        (lambda x: x * torch.rand(()), "two batches"),
        (lambda x: (x - x.mean(0)) / 2, "two batches"),
    ],
)
def test_networks_that_are_no_generator_are_told_why(change, says):
    with pytest.raises(BdganError, match=says):
        tiny(Changed(change))


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([*BLOCKS, "bodi"], "no block 'bodi'"),
        ([*BLOCKS, "pair"], "'pair' gives a tuple"),
        ([*BLOCKS, "start"], r"'start': expected a map .* got \[2, 128\]"),
        ([*BLOCKS, "rgb"], None),
        (BLOCKS[1:], "finest block has side 16, the images 32"),
        ([BLOCKS[0], BLOCKS[1]], "four or more"),
        ([], "finest block has side 0"),
    ],
)
def test_wrong_blocks_are_named(blocks, says):
    if says is None:
        assert len(tiny(Changed(nn.Tanh()), blocks=blocks).blocks) == 5, "any module will do that gives a map"
        return
    with pytest.raises(BdganError, match=says):
        tiny(Changed(nn.Tanh()), blocks=blocks)


def test_a_block_that_never_runs_is_named():
    network = Tiny()
    network.spare = nn.Conv2d(1, 1, 1)
    with pytest.raises(BdganError, match="'spare' took no part"):
        tiny(network, blocks=[*BLOCKS, "spare"])


def test_labels_a_head_and_a_data_set_come_of_it(tmp_path):
    generator, sampling = tiny(), Sampling(z_std=1.0)

    def sure(images, class_ids):
        return np.ones(len(images), np.float32)

    def bright(images, class_ids):
        grey = images.mean(3)
        return (grey > np.median(grey, (1, 2), keepdims=True)).astype(np.uint8)

    chosen = list(choose_candidates(generator, (0, 1), sure, sampling, range(4), keep=2))
    labelled = list(annotate_candidates(chosen, bright, "a rule", dict.fromkeys(CLASSES, ("bright",))))
    items = [a for kept, _ in chosen for a in kept]
    with Session(AnnotationStore(tmp_path / "labels"), items, image_source(generator), "you") as session:
        assert np.array_equal(decode_png(Annotator(session).picture), chosen[0][1][0])
    head, losses = train_head(
        generator, labelled, HeadTraining(steps=30), Architecture(members=3), progress=None
    )
    assert losses[-1] < losses[0]
    models = Models(generator, head)
    filters = calibrate_filters(models, (0, 1), sampling, keep_confident=1, samples=20, batch_size=10)
    spec = SynthesisSpec.for_models(models, (0, 1), 10, sampling, filters, batch_size=4)
    made = synthesize(spec, models, tmp_path / "set", progress=False)
    assert 0 < len(made) <= 20 and validate(tmp_path / "set", progress=False) == []
    sample, metadata = next(iter(made))
    again = generator.sample(torch.tensor([metadata["class_id"]]), torch.tensor([metadata["seed"]]), sampling)
    assert np.abs(to_uint8(again.images)[0].astype(int) - sample.image).max() <= 1
