"""Table 1: the masks of each set, and how close its images come to real ones (paper section 4)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.analysis.fidelity import coverage, frechet_distance, kernel_distance, thumbnails
from bdgan_lib.analysis.geometry import mask_statistics
from bdgan_lib.analysis.shapes import chamfer_diversity
from bdgan_lib.experiments.cells import Row, run_cells
from bdgan_lib.experiments.pools import make_pool
from bdgan_lib.experiments.segmentation import (
    ANNOTATED,
    RENDERED_SEED,
    Bench,
    labelled,
    pool_of,
    profile_of,
    rendered,
    scenes_of,
    sim,
    workers,
)
from bdgan_lib.profiles import Profile

IMAGES = 6_000  # of a set; each part has its share
REFERENCE_SEED = RENDERED_SEED + 2_000_000  # rendered scenes that every set is held against
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
    cells = {
        f"{name} / {part}": {"source": source, "images": IMAGES // seeds, "part": part}
        for name, source in SETS.items()
        for part in range(1 if source is ANNOTATED else seeds)
    }
    bench = Bench(profile.name, folder)
    for source in SETS.values():
        if source["kind"] == "pool":
            make_pool(pool_of(source), folder)
    return run_cells("analysis", cells, partial(measure, bench), folder, bench.about, workers())


def measure(bench: Bench, settings: Mapping[str, Any]) -> Row:
    """Statistics of one part of a set."""
    profile, count = profile_of(bench.profile), settings["images"]
    part = slice(count * settings["part"], count * (settings["part"] + 1))
    found, ids = labelled(bench, settings["source"])
    images, masks, ids = found.images[part], found.masks[part], ids[part]
    shapes = chamfer_diversity(masks, ids)
    row: Row = {
        "images": len(images),
        **{name: float(np.nanmean(values)) for name, values in mask_statistics(masks).items()},
        "SD": float(shapes.mean()),
        "SD by class": [round(s, 5) for s in shapes.tolist()],
    }
    if settings["source"]["kind"] == "annotated":
        return row
    real = scenes_of(bench.profile, count, REFERENCE_SEED)
    mine, theirs = profile.quality_features(images), profile.quality_features(real.images)
    covered = [coverage(mine[ids == k], theirs[real.class_ids == k]) for k in range(len(profile.classes))]
    return row | {
        "FID": frechet_distance(mine, theirs),
        "KID": kernel_distance(mine, theirs),
        "mask FID": frechet_distance(thumbnails(masks), thumbnails(real.class_masks)),
        "coverage": float(np.mean(covered)),
        "coverage by class": [round(c, 4) for c in covered],
    }
