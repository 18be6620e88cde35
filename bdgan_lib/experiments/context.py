"""One trained and scored segmentation network: the cell of every downstream experiment (paper section 4)."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.labelled_arrays import LabelledSet, class_masks
from bdgan_lib.core.seeds import GENERATOR, ONLINE_SEEDS, POCKET
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.backbones import Backbone, build_backbone
from bdgan_lib.downstream.pretraining.branch import Branch, BranchConfig
from bdgan_lib.downstream.pretraining.files import load_pretrained
from bdgan_lib.downstream.pretraining.training import PretrainConfig, pretrain
from bdgan_lib.downstream.segmentation import Segmenter, segmenter
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.experiments.pools import PoolConfig, annotated, make_pool, read_pool, sampling_of
from bdgan_lib.experiments.runner import Cells, Row, run_cells
from bdgan_lib.heads.files import load_head
from bdgan_lib.metrics.segmentation import confusion, iou
from bdgan_lib.profiles import Profile, load_profile
from bdgan_lib.profiles.annotated import held_out_ids, test_annotations
from bdgan_lib.synthesis.label_real import label_images
from bdgan_lib.synthesis.online import OnlineSynthesis
from bdgan_lib.training.file_logs import LogFolder
from bdgan_lib.training.supervised import FitConfig, fit, fit_batches, predict
from bdgan_lib.worlds.pocket import render_set

ANNOTATED = {"kind": "annotated"}
ON_ONE_GPU = 8  # processes, each with its own copy of the network and half a gigabyte of CUDA's


def sim(images: int, profile: str = "pocket", **settings: Any) -> dict[str, Any]:
    """BigGAN-sim or VQGAN-sim as a source: less the paper's shares of each class, or as said otherwise."""
    shares = {"confident": 0.9, "agreed": 0.9, "by_class": True}
    return {"kind": "pool", "profile": profile, "images": images, **shares, **settings}


def rendered(images: int) -> dict[str, Any]:
    """Scenes with exact labels as a source: what no one has, for comparison."""
    return {"kind": "rendered", "images": images}


def relabelled(source: Mapping[str, Any], by: str) -> dict[str, Any]:
    """The images of a source with other labels.

    Args:
        source: whose images.
        by: "oracle", or "VQGAN head": the one of the second generator, which reads any picture.
    """
    return {**source, "labels": by}


def pool_of(source: Mapping[str, Any], device: str = "cpu") -> PoolConfig:
    """The pool that a source of kind "pool" selects from, drawn on this device."""
    given = {key: source[key] for key in ("profile", "labels_per_class", "truncation") if key in source}
    return PoolConfig(images=source.get("drawn", PoolConfig.images), device=device, **given)


@dataclass(frozen=True)
class Initialisation:
    """What a backbone begins with."""

    method: str = "random"
    branch: bool = False  # pre-trained with a segmentation branch on BigGAN-sim beside (paper section 4.3)
    backbone: str = "pocket-10"
    steps: int = PretrainConfig.steps  # of the pre-training

    @property
    def untrained(self) -> bool:
        """Whether nothing was learnt before."""
        return self.method == "random" and not self.branch

    @property
    def name(self) -> str:
        """As tables show it."""
        return self.method + " + branch" * self.branch

    @property
    def file(self) -> str:
        """Of the pre-trained weights, in the experiments' folder."""
        steps = "" if self.steps == PretrainConfig.steps else f"-{self.steps}"
        return f"backbone-{self.method}{'-branch' * self.branch}-{self.backbone}{steps}"


@dataclass(frozen=True)
class ExperimentContext:
    """Where the experiments keep what they share, and where they compute."""

    profile: str
    folder: Path
    device: str = "cpu"
    workers: int = 0  # cells side by side; 0: one per core, of a GPU at most `ON_ONE_GPU`
    logs: LogFolder | None = None  # as of `run_cells`

    @property
    def about(self) -> dict[str, str]:
        """What every cell depends on."""
        about = {"profile": self.profile, "generator_sha256": profile_of(self.profile).generator().sha256}
        return about if self.device == "cpu" else {**about, "device": self.device}

    def prepare(self, cells: Iterable[Mapping[str, Any]]) -> None:
        """Make what the cells need and is not there: pools, and pre-trained backbones."""
        cells = list(cells)
        sources = [source for cell in cells for source in (*cell["train"], *cell.get("then", ()))]
        for pool in {pool_of(s, self.device): None for s in sources if s["kind"] in ("pool", "online")}:
            make_pool(pool, self.folder)
        starts = {Initialisation(cell["init"], backbone=cell["backbone"]): None for cell in cells}
        if any(not start.untrained for start in starts):
            self.pretrained(starts)

    def pretrained(self, initialisations: Iterable[Initialisation]) -> Row:
        """Pre-train backbones that are not there yet, and what their features are worth."""
        starts = [start for start in initialisations if not start.untrained]
        if any(start.branch for start in starts):
            make_pool(PoolConfig(device=self.device), self.folder)
        cells: Cells = {(s.file,): asdict(s) for s in starts}
        for start in starts:
            if start.branch:
                cells[start.file,]["labelled"] = sim(PoolConfig.images)
        return self.run("pretraining", ("file",), cells, _pretrain)

    def run(
        self,
        name: str,
        factors: Sequence[str],
        cells: Cells,
        measure: Callable[["ExperimentContext", Row], Row],
    ) -> Row:
        """Measure the cells of an experiment side by side; see `run_cells`."""
        cores = os.cpu_count() or 1
        workers = self.workers or (cores if self.device == "cpu" else min(cores, ON_ONE_GPU))
        measured = partial(measure, self)
        return run_cells(name, factors, cells, measured, self.folder, self.about, workers, self.logs)


def cell(task: str, train: list[dict[str, Any]], seed: int, **settings: Any) -> dict[str, Any]:
    """Settings of one training; the defaults are those of table 2.

    settings: others, or more: `split`, scored in place of the test images; `then`, sources on which a quarter
    of the steps is taken afterwards, at a quarter of the learning rate.
    """
    return {
        "task": task, "train": train, "seed": seed, "init": "random", "backbone": "pocket-10",
        "steps": 240, "batch_size": 16, "learning_rate": 6e-3, **settings,
    }  # fmt: skip


def measure(context: ExperimentContext, settings: Mapping[str, Any]) -> Row:
    """Train a network on its sources' images of a task, and score it on the task's real test images."""
    task, seed = profile_of(context.profile).task(settings["task"]), settings["seed"]
    start = Initialisation(settings["init"], backbone=settings["backbone"])
    network = segmenter(backbone_of(context, start, seed), len(task.labels))
    config = FitConfig(settings["steps"], settings["batch_size"], settings["learning_rate"], seed=seed)
    if settings["train"][0]["kind"] == "online":
        fit_batches(network, _online(context, settings["train"][0], task, config), config, context.device)
        images = config.steps * config.batch_size
    else:
        images = _fit(context, network, settings["train"], task, config)
    if "then" in settings:
        gentle = replace(config, steps=config.steps // 4, learning_rate=config.learning_rate / 4)
        images += _fit(context, network, settings["then"], task, gentle)
    test = test_set(context.profile, task, context.device, settings.get("split", "test"))
    predictions = predict(network, test.images, device=context.device).argmax(1).numpy()
    scores = iou(confusion(predictions, test.masks, len(task.labels)))
    return {
        "images": images,
        "miou": float(np.nanmean(scores)),
        "iou": [round(s, 4) for s in scores.tolist()],
    }


def _fit(
    context: ExperimentContext,
    network: Segmenter,
    sources: Iterable[Mapping[str, Any]],
    task: Task,
    config: FitConfig,
) -> int:
    """Train on the sources' images of a task, and return how many there are."""
    training_images = training_set(context, sources, task)
    images = len(training_images.images)
    config = replace(config, batch_size=min(config.batch_size, images))
    fit(network, training_images.images, training_images.masks, config, context.device)
    return images


def backbone_of(context: ExperimentContext, start: Initialisation, seed: int) -> Backbone:
    """A backbone as it starts; the seed decides what is random, and torch goes on from it."""
    torch.manual_seed(seed)
    if start.untrained:
        return build_backbone(start.backbone)
    return load_pretrained(context.folder / start.file).backbone()


def training_set(context: ExperimentContext, sources: Iterable[Mapping[str, Any]], task: Task) -> LabelledSet:
    """The task's images of all sources, one after the other, with the task's labels."""
    images, masks = [], []
    for source in sources:
        labelled_set, ids = labelled(context, source)
        mine = np.flatnonzero(task.holds(ids))
        if source["kind"] != "annotated":  # so many of all classes: of the task's its share
            share = len(task.classes) / len(task.of_class)
            mine = mine[: max(1, round(source["images"] * share))]
        images.append(labelled_set.images[mine])
        masks.append(task.masks(labelled_set.masks[mine]))
    return LabelledSet(np.concatenate(images), np.concatenate(masks))


def labelled(context: ExperimentContext, source: Mapping[str, Any]) -> tuple[LabelledSet, NDArray[np.int64]]:
    """What a source has, with class masks, and the images' class ids."""
    if "labels" in source:
        return _relabelled(context, json.dumps(source, sort_keys=True))
    if source["kind"] == "annotated":
        return _annotated(context.profile)
    if source["kind"] == "rendered":
        scenes = scenes_of(context.profile, source["images"], POCKET["rendered"].first)
        return LabelledSet(scenes.images, scenes.class_masks), scenes.class_ids
    drawn = read_pool(pool_of(source, context.device), context.folder)
    kept = drawn.chosen(len(drawn.class_ids), source["confident"], source["agreed"], source["by_class"])
    return LabelledSet(drawn.labelled.images[kept], drawn.labelled.masks[kept]), drawn.class_ids[kept]


@cache
def _relabelled(context: ExperimentContext, text: str) -> tuple[LabelledSet, NDArray[np.int64]]:
    """A source, as JSON, whose images have the labels that it names; once in each process."""
    source = json.loads(text)
    by, profile = source.pop("labels"), profile_of(context.profile)
    theirs, ids = labelled(context, source)
    images, ids = theirs.images[: source["images"]], ids[: source["images"]]
    if by == "oracle":
        masks = profile.require("oracle").annotate(images, ids)
    elif by == "VQGAN head":
        second = profile.require("second")
        head = load_head(context.folder / PoolConfig(second.name).head)
        masks, _ = label_images(second.generator(), head, images, ids)
    else:
        raise BdganError(f"expected labels by the oracle or the VQGAN head, got {by!r}")
    return LabelledSet(images, class_masks(masks, ids)), ids


@cache
def test_set(profile: str, task: Task, device: str = "cpu", split: str = "test") -> LabelledSet:
    """Real-annotated, test or another split: rendered scenes of the task's classes with exact masks.

    Without a renderer (ImageNet, whose test labels were never published), the held-out annotated samples
    stand in for every split.
    """
    world = profile_of(profile)
    if not world.renderer:
        held_out = test_annotations(world, world.generator(device), len(held_out_ids(world)))
        labelled_set, ids = annotated(world, held_out, device)
        mine = task.holds(ids)
        return LabelledSet(labelled_set.images[mine], task.masks(labelled_set.masks[mine]))
    truth = world.renderer.truth(task, split)
    images = [truth.images[id] for id in truth.ids]
    return LabelledSet(np.stack(images), np.stack([truth.label(id) for id in truth.ids]))


@cache
def profile_of(name: str) -> Profile:
    """Loaded once in each process."""
    return load_profile(name)


@cache
def _annotated(profile: str) -> tuple[LabelledSet, NDArray[np.int64]]:
    return annotated(profile_of(profile))


@cache
def scenes_of(profile: str, count: int, first_seed: int) -> Any:
    """Rendered scenes, once in each process."""
    return render_set(count, first_seed, profile_of(profile).image_size)


def _online(context: ExperimentContext, source: Mapping[str, Any], task: Task, config: FitConfig) -> Any:
    """Batches (images, masks) of fresh samples of the task's classes; no two runs share a sample seed."""
    seeds, runs = config.steps * config.batch_size, GENERATOR["online"].count // ONLINE_SEEDS
    if seeds > ONLINE_SEEDS or not 0 <= config.seed < runs:
        raise BdganError(
            f"seed {config.seed}, {seeds:,} images: expected a seed below {runs:,} and at most "
            f"{ONLINE_SEEDS:,} images, so that no other run draws the same"
        )
    pool, profile = pool_of(source, context.device), profile_of(context.profile)
    head = load_head(context.folder / pool.head).to(context.device)
    stream = OnlineSynthesis(
        profile.generator(context.device), head, task.classes, sampling_of(pool, profile), config.batch_size,
        first_seed=GENERATOR["online"].first + ONLINE_SEEDS * config.seed,
    )  # fmt: skip
    for batch in stream.batches():
        yield batch.images, task.masks(class_masks(batch.masks, batch.class_ids))


def _pretrain(context: ExperimentContext, settings: Mapping[str, Any]) -> Row:
    """A backbone on disk, and what its features are worth on scenes it has not seen."""
    from bdgan_lib.downstream.pretraining.quality import knn_accuracy, linear_accuracy, pooled_features

    start = Initialisation(*(settings[key] for key in ("method", "branch", "backbone", "steps")))
    training, test_seeds = POCKET["pre-training"], POCKET["pre-training test"]
    scenes = scenes_of(context.profile, training.count, training.first)
    branch = None
    if start.branch:  # foreground against ground: nothing that names a class
        labelled_set, _ = labelled(context, settings["labelled"])
        masks = labelled_set.masks
        foreground = np.where(masks == UNLABELLED, UNLABELLED, masks > 0).astype(np.uint8)
        branch = Branch(LabelledSet(labelled_set.images, foreground), BranchConfig(2))
    learnt = pretrain(
        start.method, scenes.images, scenes.class_ids, PretrainConfig(start.backbone, start.steps),
        branch, context.device, context.folder / f"{start.file}.pt",
    )  # fmt: skip
    learnt.save(context.folder / start.file)
    unseen = scenes_of(context.profile, test_seeds.count, test_seeds.first)
    seen, ids = scenes.images[: test_seeds.count], scenes.class_ids[: test_seeds.count]
    train, test = (
        pooled_features(learnt.backbone().to(context.device), images) for images in (seen, unseen.images)
    )
    return {
        "knn": knn_accuracy(train, ids, test, unseen.class_ids),
        "linear": linear_accuracy(train, ids, test, unseen.class_ids),
        "rank": learnt.record["rank"],
        "images_per_second": learnt.record["images_per_second"],
    }
