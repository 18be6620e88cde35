"""Which samples of a profile people label, which of them train a head, and which score it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.annotation.candidates import annotate_candidates, choose_candidates
from bdgan_lib.core.ids import class_sample_id
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore, resize_annotations
from bdgan_lib.downstream.tasks import Task, task_of_classes
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.reencoded import ReencodedGenerator
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.visualization.grids import evenly_spaced


def candidates(
    profile: Profile, generator: Generator, keep: int = 5, classes: Iterable[str] = ()
) -> list[Annotation]:
    """Samples to label by hand: of ten per class the `keep` most recognisable, one of every class in turn.

    Args:
        profile: whose scorer and sampling settings are used.
        generator: of the profile.
        keep: samples per class.
        classes: class names; all classes if none is given.
    """
    asked = [profile.class_id(name) for name in classes]
    ids = tqdm(asked or range(len(profile.classes)), "samples to label")
    chosen = choose_candidates(generator, ids, profile.scorer, profile.sampling, keep=keep)
    kept = [samples for samples, _ in chosen]
    return [annotation for turn in zip(*kept, strict=True) for annotation in turn]


def label_store(profile: Profile, folder: str | Path) -> AnnotationStore:
    """Where labels that are drawn here go: to the profile's annotations, from which its heads learn.

    Annotations that ship stay as they are; then it is `labels` in the run's `folder`.
    """
    return AnnotationStore(Path(folder) / "labels") if profile.shipped else profile.annotations()


def annotate(profile: Profile, generator: Generator, keep: int = 5) -> list[Annotation]:
    """Labelled samples of every class that has some: people's, or the oracle's `keep` best of ten."""
    if profile.oracle is None:
        return list(profile.annotations())
    every = range(len(profile.classes))
    chosen = choose_candidates(generator, every, profile.scorer, profile.sampling, keep=keep)
    return list(annotate_candidates(chosen, profile.oracle.annotate, profile.oracle.name, profile.parts))


def labelled_classes(profile: Profile) -> tuple[int, ...]:
    """Ids of the classes that have annotations: those a head can label.

    Raises:
        BdganError: there are no annotations.
    """
    class_ids = {a.class_id for a in profile.annotations()}
    if not class_ids:
        raise BdganError(f"profile {profile.name} has no annotations; label samples first (notebook 02)")
    return tuple(sorted(class_ids))


def shown_classes(profile: Profile) -> dict[int, str]:
    """As many of the labelled classes as a figure can show: names by id."""
    return {k: profile.classes[k] for k in evenly_spaced(labelled_classes(profile))}


def all_classes_task(profile: Profile) -> Task:
    """The task that separates all labelled classes; MC-all in the pocket world."""
    if "MC-all" in profile.tasks:
        return profile.tasks["MC-all"]
    world = next(iter(profile.tasks.values())).world
    return task_of_classes(world, "labelled classes", labelled_classes(profile), profile.classes)


def held_out_ids(profile: Profile) -> frozenset[str]:
    """Ids of annotations kept for scoring: every fifth of six or more; none if an oracle labels new ones."""
    ids = () if profile.load_oracle else sorted(a.id for a in profile.annotations())
    return frozenset(ids[::5] if len(ids) > 5 else ())


def training_annotations(
    profile: Profile, device: str = "cpu", hold_out: bool = False
) -> tuple[Generator, list[Annotation]]:
    """What a label head is trained on: a generator that samples the labelled images, and their annotations.

    A VQGAN reads the samples of its `source` profile again and so has its own features of them.

    Args:
        profile: whose annotations.
        device: of the generators.
        hold_out: leave out `held_out_ids`, because something is to be scored on them.
    """
    excluded = held_out_ids(profile) if hold_out else frozenset()
    annotations = [a for a in profile.annotations() if a.id not in excluded]
    if profile.source is None:
        return profile.generator(device), annotations
    sampler = ReencodedGenerator(profile.source.generator(device), profile.require("encoder")(device))
    return sampler, resize_annotations(annotations, sampler.source.image_size, sampler.image_size)


def test_annotations(
    profile: Profile, generator: Generator, count: int, first_seed: int = GENERATOR["test"].first
) -> list[Annotation]:
    """Up to `count` labelled samples for scores, from which no head learns.

    Args:
        profile: with an oracle, new samples are labelled by it; without one, held-out annotations are used.
        generator: of the profile.
        count: how many at most.
        first_seed: of the new samples; their seeds are consecutive.

    Raises:
        BdganError: the profile has fewer than two annotations to score with.
    """
    if profile.oracle is not None:
        batches = _new_samples(profile, generator, count, first_seed)
        return list(annotate_candidates(batches, profile.oracle.annotate, profile.oracle.name, profile.parts))
    ids = sorted(held_out_ids(profile))[:count]
    if len(ids) < 2:
        raise BdganError(f"profile {profile.name} has too few annotations to score with; label six or more")
    return [profile.annotations().load(id) for id in ids]


def _new_samples(
    profile: Profile, generator: Generator, count: int, first_seed: int
) -> Iterator[tuple[list[Annotation], NDArray[np.uint8]]]:
    """Fifty at a time: annotations without labels, and their images; the classes take turns."""
    for numbers in torch.arange(count).split(50):
        class_ids, seeds = numbers % len(profile.classes), first_seed + numbers
        images = to_uint8(generator.sample(class_ids, seeds, profile.sampling, features=False).images)
        names = profile.classes
        more = profile.sampling, generator.sha256, np.zeros(images.shape[1:3], np.uint8), ""
        samples = zip(class_ids.tolist(), seeds.tolist(), strict=True)
        yield (
            [Annotation(class_sample_id(names, k, seed), names[k], k, seed, *more) for k, seed in samples],
            images,
        )
