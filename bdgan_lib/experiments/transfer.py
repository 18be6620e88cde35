"""Does pre-training with a segmentation branch help elsewhere: scenes, streets, chests (paper section 5)?"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.fitting import FitConfig
from bdgan_lib.downstream.transfer import chest, detect, segment
from bdgan_lib.experiments.cells import Row, run_cells
from bdgan_lib.experiments.segmentation import Bench, Start, backbone_of, workers
from bdgan_lib.pocket import chest as chest_world
from bdgan_lib.pocket import scenes, street
from bdgan_lib.pocket.elsewhere import render_many
from bdgan_lib.profiles import Profile

FIRST_SEED = 20_000_000  # of the pictures; each world's are its own
TRAIN, TEST = 400, 200  # pictures of each world
STARTS = tuple(
    Start(method, branch)
    for method in ("random", "supervised", "simclr", "moco-v2", "densecl")
    for branch in (False, True)
)  # paper: its branch on SimCLR and MoCo; "random" with a branch is the branch alone


def run(profile: Profile, folder: Path, seeds: int = 3) -> Row:
    """Every start on every world; the chest with 1, 5, 10 and 100% of its labels."""
    worlds = ["scenes", "street", *(f"chest {share:.0%}" for share in chest.SHARES)]
    cells = {
        f"{start.name} / {world} / {seed}": {
            "method": start.method, "branch": start.branch, "world": world, "seed": seed,
            "train": TRAIN, "test": TEST,
        }
        for start in STARTS
        for world in worlds
        for seed in range(seeds)
    }  # fmt: skip
    bench = Bench(profile.name, folder)
    bench.pretrained(STARTS)
    about = {"profile": profile.name}
    return run_cells("transfer", cells, partial(measure, bench), folder, about, workers())


def measure(bench: Bench, settings: Mapping[str, Any]) -> Row:
    """Fine-tune one start on one world, and score it on pictures it has not seen."""
    backbone: Backbone = backbone_of(bench, Start(settings["method"], settings["branch"]), settings["seed"])
    world, _, share = settings["world"].partition(" ")
    train, test = pictures(world, settings["train"], 0), pictures(world, settings["test"], 500_000)
    seed: int = settings["seed"]
    if world == "scenes":
        found = detect.train_and_score(backbone, train, test, replace(detect.DetectConfig(), seed=seed))
    elif world == "street":
        config = segment.SegmentConfig(street.STREET_LABELS, fit=FitConfig(160, 16, seed=seed))
        found = segment.train_and_score(backbone, train, test, config)
    else:
        few = replace(chest.with_seed(chest.ChestConfig(), seed), share=float(share.rstrip("%")) / 100)
        found = chest.train_and_score(backbone, train, test, few)
    return {key: round(float(value), 5) for key, value in found.items() if np.isfinite(value)}


@cache
def pictures(world: str, count: int, offset: int) -> list[Any]:
    """Pictures of one of the worlds."""
    render: Any = {"scenes": scenes.scene, "street": street.street, "chest": chest_world.chest}[world]
    return render_many(render, count, FIRST_SEED + offset)
