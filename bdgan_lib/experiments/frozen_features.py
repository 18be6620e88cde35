"""Is a generator's feature worth more than a good image feature, at five labels per class?

The control of DatasetDDPM (Baranchuk et al. 2022, Label-Efficient Semantic Segmentation with Diffusion
Models): the same head learns the same labels from frozen features of the images. Such a head reads real
images too. There it is scored as well, beside the networks that a synthetic set trained (`set-size`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.labelled_arrays import LabelledSet
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.experiments.context import ExperimentContext, Initialisation, backbone_of, test_set
from bdgan_lib.experiments.downstream import REPORTED
from bdgan_lib.experiments.pools import annotated
from bdgan_lib.experiments.runner import Cells, Row, averaged, run_cells, scores
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.training import HeadTraining, fit_head
from bdgan_lib.heads.training_data import Features, TrainingData, collect_training_data
from bdgan_lib.metrics.segmentation import confusion, iou
from bdgan_lib.metrics.statistics import Difference, difference
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import test_annotations
from bdgan_lib.training.file_logs import LogFolder

SAMPLES, SCENES = "samples", "scenes"  # what is scored: of the generator, or rendered with exact masks
GENERATOR_FEATURES, PIXELS, CLASSIFIER = "generator", "pixels", "shipped classifier"
STARTS = {method: Initialisation(method) for method in ("simclr", "densecl")}
FEATURES = (GENERATOR_FEATURES, CLASSIFIER, *STARTS, PIXELS)
ON_SCENES = (CLASSIFIER,)
RATES = (5e-3, 1e-2)  # peaks of the heads' learning rate; development seeds choose, but not for bare pixels
ZOOM = 2  # images are enlarged so much before a network reads them: better on development seeds than 1
SCENE_SEEDS = 3  # as many as `set-size` has


def run(
    profile: Profile,
    folder: Path,
    seeds: int = 5,
    seeds_from: int = REPORTED,
    features: tuple[str, ...] = FEATURES,
    test_samples: int = 1_000,
    development_seeds: int = 1,
    logs: LogFolder | None = None,
    **training: Any,
) -> Row:
    """Heads on the features of the generator and of images: first their learning rates, then the scores.

    The rates are chosen on development seeds and on other samples; `frozen-features-rates.json` has them.

    Args:
        profile: whose generator, labels and scenes.
        folder: where the results and the backbones lie.
        seeds: of each head; those on real images have at most `SCENE_SEEDS`.
        seeds_from: the first seed.
        features: which.
        test_samples: of the generator, that are scored.
        development_seeds: from 0, which choose the rates.
        logs: as of `run_cells`.
        training: changes `HeadTraining` for all.
    """
    context = ExperimentContext(profile.name, folder, workers=1, logs=logs)
    experiment = FrozenFeatures(context, profile, test_samples)
    context.pretrained(STARTS[name] for name in features if name in STARTS)
    about = context.about

    def cell(name: str, seed: int, rate: float, scored: str = SAMPLES, task: str = "FG/BG") -> Row:
        given = {"steps": HeadTraining.steps, "learning_rate": rate, **training}
        where = {"scored": scored, "split": "test", "fresh": test_samples, "task": task}
        return {"features": name, "zoom": ZOOM, "training": given, **where, "seed": seed}

    trials: Cells = {
        (name, rate, seed): {**cell(name, seed, rate), "split": "validation"}
        for name in features
        if name != PIXELS
        for rate in RATES
        for seed in range(development_seeds)
    }
    factors: tuple[str, ...] = ("features", "rate", "seed")
    measured = partial(run_cells, measure=experiment.measure, folder=folder, about=about, logs=logs)
    tried = measured("frozen-features-rates", factors, trials)
    rates = {PIXELS: HeadTraining.learning_rate} | best_rates(tried)
    plan = [(name, SAMPLES, "FG/BG", seeds) for name in features]
    plan += [
        (name, SCENES, task, min(seeds, SCENE_SEEDS))
        for name in features
        if name in ON_SCENES
        for task in ("FG/BG", "MC-all")
    ]
    cells: Cells = {
        (name, scored, task, seed): cell(name, seed, rates[name], scored, task)
        for name, scored, task, count in plan
        for seed in range(seeds_from, seeds_from + count)
    }
    factors = ("features", "scored", "task", "seed")
    return measured("frozen-features", factors, cells)


def best_rates(tried: Mapping[str, Any]) -> dict[str, float]:
    """The learning rate with the best mean score of each kind of features, of `frozen-features-rates`."""
    rates: dict[str, float] = {}
    best: dict[str, float] = {}
    for (name, rate), runs in scores(tried).items():
        if runs.mean() > best.get(name, -1.0):
            best[name], rates[name] = float(runs.mean()), float(rate)
    return rates


def lead(result: Mapping[str, Any]) -> dict[str, Difference]:
    """What the generator's features give a head over each kind of image features, on samples, by seed."""
    runs = {name: x for (name, scored, _), x in scores(result).items() if scored == SAMPLES}
    return {
        name: difference(runs[GENERATOR_FEATURES], x)
        for name, x in runs.items()
        if name != GENERATOR_FEATURES
    }


def behind(result: Mapping[str, Any], set_size: Mapping[str, Any], images: str) -> dict[str, Difference]:
    """What a network trained on so many synthetic images has over heads on image features, on real images.

    The mean over the tasks, by seed; seeds that one side lacks are left out.
    """
    networks = averaged(scores(set_size))[images,]
    heads = averaged({key: x for key, x in scores(result).items() if key[1] == SCENES})
    return {name: difference(networks[: len(x)], x[: len(networks)]) for (name, _), x in heads.items()}


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Frozen features of images in several resolutions, as a label head reads a generator's.

    Beside a network's maps stand the pixels themselves, so that no detail is lost; alone they are a pyramid.
    """

    maps: Callable[[Tensor], list[Tensor]] | None  # images [B, 3, H, W] in [-1, 1] -> maps; None: no network
    zoom: int = ZOOM  # times

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8], batch_size: int = 100) -> Features:
        """Features {block: [N, C, side, side]} of images [N, H, W, 3], coarse to fine."""
        parts = [
            self._read(from_uint8(images[k : k + batch_size])) for k in range(0, len(images), batch_size)
        ]
        maps = [torch.cat(level) for level in zip(*parts, strict=True)]
        return {f"map {k}": maps[k] for k in reversed(range(len(maps)))}

    def _read(self, x: Tensor) -> list[Tensor]:
        if self.maps is None:
            return [F.avg_pool2d(x, 2**k) for k in range(4)]
        large = F.interpolate(x, scale_factor=self.zoom, mode="bilinear", align_corners=False)
        return [x, *self.maps(large.contiguous(memory_format=torch.channels_last))]


class FrozenFeatures:
    """The labelled samples, the samples and scenes that are scored, and the features of each."""

    def __init__(self, context: ExperimentContext, profile: Profile, test_samples: int) -> None:
        self.context, self.profile, self.test_samples = context, profile, test_samples
        self.data = lru_cache(maxsize=2)(self._data)  # of one kind of features: to learn from, and to score

    @cached_property
    def generator(self) -> Any:
        """The profile's generator."""
        return self.profile.generator()

    @cached_property
    def samples(self) -> dict[str, list[Annotation]]:
        """The annotated samples that ship, five per class, and others with the oracle's labels to score."""
        seeds = {
            "validation": GENERATOR["Synthetic-annotated validation"],
            "test": GENERATOR["label-head test"],
        }
        return {"labelled": list(self.profile.annotations())} | {
            split: test_annotations(self.profile, self.generator, min(self.test_samples, s.count), s.first)
            for split, s in seeds.items()
        }

    @cached_property
    def images(self) -> dict[str, LabelledSet]:
        """Their images, with class masks."""
        return {split: annotated(self.profile, samples)[0] for split, samples in self.samples.items()}

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """Train a head on the labelled samples' features, and score it."""
        name, scored, split, task = (settings[key] for key in ("features", "scored", "split", "task"))
        learnt, test = self.data(name, SAMPLES, "labelled", task), self.data(name, scored, split, task)
        blocks = tuple((block, *x.shape[1:3]) for block, x in learnt.batch(torch.arange(1)).items())
        labels = self.profile.task(task).labels
        architecture = Architecture(conditional=scored == SAMPLES)  # nobody says what a real image shows
        training = HeadTraining(seed=settings["seed"], **settings["training"])
        torch.manual_seed(training.seed)
        head = build_head(HeadConfig(blocks, len(self.profile.classes), labels, architecture))
        fit_head(head, learnt, training)
        batches = zip(test.batches(50, len(test)), test.class_ids.split(50), strict=True)
        predictions = np.concatenate([head.label(features, ids)[0] for features, ids in batches])
        by_label = iou(confusion(predictions, test.masks.numpy(), len(labels)))
        return {"miou": float(np.nanmean(by_label)), "iou": [round(x, 4) for x in by_label.tolist()]}

    def _data(self, features: str, scored: str, split: str, task: str) -> TrainingData:
        """Features and a task's labels of samples or scenes."""
        if scored == SCENES:
            truth = test_set(self.profile.name, self.profile.task(task), split=split)
            images, masks, ids = truth.images, truth.masks, torch.zeros(len(truth.images), dtype=torch.long)
        else:
            images, class_masks = self.images[split].images, self.images[split].masks
            masks = self.profile.task(task).masks(class_masks)
            ids = torch.tensor([a.class_id for a in self.samples[split]])
        if features == GENERATOR_FEATURES:
            read = collect_training_data(self.generator, self.samples[split], feature_cache="memory").features
        else:
            read = self._reader(features)(images)
        return TrainingData(read, ids, torch.from_numpy(masks))

    def _reader(self, features: str) -> ImageFeatures:
        if features == PIXELS:
            return ImageFeatures(None)
        if features == CLASSIFIER:
            return ImageFeatures(self.profile.require("classifier").eval().maps)
        return ImageFeatures(backbone_of(self.context, STARTS[features], seed=0).eval())
