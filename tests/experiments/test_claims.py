"""Verdicts on the paper's claims, from results made to hold them, to break them, or to say nothing."""

from itertools import product

import numpy as np
import pytest

from bdgan_lib.experiments import runner
from bdgan_lib.experiments.claims import (
    BRANCHED,
    WORLDS,
    branch_gains,
    check_claims,
    checked,
    gains,
    size_curve,
    summarise,
)
from bdgan_lib.profiles import load_profile

NOISE = np.random.default_rng(0).normal(0, 0.001, 10_000)
HOLDS, FAILS, EQUIVALENT, UNDECIDED = "holds", "does not hold", "equivalent", "undecided"


def verdicts(name: str, found: dict) -> list[str]:
    return [row["verdict"] for row in check_claims({name: found})]


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
    assert verdicts("table2", table2(0.1, -0.1)) == [HOLDS, FAILS]
    assert verdicts("table2", table2(0, 0)) == [FAILS, FAILS], "not every one gains, if one gains nothing"


def test_one_initialisation_that_gains_nothing_is_not_hidden():
    found = table2(0.1, 0.1)
    for row in runner.rows(found, init="random"):
        row["miou"] -= 0.2 * (row["set"] != "Synthetic-annotated")
    assert verdicts("table2", found) == [FAILS, FAILS]
    said = check_claims({"table2": found})[0]["here (95% interval over seeds)"]
    assert said.startswith("random -0.1") and "; supervised +0.09" in said


def test_the_crossing_and_the_last_rise_of_a_curve():
    names = ("250", "1000", "2000", "30000", "Synthetic-annotated", "rendered 60")
    levels = dict(zip(product(names), (0.3, 0.5, 0.7, 0.7, 0.4, 0.2), strict=True))
    found = result("set-size", levels)
    sizes, curve = size_curve(found)
    assert sizes == [250, 1_000, 2_000, 30_000] and len(curve["250",]) == 3
    first, second, third = check_claims({"set-size": found})
    assert first["here (95% interval over seeds)"].startswith(("from 49", "from 50"))
    assert first["verdict"] == second["verdict"] == HOLDS and "250 → 2,000" in second["the paper's claim"]
    assert third["verdict"] == EQUIVALENT and "2,000 → 30,000" in third["the paper's claim"]
    never = result("set-size", {**levels, ("Synthetic-annotated",): 0.9})
    assert "at no size" in check_claims({"set-size": never})[0]["here (95% interval over seeds)"]
    assert verdicts("set-size", never)[0] == FAILS


def test_backbones_filters_and_fresh_images():
    sizes = {"small": 0.1, "large": 0.2}
    levels = {(s, "Synthetic-annotated"): 0.5 for s in sizes} | {
        (s, "+ BigGAN-sim"): 0.5 + g for s, g in sizes.items()
    }
    assert verdicts("backbone", result("backbone", levels)) == [HOLDS]
    filtered = {"divergence 0.0": 0.5, "divergence 0.1": 0.45, "divergence by class 0.1": 0.55}
    filtered |= {"confidence 0.1": 0.5, "confidence by class 0.1": 0.6}
    filtered = {(name,): level for name, level in filtered.items()}
    assert verdicts("filter", result("filter", filtered)) == [FAILS, HOLDS, EQUIVALENT, HOLDS]
    stored = {("offline 400",): 0.4, ("offline 2000",): 0.6, ("online",): 0.5}
    assert verdicts("online", result("online", stored)) == [HOLDS, FAILS]


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
    assert len(rows) == len(WORLDS) + 2 and {row["verdict"] for row in rows} == {HOLDS}


def test_noise_alone_is_undecided_and_a_correction_spares_no_claim():
    """Of tables with claims of nothing, one in twenty shows one or more; uncorrected, many would."""
    shown, uncorrected = 0, 0
    noise = np.random.default_rng(5)
    for _ in range(200):
        levels = {
            (f"{kind}{of} 0.1",): 0.0 for kind in ("divergence", "confidence") for of in ("", " by class")
        }
        found = result("filter", levels | {("divergence 0.0",): 0.0})
        for row in runner.rows(found):
            row["miou"] = noise.normal(0.5, 0.05)
        claims = checked({"filter": found})
        shown += any(claim.verdict in (HOLDS, FAILS) for claim in claims)
        uncorrected += any(claim.p_value < 0.05 for claim in claims)
        assert all(c.verdict == UNDECIDED or c.p_corrected < 0.05 or c.detectable < 0.05 for c in claims)
        assert all(claim.p_corrected >= claim.p_value for claim in claims)
    assert shown <= 20 and shown < uncorrected


def test_the_shipped_verdicts_are_those_of_the_shipped_results(tmp_path):
    """So that no verdict is written by hand; a result in the folder takes the place of the shipped one."""
    profile = load_profile("pocket")
    summary = summarise(profile, tmp_path)
    assert summary == profile.shipped.read_json("experiments/claims.json")
    assert sum(summary[key] for key in ("holds", "fails", "equivalent", "undecided")) == summary["claims"]
    assert len(summary["rows"]) == summary["claims"] >= 20
