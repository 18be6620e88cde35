"""Table 1: the masks of each set, and how close its images come to real ones (paper section 4)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.image_codecs import read_image
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.experiments.context import (
    ANNOTATED,
    ExperimentContext,
    labelled,
    pool_of,
    profile_of,
    rendered,
    scenes_of,
    sim,
)
from bdgan_lib.experiments.pools import make_pool
from bdgan_lib.experiments.runner import Cells, Row
from bdgan_lib.metrics.fidelity import coverage, frechet_distance, kernel_distance, thumbnails
from bdgan_lib.metrics.mask_geometry import mask_statistics
from bdgan_lib.metrics.shape_diversity import chamfer_diversity
from bdgan_lib.profiles import Profile
from bdgan_lib.synthesis.label_real import center_square

IMAGES = 6_000  # of a set; each part has its share
SETS = {
    "Synthetic-annotated": ANNOTATED,
    "BigGAN-sim": sim(IMAGES),
    "VQGAN-sim": sim(IMAGES, "pocket-vqgan"),
    "Real-annotated": rendered(IMAGES),
}


def run(profile: Profile, folder: Path, seeds: int = 3) -> Row:
    """Every set, in as many parts as there are seeds, so that differences can be told from chance.

    The annotated samples are few and stay whole: too few for distances of features.
    """
    cells: Cells = {
        (name, part): {"source": source, "images": IMAGES // seeds, "part": part}
        for name, source in SETS.items()
        for part in range(1 if source is ANNOTATED else seeds)
    }
    context = ExperimentContext(profile.name, folder)
    for source in SETS.values():
        if source["kind"] == "pool":
            make_pool(pool_of(source), folder)
    return context.run("analysis", ("set", "part"), cells, measure)


def measure(context: ExperimentContext, settings: Mapping[str, Any]) -> Row:
    """Statistics of one part of a set."""
    profile, count = profile_of(context.profile), settings["images"]
    part = slice(count * settings["part"], count * (settings["part"] + 1))
    labelled_set, ids = labelled(context, settings["source"])
    images, masks, ids = labelled_set.images[part], labelled_set.masks[part], ids[part]
    row = mask_row(masks, ids)
    if settings["source"]["kind"] == "annotated":
        return row
    real = scenes_of(context.profile, count, POCKET["reference"].first)
    features = profile.require("quality_features")
    mine, theirs = features(images), features(real.images)
    covered = [coverage(mine[ids == k], theirs[real.class_ids == k]) for k in range(len(profile.classes))]
    return row | {
        **distances(mine, theirs),
        "mask FID": frechet_distance(thumbnails(masks), thumbnails(real.class_masks)),
        "coverage": float(np.mean(covered)),
        "coverage by class": [round(c, 4) for c in covered],
    }


def mask_row(masks: NDArray[np.integer], class_ids: NDArray[np.integer]) -> Row:
    """Table 1's columns of masks [N, H, W], foreground where > 0, of classes [N]: means over the images."""
    shapes = chamfer_diversity(masks, class_ids)
    return {
        "images": len(masks),
        **{name: float(np.nanmean(values)) for name, values in mask_statistics(masks).items()},
        "SD": float(shapes.mean()),
        "SD by class": [round(s, 5) for s in shapes.tolist()],
    }


def distances(mine: NDArray[np.floating], theirs: NDArray[np.floating]) -> Row:
    """FID and KID of features [N, D] and [M, D]."""
    return {"FID": frechet_distance(mine, theirs), "KID": kernel_distance(mine, theirs)}


def of_folder(data: ShardedSet, profile: Profile, count: int, real: Sequence[Path] = ()) -> Row:
    """`mask_row` of the first `count` images of a data set, with `distances` to real pictures if some came.

    Distances are in `Profile.quality_features`; pictures are cut to their centre square and resized. Memory
    grows with `count`, not with the set. BdganError where there are too few pictures.
    """
    features_of = profile.require("quality_features") if real else None
    masks, ids, features = [], [], []
    bar = tqdm(total=min(count, len(data)), desc="statistics", unit="image")
    samples = islice(data, count)
    while batch := [sample for sample, _ in islice(samples, 50)]:
        masks += [sample.mask for sample in batch]
        ids += [sample.class_id for sample in batch]
        if features_of:
            features.append(features_of(np.stack([sample.image for sample in batch])))
            least, have = features[0].shape[1] + 1, (min(count, len(data)), len(real))
            if min(have) < least:
                raise BdganError(
                    f"FID needs at least {least} pictures on each side; the set has {have[0]}, "
                    f"real has {have[1]}"
                )
        bar.update(len(batch))
    bar.close()
    if len(sizes := {mask.shape for mask in masks}) != 1:
        raise BdganError(f"expected masks of one size, got {len(masks)} of sizes {sorted(sizes)}")
    row = mask_row(np.stack(masks), np.array(ids))
    if not features_of:
        return row
    picture = lambda path: center_square(read_image(path), profile.image_size)
    theirs = [features_of(np.stack([*map(picture, some)])) for some in _fifties(real)]
    return row | distances(np.concatenate(features), np.concatenate(theirs))


def _fifties(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[first : first + 50] for first in range(0, len(paths), 50))
