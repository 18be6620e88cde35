"""Verdicts on the paper's claims, from results made to hold them, to break them, or to say nothing."""

from itertools import product

import numpy as np
import pytest

from bdgan_lib.experiments import runner
from bdgan_lib.experiments.claims import BRANCHED, WORLDS, branch_gains, check_claims, gains, size_curve

NOISE = np.random.default_rng(0).normal(0, 0.001, 10_000)
HOLDS = "holds here"


def result(name: str, levels: dict, metric: str = "miou", seeds: int = 3) -> dict:
    """Cells of two tasks around the levels of other factors, in noise far smaller than what is claimed."""
    noise = iter(NOISE)
    tasks = ("FG/BG", "MC-all") if name != "transfer" else ()
    factors = runner.OLD_FACTORS[name]
    cells = {}
    for key, level in levels.items():
        for values in product(*((k,) for k in key), *([tasks] if tasks else []), range(seeds)):
            kind = "pool" if str(values[0]).isdigit() else "annotated"
            source = {"kind": kind, "images": int(values[0]) if kind == "pool" else 60}
            row = dict(zip(factors, values, strict=True)) | {"train": [source], metric: level + next(noise)}
            cells[str(len(cells))] = row  # no one reads a cell's name
    return {"experiment": name, "factors": factors, "cells": cells}


def table2(gain: float, other: float) -> dict:
    sets = {"Synthetic-annotated": 0.5, "+ BigGAN-sim": 0.5 + gain, "+ VQGAN-sim": 0.5 + other}
    inits = {"random": 0.0, "supervised": 0.1}
    return result("table2", {(i, s): base + v for i, base in inits.items() for s, v in sets.items()})


def test_a_gain_is_what_the_set_adds_to_each_initialisation():
    found = gains(table2(0.1, -0.1), "+ BigGAN-sim")
    assert list(found) == ["random", "supervised"]
    assert all(g.mean == pytest.approx(0.1, abs=0.005) and g.verdict == "yes" for g in found.values())
    assert [row[HOLDS] for row in check_claims({"table2": table2(0.1, -0.1)})] == ["yes", "no"]
    assert [row[HOLDS] for row in check_claims({"table2": table2(0, 0)})] == ["not shown", "not shown"]


def test_one_initialisation_that_gains_nothing_is_not_hidden():
    found = table2(0.1, 0.1)
    for row in runner.rows(found, init="random"):
        row["miou"] -= 0.2 * (row["set"] != "Synthetic-annotated")
    assert [row[HOLDS] for row in check_claims({"table2": found})] == ["in part", "in part"]
    assert "1 of 2; least random" in check_claims({"table2": found})[0]["here (95% interval over seeds)"]


def test_the_crossing_and_the_last_rise_of_a_curve():
    names = ("100", "1000", "10000", "20000", "Synthetic-annotated", "rendered 100")
    levels = dict(zip(product(names), (0.3, 0.5, 0.7, 0.7, 0.4, 0.2), strict=True))
    found = result("set-size", levels)
    sizes, curve = size_curve(found)
    assert sizes == [100, 1_000, 10_000, 20_000] and len(curve["100",]) == 3
    first, second, third = check_claims({"set-size": found})
    assert (
        first["here (95% interval over seeds)"].startswith(("from 31", "from 32")) and first[HOLDS] == "yes"
    )
    assert second[HOLDS] == "yes" and "1,000 → 10,000" in second["the paper's claim"]
    assert third[HOLDS] == "not shown" and "10,000 → 20,000" in third["the paper's claim"]
    never = result("set-size", {**levels, ("Synthetic-annotated",): 0.9})
    assert check_claims({"set-size": never})[0]["here (95% interval over seeds)"].startswith("at no size")
    assert check_claims({"set-size": never})[0][HOLDS] == "no"


def test_backbones_filters_and_fresh_images():
    sizes = {"small": 0.1, "large": 0.2}
    levels = {(s, "Synthetic-annotated"): 0.5 for s in sizes} | {
        (s, "+ BigGAN-sim"): 0.5 + g for s, g in sizes.items()
    }
    assert check_claims({"backbone": result("backbone", levels)})[0][HOLDS] == "yes"
    filtered = {"divergence 0.0": 0.5, "divergence 0.1": 0.45, "divergence by class 0.1": 0.55}
    filtered |= {"confidence 0.1": 0.5, "confidence by class 0.1": 0.6}
    filtered = {(name,): level for name, level in filtered.items()}
    verdicts = [row[HOLDS] for row in check_claims({"filter": result("filter", filtered)})]
    assert verdicts == ["no", "yes", "not shown", "yes"]
    stored = {("offline 400",): 0.4, ("offline 2000",): 0.6, ("online",): 0.5}
    assert check_claims({"online": result("online", stored)})[0][HOLDS] == "in part"


def test_the_branch_is_the_mean_over_learners_and_few_labels_stand_against_all():
    found: dict = {"experiment": "transfer", "factors": ("init", "world", "seed"), "cells": {}}
    for metric in ("ap_box", "ap_mask", "miou"):
        worlds = {world.split(",")[0] for world, (m, _) in WORLDS.items() if m == metric}
        levels = {
            (f"{init}{branch}", world): 0.5
            + (0.1 if branch else 0)
            + (0.1 if branch and world == "chest 1%" else 0)
            for init in (*BRANCHED, "random")
            for branch in ("", " + branch")
            for world in worlds
        }
        rows = result("transfer", levels, metric)["cells"].items()
        found["cells"] |= {f"{metric} {name}": row for name, row in rows}
    gained = branch_gains(found)
    assert {round(g.mean, 1) for world, g in gained.items() if world != "chest 1%"} == {0.1}
    assert (
        round(gained["chest 1%"].mean, 1) == round(branch_gains(found, "random")["chest 1%"].mean, 1) == 0.2
    )
    rows = check_claims({"transfer": found})
    assert len(rows) == len(WORLDS) + 2 and {row[HOLDS] for row in rows} == {"yes"}
