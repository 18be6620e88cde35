"""Does pre-training with a segmentation branch help elsewhere: scenes, streets, chests (paper section 5)?"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.core.seeds import TRANSFER, SeedRange
from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining.training import METHODS
from bdgan_lib.downstream.transfer import chest, detect, segment
from bdgan_lib.experiments.context import ExperimentContext, Initialisation, backbone_of
from bdgan_lib.experiments.runner import Cells, Row
from bdgan_lib.profiles import Profile
from bdgan_lib.worlds import chest as chest_world
from bdgan_lib.worlds import scenes, street
from bdgan_lib.worlds.rendering import render_many

WORLDS: dict[str, tuple[Any, SeedRange]] = {  # -> how it is drawn, and the pictures to train on
    "scenes": (scenes.scene, TRANSFER["scenes"]["train"]),
    "street": (street.street, TRANSFER["street"]["train"]),
    "chest": (chest_world.chest, TRANSFER["chest"]["train"]),
}
CHESTS = {f"chest {share:.0%}": share for share in chest.SHARES}  # with this share of the labels
EVALUATION_STEPS = (25, 50, 100, 200)  # steps after which detectors are scored on the way
TEST = TRANSFER["scenes"]["test"].count  # pictures of each world, on which nothing was chosen
TEST_OFFSET = TRANSFER["scenes"]["test"].first - TRANSFER["scenes"]["train"].first  # in every world
STARTS = tuple(
    Initialisation(method, branch)
    for method in ("random", "supervised", "simclr", "moco-v2", "densecl")
    for branch in (False, True)
)  # paper: its branch on SimCLR and MoCo; "random" with a branch is the branch alone


def run(profile: Profile, folder: Path, seeds: int = 3, seeds_from: int = 0, **place: Any) -> Row:
    """Every start on every world; the chest with 1, 5, 10 and 100% of its labels, from three times the seeds.

    A chest takes seconds to learn, and which two pictures are labelled matters more than the start.
    """
    worlds = ("scenes", "street", *CHESTS)
    cells: Cells = {
        (start.name, world, seed): {
            "method": start.method, "branch": start.branch, "world": world, "seed": seed,
            **({"marks": EVALUATION_STEPS} if world == "scenes" else {}),
        }
        for start in STARTS
        for world in worlds
        for seed in range(seeds_from, seeds_from + (3 * seeds if world in CHESTS else seeds))
    }  # fmt: skip
    context = ExperimentContext(profile.name, folder, **place)
    context.pretrained(STARTS)
    return context.run("transfer", ("init", "world", "seed"), cells, measure)


def pretraining(profile: Profile, folder: Path, seeds: int = 1, **place: Any) -> Row:
    """Every pre-trained backbone of table 2 and of the transfers, with what its features are worth.

    seeds: each is pre-trained once, whatever is asked.
    """
    starts = dict.fromkeys([*(Initialisation(method) for method in METHODS), *STARTS])
    return ExperimentContext(profile.name, folder, **place).pretrained(starts)


def measure(context: ExperimentContext, settings: Mapping[str, Any]) -> Row:
    """Fine-tune one start on one world, and score it on pictures it has not seen."""
    backbone: Backbone = backbone_of(
        context, Initialisation(settings["method"], settings["branch"]), settings["seed"]
    )
    world = "chest" if settings["world"] in CHESTS else settings["world"]
    train, test = pictures(world, WORLDS[world][1].count, 0), pictures(world, TEST, TEST_OFFSET)
    seed, device = settings["seed"], context.device
    if world == "scenes":
        config = replace(detect.DetectConfig(), seed=seed)
        scores = detect.train_and_score(
            backbone, train, test, config, device, evaluation_steps=settings["marks"]
        )
    elif world == "street":
        recipe = segment.SegmentConfig(street.STREET_LABELS)
        recipe = replace(recipe, fit=replace(recipe.fit, seed=seed))
        scores = segment.train_and_score(backbone, train, test, recipe, device)
    else:
        few = replace(chest.with_seed(chest.ChestConfig(), seed), share=CHESTS[settings["world"]])
        scores = chest.train_and_score(backbone, train, test, few, device)
    return {key: round(float(value), 5) for key, value in scores.items() if np.isfinite(value)}


@cache
def pictures(world: str, count: int, offset: int) -> list[Any]:
    """Pictures of one of the worlds."""
    render, seeds = WORLDS[world]
    return render_many(render, count, seeds.first + offset)
