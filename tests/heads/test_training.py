"""Training a label head: it learns, it repeats itself, and it refuses labels that are not for it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head, launch_fabric, train_head
from bdgan_lib.heads.training_data import TrainingData, collect_training_data, place_features

QUICK = HeadTraining(steps=25, batch_size=4)
FEW = replace(QUICK, steps=4)
SMALL = Architecture(widths=(6, 6, 6), stride=1)


class FakeGenerator:
    """Features are noise of the seed; what is foreground shows in the first channel of the finest block."""

    name, sha256 = "fake", "a" * 64
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
        each = [self.features(s) for s in seeds.tolist()]
        stacked = {k: torch.stack([f[k] for f in each]) for k in self.blocks}
        return Sample(torch.zeros(len(seeds), 3, 32, 32), stacked, class_ids, seeds, sampling)


@pytest.fixture
def generator():
    return FakeGenerator()


def annotation(generator, seed, class_id=0, **changes):
    name = generator.classes[class_id]
    ids, mask = (sample_id(name, seed), name, class_id, seed), generator.mask(seed)
    return replace(Annotation(*ids, Sampling(), generator.sha256, mask, "test"), **changes)


def some(generator, count=6):
    return [annotation(generator, seed, seed % 2) for seed in range(count)]


def train(generator, annotations, config=QUICK, architecture=SMALL, **more):
    return train_head(generator, annotations, config, architecture, progress=None, **more)


def make_head(generator, architecture=SMALL):
    torch.manual_seed(0)
    blocks = tuple((name, c, side) for name, (c, side) in generator.blocks.items())
    return build_head(HeadConfig(blocks, 2, architecture=architecture))


def test_the_loss_falls_and_the_head_finds_the_foreground_of_new_samples(generator):
    head, losses = train(generator, some(generator), replace(QUICK, steps=60))
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([100, 101]))
    expected = np.stack([generator.mask(100), generator.mask(101)])
    assert (head.predict(sample) == expected).mean() > 0.85
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
    data = collect_training_data(generator, mixed, batch_size=2)
    assert len(data) == 11
    seeds = []
    for i in range(11):
        seed = next(s for s in range(11) if torch.equal(generator.features(s)["b1"], data.features["b1"][i]))
        assert np.array_equal(data.masks[i].numpy(), generator.mask(seed))
        assert data.class_ids[i] == seed % 2
        seeds.append(seed)
    assert sorted(seeds) == list(range(11))
    assert set(generator.calls) == set(settings)


def test_parts_are_kept_only_when_they_are_asked_for(generator):
    names = ("background", "body", "head")
    parts = annotation(generator, 0, mask=np.uint8(np.arange(1024).reshape(32, 32) % 3), classes=names)
    assert collect_training_data(generator, [parts]).masks.unique().tolist() == [0, 1]
    assert collect_training_data(generator, [parts], parts=True).masks.unique().tolist() == [0, 1, 2]
    head, _ = train(generator, [parts], replace(QUICK, steps=1, parts=True))
    assert head.config.labels == ("background", "part 1", "part 2")


def test_unlabelled_pixels_teach_nothing(generator):
    masks = torch.full((2, 32, 32), 255)
    masks[:, 4:9] = torch.from_numpy(np.stack([generator.mask(s) for s in (0, 1)])).long()[:, 4:9]
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([0, 1]))
    head = make_head(generator)
    gradients = []
    head.out.register_forward_hook(lambda _m, _i, out: out.register_hook(gradients.append) and None)
    fit_head(head, TrainingData(sample.features, sample.class_ids, masks), replace(QUICK, steps=2))
    for gradient in gradients:
        share = gradient.abs().sum((0, 1, 2, 4)) > 0  # by row; mirroring keeps rows
        assert share.nonzero().flatten().tolist() == list(range(4, 9))


def test_features_coarser_than_the_image_are_enough(generator):
    """Another network's features, as in the transfer to VQGAN: the answer is resized to the masks."""
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([0, 1]))
    head = make_head(generator)
    masks = torch.zeros(2, 64, 64, dtype=torch.int64)
    losses = fit_head(head, TrainingData(sample.features, sample.class_ids, masks), replace(QUICK, steps=8))
    assert losses[-1] < losses[0]


def test_bad_annotations_are_refused_by_name(generator):
    good = annotation(generator, 0)
    with pytest.raises(BdganError, match="expected one or more annotations, got none"):
        collect_training_data(generator, [])
    for seed, change, says in (
        (1, {"generator_sha256": "b" * 64}, r"robin_00000001.*bbbb.*aaaa"),
        (2, {"mask": np.zeros((16, 16), np.uint8)}, r"robin_00000002.*\[16, 16\].*32 x 32"),
        (3, {"mask": np.full((32, 32), 255, np.uint8)}, r"robin_00000003.*no labelled pixel"),
    ):
        with pytest.raises(BdganError, match=says):
            collect_training_data(generator, [good, annotation(generator, seed, **change)])
    assert generator.calls == [], "refused before any work"


def test_a_loss_that_is_not_finite_stops_with_its_step(generator):
    with pytest.raises(BdganError, match=r"step \d+.*learning_rate"):
        train(generator, some(generator), replace(QUICK, learning_rate=1e30))


KINDS = [
    SMALL,
    Architecture(widths=(6, 6, 6), stride=2, members=3),
    Architecture("paper", (6, 5, 4)),
    Architecture("mlp", (7, 5), members=2),
]


def from_step_4(data, then):
    """The data with what `then` makes of its features from the fourth step on; they are read once before."""
    read = []

    def features(chosen):
        read.append(chosen)
        batch = data.batch(chosen)
        return then(batch) if len(read) > 4 else batch

    return replace(data, features=features)


def interrupt(_batch):
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", KINDS, ids=["fast", "ensemble", "paper", "mlp"])
def test_an_interrupted_training_goes_on_to_the_very_same_head(generator, tmp_path, kind):
    config = replace(QUICK, steps=7, save_every=3, pixel_share=0.5)
    whole, losses = train(generator, some(generator), config, kind)
    data, path = collect_training_data(generator, some(generator)), tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):  # in step 4, after step 3 was saved
        fit_head(make_head(generator, kind), from_step_4(data, interrupt), config, checkpoint=path)
    assert path.exists()
    head = make_head(generator, kind)
    assert fit_head(head, data, config, checkpoint=path) == losses
    assert head.sha256 == whole.sha256
    assert not path.exists(), "a finished training leaves no checkpoint behind"


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(generator, tmp_path):
    path, data = tmp_path / "checkpoint.pt", collect_training_data(generator, some(generator))
    config = replace(QUICK, steps=4, save_every=2)
    with pytest.raises(KeyboardInterrupt):
        fit_head(make_head(generator), from_step_4(data, interrupt), config, checkpoint=path)
    for other in (replace(config, seed=1), replace(config, learning_rate=1e-3)):
        with pytest.raises(BdganError, match=r"checkpoint.*another training"):
            fit_head(make_head(generator), data, other, checkpoint=path)
    for content in (path.read_bytes()[:100], pickle.dumps({"a": print})):
        path.write_bytes(content)
        with pytest.raises(BdganError, match=r"checkpoint.*unreadable") as error:
            fit_head(make_head(generator), data, config, checkpoint=path)
        assert "weights_only" not in str(error.value), "torch's advice is to run what a file asks for"


def test_a_loss_that_turns_nan_keeps_the_last_good_checkpoint(generator, tmp_path):
    data, path = collect_training_data(generator, some(generator)), tmp_path / "checkpoint.pt"
    spoilt = from_step_4(data, lambda batch: {k: x * float("nan") for k, x in batch.items()})
    config = replace(QUICK, steps=9, save_every=2)
    with pytest.raises(BdganError, match=r"nan at step 3.*checkpoint\.pt is kept"):
        fit_head(make_head(generator), spoilt, config, checkpoint=path)
    state = torch.load(path, weights_only=True)
    assert len(state["losses"]) == 2
    assert all(torch.isfinite(x).all() for x in state["head"].values())


def test_where_the_features_are_kept_changes_nothing(generator, tmp_path):
    kept_in = lambda cache: {"feature_cache": cache, "folder": tmp_path / cache}
    heads = [train(generator, some(generator), FEW, **kept_in(c))[0] for c in ("memory", "disk", "recompute")]
    assert len({head.sha256 for head in heads}) == 1
    calls = len(generator.calls)
    train(generator, some(generator), FEW, **kept_in("disk"))
    assert len(generator.calls) == calls, "what is on the disk is not sampled again"
    other, folder = some(generator, 5), tmp_path / "disk" / "features"
    data = collect_training_data(generator, other, feature_cache="disk", folder=folder)
    assert len(data.batch(torch.arange(5))["b1"]) == 5, "of other samples it is"
    assert len(generator.calls) > calls


def test_features_go_where_there_is_room(tmp_path):
    assert place_features(1000, None) == "memory"
    assert place_features(2**60, None) == place_features(2**60, tmp_path / "not" / "there") == "recompute"


def test_a_way_to_keep_features_that_is_none_is_refused(generator, tmp_path):
    for cache in ("attic", "disk"):
        with pytest.raises(BdganError, match=f"got '{cache}'"):
            collect_training_data(generator, some(generator), feature_cache=cache)


def test_one_cpu_learns_bit_by_bit_what_it_learns_with_fabric(generator):
    fabric = Fabric(accelerator="cpu", devices=1)
    for architecture in (SMALL, replace(SMALL, members=3)):
        (one, losses), (other, with_fabric) = (
            train(generator, some(generator), FEW, architecture, fabric=devices) for devices in (None, fabric)
        )
        assert losses == with_fabric
        for name, value in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)


def test_two_devices_learn_what_one_does(generator, tmp_path):
    """Statistics of batch norm are each device's own, so the linear probe, which has none, is compared."""
    linear = Architecture("linear")
    config = replace(QUICK, steps=4)
    one = train(generator, some(generator), config, linear)[0]
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork")
    fabric.launch(_train_and_save, some(generator), config, linear, tmp_path)
    two = load_head(tmp_path)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, atol=2e-5, rtol=0)


def _train_and_save(fabric, annotations, config, architecture, folder):
    torch.set_num_threads(1)
    head, _ = train_head(FakeGenerator(), annotations, config, architecture, fabric, progress=None)
    if fabric.is_global_zero:
        save_head(head, folder)


def test_the_members_of_an_ensemble_learn_different_things_and_agree_on_what_is_clear(generator):
    kind = Architecture(widths=(8, 8, 8), stride=1, members=4)
    head, losses = train(generator, some(generator), replace(QUICK, steps=60), kind)
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([100, 101]))
    logits = head(sample.features, sample.class_ids).detach()
    answers = logits.argmax(2)
    assert all((answers[:, i] != answers[:, j]).any() for i in range(4) for j in range(i))
    labels, divergence = head.label(sample.features, sample.class_ids)
    expected = np.stack([generator.mask(100), generator.mask(101)])
    assert (labels == expected).mean() > 0.8
    wrong = labels != expected
    assert divergence[wrong].mean() > 1.5 * divergence[~wrong].mean()


def test_a_memory_estimate_and_the_cost_come_before_the_work(generator, capsys):
    train_head(generator, some(generator), replace(QUICK, steps=1), SMALL, progress="head")
    out = capsys.readouterr().out
    assert "GFLOP per image" in out and "MB per training step" in out and "features of 6 samples" in out


def test_bfloat16_trains_float32_weights(generator):
    fabric = launch_fabric(precision="bf16-mixed")
    head, losses = train(generator, some(generator), replace(QUICK, steps=40), fabric=fabric)
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert {p.dtype for p in head.parameters()} == {torch.float32}
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([100, 101]))
    assert head.predict(sample).shape == (2, 32, 32)


def test_more_devices_than_samples_in_a_batch_are_refused(generator):
    class Many:
        world_size = 5

    with pytest.raises(BdganError, match="batches of 5 or more, one sample per device, got 4"):
        fit_head(make_head(generator), collect_training_data(generator, some(generator)), QUICK, Many())
