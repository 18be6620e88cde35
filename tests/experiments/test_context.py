"""The cell of the downstream experiments: which images it takes, and that it repeats itself."""

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
import torch

from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.seeds import GENERATOR, POCKET, REAL_ANNOTATED
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.transfer import chest, detect, segment
from bdgan_lib.experiments import context, downstream, transfer
from bdgan_lib.experiments.catalogue import EXPERIMENTS
from bdgan_lib.experiments.context import (
    ANNOTATED,
    ExperimentContext,
    Initialisation,
    cell,
    measure,
    relabelled,
    rendered,
    sim,
    training_set,
)
from bdgan_lib.experiments.pools import PoolConfig, SyntheticPool
from bdgan_lib.profiles import load_profile
from bdgan_lib.training.supervised import FitConfig
from bdgan_lib.worlds.pocket import render_set


@pytest.fixture
def drawn(monkeypatch) -> SyntheticPool:
    """A pool of 120 tiny images, one pixel of which is the object, in place of one that takes minutes."""
    noise, ids = np.random.default_rng(0), np.arange(120) % 12
    masks = np.zeros((120, 4, 4), np.uint8)
    masks[:, 0, 0] = 1
    images = noise.integers(0, 256, (120, 4, 4, 3), np.uint8)
    found = SyntheticPool(
        LabelledSet(images, class_masks(masks, ids)), ids, noise.random(120), noise.random(120)
    )
    monkeypatch.setattr(context, "read_pool", lambda pool, folder: found)
    return found


def test_filters_keep_the_surest_and_of_them_the_least_disputed(drawn):
    kept = drawn.chosen(120, 0.5, 0.5)
    assert len(kept) == 30 and np.all(np.diff(kept) > 0)
    assert drawn.confidence[kept].min() >= np.median(drawn.confidence)
    sure = np.flatnonzero(drawn.confidence >= np.median(drawn.confidence))
    others = np.setdiff1d(sure, kept)
    assert drawn.divergence[kept].max() <= drawn.divergence[others].min()
    assert drawn.chosen(7, 0.5, 0.5).tolist() == kept[:7].tolist(), "a small set is part of a larger one"
    assert len(drawn.chosen(1_000)) == 120


def test_thresholds_of_its_own_take_from_each_class_alike(drawn):
    hard = SyntheticPool(
        drawn.labelled, drawn.class_ids, drawn.confidence, drawn.divergence + (drawn.class_ids == 3)
    )
    assert 3 not in hard.class_ids[hard.chosen(120, 1.0, 0.9)], "one threshold drops the hard class whole"
    assert np.bincount(hard.class_ids[hard.chosen(120, 1.0, 0.9, by_class=True)]).tolist() == [9] * 12
    everything = np.arange(120).tolist()
    assert hard.chosen(120).tolist() == hard.chosen(120, by_class=True).tolist() == everything


def test_a_task_gets_its_share_of_a_set_and_its_own_labels(drawn, tmp_path):
    bench = ExperimentContext("pocket", tmp_path)
    for name, images, labels in (("Bird", 10, {0, 1, 2, 3}), ("FG/BG", 40, {0, 1}), ("MC-all", 40, None)):
        task = load_profile("pocket").task(name)
        found = training_set(bench, [sim(40, confident=1.0, agreed=1.0)], task)
        assert len(found.images) == images
        assert set(np.unique(found.masks)) == (labels or set(range(13)))


def test_a_mix_is_one_set_after_the_other(drawn, tmp_path, monkeypatch):
    labelled = LabelledSet(np.ones((12, 4, 4, 3), np.uint8), class_masks(np.ones((12, 4, 4)), np.arange(12)))
    monkeypatch.setattr(context, "_annotated", lambda profile: (labelled, np.arange(12)))
    task = load_profile("pocket").task("MC-all")
    found = training_set(ExperimentContext("pocket", tmp_path), [ANNOTATED, sim(24)], task)
    assert np.array_equal(found.images[:12], labelled.images) and len(found.images) == 36


def test_a_cell_repeats_itself(tmp_path, monkeypatch):
    scenes = render_set(24, 0, 64)
    few = lambda profile, task, device, split: LabelledSet(scenes.images, task.masks(scenes.class_masks))
    monkeypatch.setattr(context, "test_set", few)
    bench, settings = ExperimentContext("pocket", tmp_path), cell("Bird", [ANNOTATED], 0, steps=2)
    found = measure(bench, settings)
    assert found == measure(bench, settings) != measure(bench, {**settings, "seed": 1})
    assert found["images"] == 15 and len(found["iou"]) == 4 and 0 <= found["miou"] <= 1


def test_no_two_online_runs_draw_the_same_samples(tmp_path, monkeypatch):
    starts = []

    class Stream:
        def __init__(self, *given, first_seed):
            starts.append(first_seed)

        def batches(self):
            return iter(())

    monkeypatch.setattr(context, "OnlineSynthesis", Stream)
    monkeypatch.setattr(context, "load_head", lambda path: torch.nn.Identity())
    task, source = load_profile("pocket").task("MC-all"), {"kind": "online"}
    run = lambda steps, seed: [*context._online(bench, source, task, FitConfig(steps, 16, seed=seed))]
    bench, online = ExperimentContext("pocket", tmp_path), GENERATOR["online"].seeds
    for seed in (0, 1, 102, 9_999):
        assert run(4_800, seed) == []
    spans = [range(start, start + 4_800 * 16) for start in starts]
    assert all(a.stop <= b.start for a, b in pairwise(spans))
    assert all(span.start in online and span[-1] in online for span in spans)
    for steps, seed in ((4_800, 10_000), (5_001, 0), (1, -1)):
        with pytest.raises(BdganError, match="no other run draws the same"):
            run(steps, seed)


def test_a_network_is_fine_tuned_and_scored_where_its_cell_says(tmp_path, monkeypatch):
    splits, fits = [], []
    scenes = render_set(24, 0, 64)

    def few(profile, task, device, split):
        splits.append(split)
        return LabelledSet(scenes.images, task.masks(scenes.class_masks))

    monkeypatch.setattr(context, "test_set", few)
    monkeypatch.setattr(
        context, "fit", lambda network, images, masks, config, device: fits.append((len(images), config))
    )
    settings = cell("Bird", [ANNOTATED], 0, steps=8, split="validation", then=[rendered(48)])
    found = measure(ExperimentContext("pocket", tmp_path), settings)
    assert splits == ["validation"] and found["images"] == 15 + 12
    (first, one), (second, other) = fits
    assert (first, second) == (15, 12) and other.steps == one.steps // 4
    assert other.learning_rate == one.learning_rate / 4


def test_other_labels_stand_on_the_same_images(tmp_path):
    bench, task, exact = (
        ExperimentContext("pocket", tmp_path),
        load_profile("pocket").task("MC-all"),
        rendered(24),
    )
    mine, theirs = (training_set(bench, [source], task) for source in (exact, relabelled(exact, "oracle")))
    assert np.array_equal(mine.images, theirs.images)
    assert 0.9 < np.mean(mine.masks == theirs.masks) < 1, "the oracle errs at borders alone"
    with pytest.raises(BdganError, match="labels by the oracle or the VQGAN head, got 'nobody'"):
        training_set(bench, [relabelled(exact, "nobody")], task)


def test_rendered_scenes_train_too_and_none_of_them_is_tested(tmp_path):
    task = load_profile("pocket").task("Bird")
    found = training_set(ExperimentContext("pocket", tmp_path), [rendered(48)], task)
    assert len(found.images) == 12 and set(np.unique(found.masks)) == {0, 1, 2, 3}
    seeds = [range(s.first, s.first + s.count) for s in REAL_ANNOTATED.values()]
    ours = POCKET["rendered"].seeds
    assert all(ours.start >= s.stop or ours.stop <= s.start for s in seeds)


def test_a_pre_trained_start_is_made_once_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "scenes_of", lambda profile, count, first: render_set(24, first, 64))
    bench, start = ExperimentContext("pocket", tmp_path), Initialisation("simclr", steps=2)
    settings = {"method": "simclr", "branch": False, "backbone": "pocket-10", "steps": 2}
    assert 0 <= context._pretrain(bench, settings)["knn"] <= 1
    one, two = (context.backbone_of(bench, start, seed) for seed in (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))


@pytest.mark.parametrize("world", ["street", "chest 5%"])
def test_a_start_is_scored_elsewhere(tmp_path, monkeypatch, world):
    monkeypatch.setattr(transfer, "TEST", 4)
    fit = segment.fit_batches
    brief = lambda network, batches, config, *more, **options: fit(
        network, batches, replace(config, steps=2), *more, **options
    )
    monkeypatch.setattr(segment, "fit_batches", brief)
    name = world.split()[0]
    render, seeds = transfer.WORLDS[name]
    monkeypatch.setitem(transfer.WORLDS, name, (render, replace(seeds, count=20)))
    transfer.pictures.cache_clear()
    settings = {"method": "random", "branch": False, "world": world, "seed": 0}
    assert 0 <= transfer.measure(ExperimentContext("pocket", tmp_path), settings)["miou"] <= 1
    transfer.pictures.cache_clear()


def test_the_device_reaches_every_network_and_has_cells_of_its_own(tmp_path, monkeypatch):
    devices, task = list[str](), load_profile("pocket").task("Bird")
    monkeypatch.setattr(context, "fit", lambda network, images, masks, config, device: devices.append(device))

    def predicted(network, images, device):
        devices.append(device)
        return torch.zeros(len(images), len(task.labels), 64, 64)

    monkeypatch.setattr(context, "predict", predicted)
    scenes = render_set(24, 0, 64)
    monkeypatch.setattr(
        context, "test_set", lambda *_: LabelledSet(scenes.images, task.masks(scenes.class_masks))
    )
    one, other = ExperimentContext("pocket", tmp_path), ExperimentContext("pocket", tmp_path, "cuda")
    measure(other, cell("Bird", [ANNOTATED], 0, steps=2))
    assert devices == ["cuda", "cuda"]
    assert {**one.about, "device": "cuda"} == other.about and "device" not in one.about
    for what in (detect, segment, chest):
        monkeypatch.setattr(what, "train_and_score", lambda *given, **_: {"device": given[4] == "cuda"})
    monkeypatch.setattr(transfer, "pictures", lambda *_: [])
    for world in ("scenes", "street", "chest 5%"):
        settings = {"method": "random", "branch": False, "world": world, "seed": 0, "marks": ()}
        assert transfer.measure(other, settings) == {"device": 1.0}, world


def test_other_settings_are_another_pool():
    pools = [
        PoolConfig(),
        PoolConfig(images=24),
        PoolConfig(labels_per_class=1),
        PoolConfig(truncation=0.5),
        PoolConfig("pocket-vqgan"),
        PoolConfig(device="cuda"),
    ]
    assert len({pool.name for pool in pools}) == len(pools)
    settings = '{"images": 9600, "labels_per_class": 5, "profile": "pocket", "truncation": null}'
    assert (
        pools[0].name == f"pocket-{sha256(settings.encode()).hexdigest()[:8]}"
    )  # as it was without a device


def test_every_experiment_of_the_paper_is_there():
    wanted = {
        "table2",
        "set-size",
        "backbone",
        "labels-per-class",
        "filter",
        "online",
        "transfer",
        "label-head",
    }
    assert wanted <= EXPERIMENTS.keys()
    assert len(downstream.METHODS) >= 9 and max(downstream.SIZES) == 30_000
    assert {start.branch for start in transfer.STARTS} == {False, True}
