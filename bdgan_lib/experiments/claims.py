"""The paper's claims of what synthetic data is worth, each against the experiment that checks it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bdgan_lib.experiments.runner import Scores, averaged, rows, scores
from bdgan_lib.metrics.statistics import Difference, crossing, difference

Result = Mapping[str, Any]
Row = dict[str, str]
WORLDS = {  # world -> (metric, what it stands in for)
    "scenes": ("ap_box", "detection AP, scenes"),
    "scenes, instances": ("ap_mask", "instance AP, scenes"),
    "street": ("miou", "mIoU, street"),
    **{f"chest {share}%": ("miou", f"mIoU, chest, {share}% of labels") for share in (1, 5, 10, 100)},
}
PLACES = {"scenes, instances": "scenes"}  # the pictures, where a world is named after what is scored
BRANCHED = ("simclr", "moco-v2", "densecl")  # self-supervised learners with and without a branch


def gains(table2: Result, added: str) -> dict[str, Difference]:
    """Of each initialisation, what a synthetic set adds to its mean mIoU over the tasks."""
    by_set, without = averaged(scores(table2)), "Synthetic-annotated"
    return {
        init: difference(runs, by_set[init, without])
        for (init, name), runs in by_set.items()
        if name == added
    }


def size_curve(set_size: Result) -> tuple[list[int], Scores]:
    """The sizes of synthetic sets, and mean mIoU over the tasks of these and of what they stand beside."""
    sources = [source for row in rows(set_size) for source in row["train"]]
    return sorted({s["images"] for s in sources if s["kind"] == "pool"}), averaged(scores(set_size))


def branch_gains(transfer: Result, init: str | None = None) -> dict[str, Difference]:
    """What a segmentation branch adds on each of WORLDS: to one initialisation, or to BRANCHED on average."""
    differences = {}
    for world, (metric, _) in WORLDS.items():
        runs = scores(transfer, metric)
        inits = (init,) if init else BRANCHED
        more, less = (
            np.mean([runs[name + suffix, PLACES.get(world, world)] for name in inits], 0)
            for suffix in (" + branch", "")
        )
        differences[world] = difference(more, less)
    return differences


def check_claims(results: Mapping[str, Result]) -> list[Row]:
    """Each claim with what was measured. results: by experiment name; claims of missing ones are left out."""
    makers = {
        "table2": _lifts, "set-size": _sizes, "online": _online, "backbone": _backbones,
        "filter": _filters, "transfer": _branch,
    }  # fmt: skip
    return [row for name, maker in makers.items() if name in results for row in maker(results[name])]


def _row(claim: str, here: str, holds: str) -> Row:
    return {"the paper's claim": claim, "here (95% interval over seeds)": here, "holds here": holds}


def _lifts(table2: Result) -> list[Row]:
    rows = []
    for added in ("+ BigGAN-sim", "+ VQGAN-sim"):
        differences = gains(table2, added)
        sure = sum(g.verdict == "yes" for g in differences.values())
        least, most = (pick(differences, key=lambda init: differences[init].mean) for pick in (min, max))
        ends = f"least {least} {differences[least]}, most {most} {differences[most]}"
        here = f"{sure} of {len(differences)}; {ends}"
        rows.append(_row(f"{added[2:]} lifts every initialisation", here, _all(list(differences.values()))))
    return rows


def _sizes(set_size: Result) -> list[Row]:
    sizes, by_set = size_curve(set_size)
    labels = by_set["Synthetic-annotated",]
    met = crossing(sizes, [by_set[str(n),].mean() for n in sizes], labels.mean())
    gain = difference(by_set[str(sizes[-1]),], labels)
    where = f"from {met:,.0f} images on" if met else "at no size"
    beats = _row(
        "a large synthetic set beats the labels it came from", f"{where}; at the end {gain}", gain.verdict
    )
    steps = [sizes[len(sizes) // 3], sizes[2 * len(sizes) // 3], sizes[-1]]  # the paper's 22 to 220 per class
    rises = {
        f"{low:,} → {high:,}": difference(by_set[str(high),], by_set[str(low),])
        for low, high in pairwise(steps)
    }
    return [
        beats,
        *(_row(f"more synthetic data keeps helping: {step}", str(d), d.verdict) for step, d in rises.items()),
    ]


def _online(online: Result) -> list[Row]:
    by_set = averaged(scores(online))
    apart = {name: difference(by_set["online",], by_set[name,]) for (name,) in by_set if name != "online"}
    here = "; ".join(f"against {name} {d}" for name, d in apart.items())
    return [_row("fresh images in every step beat stored ones", here, _all(list(apart.values())))]


def _backbones(backbone: Result) -> list[Row]:
    by_backbone = averaged(scores(backbone))
    sizes = list(dict.fromkeys(size for size, _ in by_backbone))
    added = [by_backbone[size, "+ BigGAN-sim"] - by_backbone[size, "Synthetic-annotated"] for size in sizes]
    more = difference(added[-1], added[0])
    here = ", ".join(f"{s} {g.mean():+.3f}" for s, g in zip(sizes, added, strict=True))
    return [_row("larger backbones gain more", f"gains {here}; largest less smallest {more}", more.verdict)]


def _filters(filtering: Result) -> list[Row]:
    by_filter = averaged(scores(filtering))
    without = by_filter["divergence 0.0",]
    rows = []
    for kind, claim in (("divergence", "the ensemble disputes"), ("confidence", "the classifier doubts")):
        for of, name in (("of all classes", kind), ("of each class", f"{kind} by class")):
            gain = difference(by_filter[f"{name} 0.1",], without)
            rows.append(_row(f"dropping the 10% {of} that {claim} helps", str(gain), gain.verdict))
    return rows


def _branch(transfer: Result) -> list[Row]:
    differences = branch_gains(transfer)
    rows = [
        _row(f"a segmentation branch helps: {what}", str(differences[world]), differences[world].verdict)
        for world, (_, what) in WORLDS.items()
    ]
    for who, inits in (("the branch", BRANCHED), ("the branch alone, over a fresh start,", ("random",))):
        more = _few_labels(scores(transfer), inits)
        rows.append(_row(f"{who} helps most with few labels (1% less 100%)", str(more), more.verdict))
    return rows


def _few_labels(runs: Scores, inits: Sequence[str]) -> Difference:
    """What a branch adds to chests with 1% of the labels, less what it adds with all."""
    gains = [
        np.mean([runs[f"{i} + branch", f"chest {s}%"] - runs[i, f"chest {s}%"] for i in inits], 0)
        for s in (1, 100)
    ]
    return difference(*gains)


def _all(differences: Sequence[Difference]) -> str:
    verdicts = {d.verdict for d in differences}
    return verdicts.pop() if len(verdicts) == 1 else "in part" if "yes" in verdicts else "not shown"
