"""The paper's tables and ablations of segmentation, in miniature: which cells each one has."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bdgan_lib.downstream.pretraining.training import METHODS
from bdgan_lib.experiments.context import (
    ANNOTATED,
    ExperimentContext,
    cell,
    measure,
    relabelled,
    rendered,
    sim,
)
from bdgan_lib.experiments.runner import Cells, Row
from bdgan_lib.profiles import Profile

REPORTED = 100  # the first seed that is reported; those below are for development (docs/protocol.md)
IMAGES = 6_000  # of a synthetic set; paper: 100_000
SETS: dict[str, list[dict[str, Any]]] = {
    "Synthetic-annotated": [ANNOTATED],
    "+ BigGAN-sim": [ANNOTATED, sim(IMAGES)],
    "+ VQGAN-sim": [ANNOTATED, sim(IMAGES, "pocket-vqgan")],
}
STEPS = {"FG/BG": 1_200, "MC-all": 4_800}  # the same for any set; docs/protocol.md says how they were chosen
DOUBLED = {"FG/BG": (600, 1_200, 2_400), "MC-all": (1_200, 2_400, 4_800)}
# Of the results that were measured before there was a budget, on development seeds:
EARLY = {"seeds_from": 0}
EARLY_STEPS = {"Bird": 240, "Fish": 240, "FG/BG": 120, "MC-superclass": 240, "MC-all": 480}
EARLY_BOTH = {task: EARLY_STEPS[task] for task in STEPS}
INITS = tuple(method for method in METHODS if method != "vader")  # with it table 2 takes over 45 minutes
SIZES = (250, 2_000, 30_000)
LARGE_POOL = 38_400  # drawn, of which filters leave 30,000


def table2(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """Every initialisation on every task, without and with a synthetic set (Table 2)."""
    return _run(profile, folder, "table2", SETS, seeds, EARLY | place, EARLY_STEPS, init=INITS)


def set_size(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """Mean IoU against the number of synthetic images, beside their source labels (Figure: set size)."""
    sets = {"Synthetic-annotated": [ANNOTATED]} | {f"{n}": [sim(n, drawn=LARGE_POOL)] for n in SIZES}
    return _run(profile, folder, "set-size", sets, seeds, place)


def budget(profile: Profile, folder: Path, seeds: int = 2, seeds_from: int = 0, **place: Any) -> Row:
    """How many steps are enough: scores on validation scenes as the steps double, on development seeds."""
    cells: Cells = {
        (count, "BigGAN-sim", task, seed): cell(
            task, [sim(IMAGES, drawn=LARGE_POOL)], seed, steps=count, split="validation"
        )
        for seed in range(seeds_from, seeds_from + seeds)
        for task, counts in DOUBLED.items()
        for count in counts
    }
    context = ExperimentContext(profile.name, folder, **place)
    context.prepare(cells.values())
    return context.run("budget", ("steps", "set", "task", "seed"), cells, measure)


def backbone(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """What a synthetic set adds to networks of three sizes (Figure: backbone size)."""
    sets = {name: SETS[name] for name in ("Synthetic-annotated", "+ BigGAN-sim")}
    sizes = ("pocket-10", "pocket-18", "pocket-34")
    return _run(profile, folder, "backbone", sets, seeds, place, backbone=sizes)


def labels_per_class(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """Mean IoU against the labels per class that the label heads learned from."""
    sets = {f"{k}": [sim(2_000, labels_per_class=k, drawn=3_000)] for k in (1, 2, 5, 10)}
    return _run(profile, folder, "labels-per-class", sets, seeds, EARLY | place, EARLY_BOTH)


def filtering(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """As many images each, without a filter and after either of the paper's, which drops a tenth."""
    sets = {"divergence 0.0": [sim(3_000, confident=1.0, agreed=1.0)], **_filtered(0.1)}
    return _run(profile, folder, "filter", sets, seeds, place)


def filter_share(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """As many images each, after dropping more and more by either filter; and of three truncations."""
    sets = {"divergence 0.0": [sim(3_000, confident=1.0, agreed=1.0)]}
    for drop in (0.1, 0.3, 0.5):
        sets |= _filtered(drop)
    sets |= {
        f"truncation {t}": [sim(2_000, truncation=t, drawn=3_000, confident=1.0, agreed=1.0)]
        for t in (0.5, 0.75, 1.0)
    }
    return _run(profile, folder, "filter-share", sets, seeds, EARLY | place, EARLY_BOTH)


def _filtered(drop: float) -> dict[str, list[dict[str, Any]]]:
    """Sets of either filter, with one threshold and with one per class."""
    settings: dict[str, dict[str, Any]] = {
        "divergence": {"confident": 1.0, "agreed": 1 - drop},
        "confidence": {"confident": 1 - drop, "agreed": 1.0},
    }
    return {
        f"{name}{of} {drop}": [sim(3_000, **kept, by_class=by_class)]
        for of, by_class in (("", False), (" by class", True))
        for name, kept in settings.items()
    }


def online(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """Stored images, used again and again, against fresh ones in every step (Table: offline and online)."""
    sets = {f"offline {n}": [sim(n, confident=1.0, agreed=1.0)] for n in (400, 2_000)}
    sets |= {"online": [{"kind": "online"}]}
    return _run(profile, folder, "online", sets, seeds, place)


def gap(profile: Profile, folder: Path, seeds: int = 3, **place: Any) -> Row:
    """What a synthetic set lacks: pictures or labels? And what real images with exact masks add to it."""
    biggan, few = sim(IMAGES), (100, 300, 1_000)
    sets = {
        "Synthetic-annotated": [ANNOTATED],
        "BigGAN-sim": [biggan],
        "BigGAN-sim, oracle's labels": [relabelled(biggan, "oracle")],
        "VQGAN-sim": [sim(IMAGES, "pocket-vqgan")],
        "BigGAN-sim + VQGAN-sim": [sim(IMAGES // 2), sim(IMAGES // 2, "pocket-vqgan")],
        "rendered, VQGAN head's labels": [relabelled(rendered(IMAGES), "VQGAN head")],
        f"rendered {IMAGES}": [rendered(IMAGES)],
        **{f"rendered {n}": [rendered(n)] for n in few},
        **{f"rendered {n} + BigGAN-sim": [rendered(n), biggan] for n in few},
    }
    after = {f"BigGAN-sim, then rendered {n}": [rendered(n)] for n in few}
    return _run(
        profile, folder, "gap", {**sets, **{name: [biggan] for name in after}}, seeds, place, after=after
    )


def _run(
    profile: Profile,
    folder: Path,
    name: str,
    sets: dict[str, list[dict[str, Any]]],
    seeds: int,
    place: Mapping[str, Any],
    steps: Mapping[str, int] = STEPS,
    after: Mapping[str, list[dict[str, Any]]] = {},
    **varied: Sequence[str],
) -> Row:
    """Every set on every task of `steps`, with each value of a setting that is varied beside.

    One repetition is measured after the other, so that a run that is cut off has whole ones.

    place: `seeds_from`, the first seed; `device` and `workers` of the `ExperimentContext`.
    after: sources that sets of these names are fine-tuned on.
    """
    place = dict(place)
    first = place.pop("seeds_from", REPORTED)
    cells: Cells = {
        (*values, what, task, seed): cell(
            task,
            train,
            seed,
            steps=steps[task],
            **dict(zip(varied, values, strict=True)),
            **({"then": after[what]} if what in after else {}),
        )
        for seed in range(first, first + seeds)
        for values in product(*varied.values())
        for what, train in sets.items()
        for task in steps
    }
    context = ExperimentContext(profile.name, folder, **place)
    context.prepare(cells.values())
    return context.run(name, (*varied, "set", "task", "seed"), cells, measure)
