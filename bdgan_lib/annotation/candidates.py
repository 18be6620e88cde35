"""Samples to annotate: draw some, keep the most recognisable (paper section 3.1: 5 of 10 per class)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.ids import class_sample_id
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.generators.base import Generator
from bdgan_lib.heads.training_data import samples_of

Images = NDArray[np.uint8]  # [N, H, W, 3]
ClassIds = NDArray[np.int64]  # [N]


def choose_candidates(
    generator: Generator,
    class_ids: Iterable[int],
    confidence: Callable[[Images, ClassIds], NDArray[np.floating]],
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    seeds: Sequence[int] = range(10),
    keep: int = 5,
) -> Iterator[tuple[list[Annotation], Images]]:
    """Yield, class by class, the `keep` most recognisable samples: annotations and images.

    The annotations' masks are background everywhere, until somebody labels them.

    Args:
        generator: draws the samples.
        class_ids: classes to draw.
        confidence: images and class ids -> how recognisable each image is, [N]; stored in `extra`.
        sampling: how latents are drawn.
        seeds: of the samples of each class.
        keep: how many samples of each class are kept.

    Raises:
        BdganError: `keep` is not within 1 and the number of seeds.
    """
    if not 1 <= keep <= len(seeds):
        raise BdganError(f"cannot keep {keep} of {len(seeds)} samples; keep 1 to {len(seeds)}")
    for class_id in class_ids:
        ids, name = torch.full((len(seeds),), class_id), generator.classes[class_id]
        images = to_uint8(generator.sample(ids, torch.tensor(list(seeds)), sampling, features=False).images)
        scores = confidence(images, ids.numpy())
        chosen = np.sort(np.argsort(-scores, kind="stable")[:keep])
        blank = np.zeros(images.shape[1:3], np.uint8)
        annotations = [
            Annotation(
                id=class_sample_id(generator.classes, class_id, seeds[i]),
                class_name=name,
                class_id=class_id,
                seed=seeds[i],
                sampling=sampling,
                generator_sha256=generator.sha256,
                mask=blank,
                annotator="",
                extra={"confidence": round(float(scores[i]), 6)},
            )
            for i in chosen.tolist()
        ]
        yield annotations, images[chosen]


def annotate_candidates(
    chosen: Iterable[tuple[list[Annotation], Images]],
    label: Callable[[Images, ClassIds], NDArray[np.uint8]],
    annotator: str,
    part_names: Mapping[str, Sequence[str]],
) -> Iterator[Annotation]:
    """Yield the annotations of `choose_candidates`, labelled.

    Args:
        chosen: class by class, annotations and their images.
        label: images and class ids -> masks [N, H, W]; k is the k-th part of the class, 0 the background.
        annotator: who or what labels; stored with every mask.
        part_names: class name -> names of its parts.
    """
    for annotations, images in chosen:
        masks = label(images, np.array([a.class_id for a in annotations]))
        for a, mask in zip(annotations, masks, strict=True):
            classes = ("background", *part_names[a.class_name])
            yield replace(a, mask=mask, annotator=annotator, classes=classes)


def image_source(generator: Generator) -> Callable[[Annotation], NDArray[np.uint8]]:
    """A function that draws an annotation's image [H, W, 3] again and caches the last hundred."""

    @lru_cache(100)
    def image(annotation: Annotation) -> NDArray[np.uint8]:
        (sample,) = samples_of(generator, [annotation], features=False)
        return to_uint8(sample.images)[0]

    return image
