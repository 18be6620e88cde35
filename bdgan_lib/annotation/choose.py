"""Sample some, keep the recognisable ones, label them (paper section 3.1: five of ten per class)."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.data.annotations import Annotation
from bdgan_lib.images import to_uint8
from bdgan_lib.types import BdganError, Sample, Sampling, sample_id

Images = NDArray[np.uint8]
ClassIds = NDArray[np.int64]


def annotate(
    sample: Callable[..., Sample],
    generator_sha256: str,
    class_names: Sequence[str],
    confidence: Callable[[Images, ClassIds], NDArray[np.floating]],
    label: Callable[[Images, ClassIds], NDArray[np.uint8]],
    annotator: str,
    part_names: Mapping[str, Sequence[str]],
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    seeds: Sequence[int] = range(10),
    keep: int = 5,
) -> Iterator[Annotation]:
    """Annotations of the `keep` most recognisable samples of each class.

    Args:
        sample: a generator's `sample`.
        confidence: images [N, H, W, 3] and class ids [N] -> how recognisable each is, [N].
        label: images and class ids -> masks [N, H, W]; k is the k-th part of the class, 0 the ground.
        annotator: who or what labels; stored with every mask.
    """
    if not 1 <= keep <= len(seeds):
        raise BdganError(f"keep {keep} of {len(seeds)} samples was asked for; keep 1 to {len(seeds)}")
    for class_id, name in enumerate(class_names):
        ids = torch.full((len(seeds),), class_id)
        images = to_uint8(sample(ids, torch.tensor(list(seeds)), sampling, features=False).images)
        scores = confidence(images, ids.numpy())
        chosen = np.sort(np.argsort(-scores, kind="stable")[:keep])
        masks = label(images[chosen], ids.numpy()[chosen])
        for i, mask in zip(chosen.tolist(), masks, strict=True):
            yield Annotation(
                id=sample_id(name, seeds[i]),
                class_name=name,
                class_id=class_id,
                seed=seeds[i],
                sampling=sampling,
                generator_sha256=generator_sha256,
                mask=mask,
                annotator=annotator,
                classes=("background", *part_names[name]),
                extra={"confidence": round(float(scores[i]), 6)},
            )
