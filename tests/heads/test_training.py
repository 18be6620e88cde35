"""Training a label head: it learns, it repeats itself, and it refuses labels that are not for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bdgan_lib.data.annotations import Annotation
from bdgan_lib.heads.label_head import HeadConfig, LabelHead
from bdgan_lib.heads.training import Examples, HeadTraining, collect, fit_head, train_head
from bdgan_lib.types import BdganError, Sample, Sampling, sample_id

QUICK = HeadTraining(steps=25, batch_size=4, widths=(6, 6, 6))


class FakeGenerator:
    """Features are noise of the seed; what is foreground shows in the first channel of the finest block."""

    sha256 = "a" * 64
    classes = ("robin", "mug")
    blocks = {"b1": (4, 4), "b2": (4, 8), "b3": (4, 16), "b4": (3, 32)}  # noqa: RUF012

    def __init__(self):
        self.calls = []

    def features(self, seed):
        noise = torch.Generator().manual_seed(seed)
        return {k: torch.randn(c, side, side, generator=noise) for k, (c, side) in self.blocks.items()}

    def mask(self, seed):
        return (self.features(seed)["b4"][0] > 0.3).to(torch.uint8).numpy()

    def sample(self, class_ids, seeds, sampling=Sampling(), features=True):  # noqa: B008
        self.calls.append(sampling)
        found = [self.features(s) for s in seeds.tolist()]
        stacked = {k: torch.stack([f[k] for f in found]) for k in self.blocks}
        return Sample(torch.zeros(len(seeds), 3, 32, 32), stacked, class_ids, seeds, sampling)


@pytest.fixture
def generator():
    return FakeGenerator()


def annotation(generator, seed, class_id=0, **changes):
    name = generator.classes[class_id]
    made = Annotation(
        sample_id(name, seed),
        name,
        class_id,
        seed,
        Sampling(),
        generator.sha256,
        generator.mask(seed),
        "test",
    )
    return replace(made, **changes)


def some(generator, count=6):
    return [annotation(generator, seed, seed % 2) for seed in range(count)]


def train(generator, annotations, config=QUICK):
    return train_head(generator, annotations, config, progress=None)


def test_the_loss_falls_and_the_head_finds_fresh_foreground(generator):
    head, losses = train(generator, some(generator), replace(QUICK, steps=60))
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([100, 101]))
    wanted = np.stack([generator.mask(100), generator.mask(101)])
    assert (head.predict(sample) == wanted).mean() > 0.85
    assert not head.training


def test_the_same_seed_gives_the_same_head_and_another_one_does_not(generator):
    few = replace(QUICK, steps=3)
    one, other = (train(generator, some(generator), few)[0].sha256 for _ in range(2))
    assert one == other != train(generator, some(generator), replace(few, seed=1))[0].sha256


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_handful_of_steps_is_enough_to_run(generator, steps):
    assert len(train(generator, some(generator, 2), replace(QUICK, steps=steps))[1]) == steps


def test_features_labels_and_classes_stay_paired_whatever_the_settings_and_batches(generator):
    settings = [Sampling(), Sampling(0.5), Sampling(z_std=0.9)]
    mixed = [annotation(generator, seed, seed % 2, sampling=settings[seed % 3]) for seed in range(11)]
    examples = collect(generator, mixed, batch_size=2)
    assert len(examples) == 11
    seeds = []
    for i in range(11):
        seed = next(
            s for s in range(11) if torch.equal(generator.features(s)["b1"], examples.features["b1"][i])
        )
        assert np.array_equal(examples.masks[i].numpy(), generator.mask(seed))
        assert examples.class_ids[i] == seed % 2
        seeds.append(seed)
    assert sorted(seeds) == list(range(11))
    assert set(generator.calls) == set(settings)


def test_parts_are_kept_only_when_they_are_asked_for(generator):
    names = ("background", "body", "head")
    parts = annotation(generator, 0, mask=np.uint8(np.arange(1024).reshape(32, 32) % 3), classes=names)
    assert collect(generator, [parts]).masks.unique().tolist() == [0, 1]
    assert collect(generator, [parts], parts=True).masks.unique().tolist() == [0, 1, 2]
    head, _ = train(generator, [parts], replace(QUICK, steps=1, parts=True))
    assert head.config.labels == ("background", "part 1", "part 2")


def test_unlabelled_pixels_teach_nothing(generator):
    masks = torch.full((2, 32, 32), 255)
    masks[:, 4:9] = torch.from_numpy(np.stack([generator.mask(s) for s in (0, 1)])).long()[:, 4:9]
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([0, 1]))
    torch.manual_seed(0)
    blocks = tuple((name, c, side) for name, (c, side) in generator.blocks.items())
    head = LabelHead(HeadConfig(blocks, 2, widths=(6, 6, 6)))
    gradients = []
    head.out.register_forward_hook(lambda _m, _i, out: out.register_hook(gradients.append) and None)
    fit_head(head, Examples(sample.features, sample.class_ids, masks), replace(QUICK, steps=2))
    for gradient in gradients:
        share = gradient.abs().sum((0, 1, 3)) > 0  # by row; mirroring keeps rows
        assert share.nonzero().flatten().tolist() == list(range(4, 9))


def test_features_coarser_than_the_image_are_enough(generator):
    """Another network's features, as in the transfer to VQGAN: the answer is resized to the masks."""
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([0, 1]))
    blocks = tuple((name, c, side) for name, (c, side) in generator.blocks.items())
    head = LabelHead(HeadConfig(blocks, 2, widths=(6, 6, 6)))
    masks = torch.zeros(2, 64, 64, dtype=torch.int64)
    losses = fit_head(head, Examples(sample.features, sample.class_ids, masks), replace(QUICK, steps=8))
    assert losses[-1] < losses[0]


def test_bad_annotations_are_refused_by_name(generator):
    good = annotation(generator, 0)
    with pytest.raises(BdganError, match="no annotation"):
        collect(generator, [])
    with pytest.raises(BdganError, match=r"robin_00000001.*bbbb.*aaaa"):
        collect(generator, [good, annotation(generator, 1, generator_sha256="b" * 64)])
    with pytest.raises(BdganError, match=r"robin_00000002.*\[16, 16\].*32 x 32"):
        collect(generator, [good, annotation(generator, 2, mask=np.zeros((16, 16), np.uint8))])
    with pytest.raises(BdganError, match=r"robin_00000003.*no labelled pixel"):
        collect(generator, [good, annotation(generator, 3, mask=np.full((32, 32), 255, np.uint8))])
    assert generator.calls == [], "refused before any work"


def test_a_loss_that_is_not_finite_stops_with_its_step(generator):
    with pytest.raises(BdganError, match=r"step \d+.*learning_rate"):
        train(generator, some(generator), replace(QUICK, learning_rate=1e30))
