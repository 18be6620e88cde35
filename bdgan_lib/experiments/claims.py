"""The paper's claims of what synthetic data is worth, each with a verdict from the experiment that checks it.

How a verdict is reached stands in docs/protocol.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.core.model_files import write_json
from bdgan_lib.experiments.runner import Scores, averaged, earlier_result, rows, scores, shipped_result
from bdgan_lib.metrics.statistics import LEVEL, Difference, crossing, difference, holm
from bdgan_lib.profiles import Profile

Result = Mapping[str, Any]
Row = dict[str, str]
MARGIN = 0.01  # mIoU or AP; a difference shown to be smaller is as good as none
HOLDS, FAILS, EQUIVALENT, UNDECIDED = "holds", "does not hold", "equivalent", "undecided"
RISES = (
    (250, 2_000),
    (2_000, 30_000),
)  # sizes of synthetic sets that are compared; paper: 22 and 220 per class
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


@dataclass(frozen=True)
class Claim:
    """One claim of the paper and what was measured."""

    text: str
    experiment: str
    differences: Mapping[str, Difference]  # by what they are of; each of them must be positive
    note: str = ""
    p_corrected: float = 1.0  # over all claims: see `checked`

    @property
    def p_value(self) -> float:
        """Of the direction that the differences have.

        All positive: the largest p-value, since each must be shown. Otherwise the smallest p-value of the
        negative ones, times the number of differences.
        """
        negative = [d.p_value for d in self.differences.values() if d.mean <= 0]
        if negative:
            return min(1.0, len(self.differences) * min(negative))
        return max(d.p_value for d in self.differences.values())

    @property
    def verdict(self) -> str:
        """HOLDS, FAILS (the opposite is shown), EQUIVALENT (less than MARGIN either way) or UNDECIDED."""
        differences = self.differences.values()
        if self.p_corrected < LEVEL:
            return HOLDS if all(d.mean > 0 for d in differences) else FAILS
        if any(d.within(MARGIN) for d in differences):
            return EQUIVALENT if len(differences) == 1 else FAILS
        return UNDECIDED

    @property
    def detectable(self) -> float:
        """The smallest true difference that the seeds would have shown in 80 of 100 repetitions."""
        return max(d.detectable for d in self.differences.values())

    @property
    def measured(self) -> str:
        """The differences as a sentence's part: all of a few, the ends of many."""
        if len(self.differences) == 1:
            return self.note + str(next(iter(self.differences.values())))
        if len(self.differences) <= 2:
            return self.note + "; ".join(f"{name} {d}" for name, d in self.differences.items())
        least, most = (pick(self.differences, key=lambda k: self.differences[k].mean) for pick in (min, max))
        sure = sum(d.low > 0 for d in self.differences.values())
        ends = f"least {least} {self.differences[least]}, most {most} {self.differences[most]}"
        return f"{self.note}{sure} of {len(self.differences)}; {ends}"

    def record(self) -> dict[str, Any]:
        """As `claims.json` has it."""
        return {
            "claim": self.text,
            "experiment": self.experiment,
            "differences": {
                name: {
                    "mean": round(d.mean, 5), "interval": [round(d.low, 5), round(d.high, 5)],
                    "p": round(d.p_value, 6), "detectable": round(d.detectable, 5), "seeds": d.freedom + 1,
                }
                for name, d in self.differences.items()
            },
            "p_corrected": round(self.p_corrected, 6),
            "detectable": round(self.detectable, 5),
            "verdict": self.verdict,
        }  # fmt: skip


def checked(results: Mapping[str, Result]) -> list[Claim]:
    """Every claim that these results check, with p-values corrected over all of them (Holm).

    results: by experiment name; claims of missing ones are left out.
    """
    makers = {
        "table2": _lifts, "set-size": _sizes, "online": _online, "backbone": _backbones,
        "filter": _filters, "transfer": _branch,
    }  # fmt: skip
    claims = [claim for name, maker in makers.items() if name in results for claim in maker(results[name])]
    corrected = holm([claim.p_value for claim in claims])
    return [replace(claim, p_corrected=p) for claim, p in zip(claims, corrected, strict=True)]


def check_claims(results: Mapping[str, Result]) -> list[Row]:
    """The claims of `checked` as rows of a table."""
    return [
        {
            "the paper's claim": claim.text,
            "here (95% interval over seeds)": claim.measured,
            "corrected p": f"{claim.p_corrected:.3f}" if claim.p_corrected >= 0.001 else "< 0.001",
            "detectable": f"{claim.detectable:.3f}",
            "verdict": claim.verdict,
        }
        for claim in checked(results)
    ]


def summarise(profile: Profile, folder: Path) -> dict[str, Any]:
    """Check every claim on the results in `folder`, or those that ship, and write `claims.json` there."""
    names = ("table2", "set-size", "online", "backbone", "filter", "transfer")
    claims = checked({n: earlier_result(folder / f"{n}.json") or shipped_result(profile, n) for n in names})
    count = {
        key: sum(claim.verdict == verdict for claim in claims)
        for key, verdict in (
            ("holds", HOLDS),
            ("fails", FAILS),
            ("equivalent", EQUIVALENT),
            ("undecided", UNDECIDED),
        )
    }
    summary = {
        "margin": MARGIN,
        "level": LEVEL,
        "claims": len(claims),
        **count,
        "rows": [c.record() for c in claims],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "claims.json", summary)
    return summary


def _lifts(table2: Result) -> list[Claim]:
    return [
        Claim(f"{added[2:]} lifts every initialisation", "table2", gains(table2, added))
        for added in ("+ BigGAN-sim", "+ VQGAN-sim")
    ]


def _sizes(set_size: Result) -> list[Claim]:
    sizes, by_set = size_curve(set_size)
    labels = by_set["Synthetic-annotated",]
    met = crossing(sizes, [by_set[str(n),].mean() for n in sizes], labels.mean())
    gain = {"at the end": difference(by_set[str(sizes[-1]),], labels)}
    where = f"from {met:,.0f} images on; at the end " if met else "at no size; at the end "
    beats = Claim("a large synthetic set beats the labels it came from", "set-size", gain, where)
    rises = [
        Claim(
            f"more synthetic data keeps helping: {low:,} → {high:,}",
            "set-size",
            {"": difference(by_set[str(high),], by_set[str(low),])},
        )
        for low, high in RISES
    ]
    return [beats, *rises]


def _online(online: Result) -> list[Claim]:
    by_set = averaged(scores(online))
    return [
        Claim(
            f"fresh images in every step beat {int(name.split()[1]):,} stored ones",
            "online",
            {name: difference(by_set["online",], runs)},
        )
        for (name,), runs in by_set.items()
        if name != "online"
    ]


def _backbones(backbone: Result) -> list[Claim]:
    by_backbone = averaged(scores(backbone))
    sizes = list(dict.fromkeys(size for size, _ in by_backbone))
    added = [by_backbone[size, "+ BigGAN-sim"] - by_backbone[size, "Synthetic-annotated"] for size in sizes]
    gained = ", ".join(f"{s} {g.mean():+.3f}" for s, g in zip(sizes, added, strict=True))
    more = {"largest less smallest": difference(added[-1], added[0])}
    return [Claim("larger backbones gain more", "backbone", more, f"gains {gained}; largest less smallest ")]


def _filters(filtering: Result) -> list[Claim]:
    by_filter = averaged(scores(filtering))
    without = by_filter["divergence 0.0",]
    claims = []
    values = {
        "divergence": "with the highest ensemble disagreement",
        "confidence": "with the lowest classifier confidence",
    }
    for kind, which in values.items():
        for of, name in (("of all classes", kind), ("of each class", f"{kind} by class")):
            gain = {name: difference(by_filter[f"{name} 0.1",], without)}
            claims.append(Claim(f"dropping the 10% {of} {which} helps", "filter", gain))
    return claims


def _branch(transfer: Result) -> list[Claim]:
    differences = branch_gains(transfer)
    claims = [
        Claim(f"a segmentation branch helps: {what}", "transfer", {world: differences[world]})
        for world, (_, what) in WORLDS.items()
    ]
    for who, inits in (("the branch", BRANCHED), ("the branch alone, over a fresh start,", ("random",))):
        more = {"1% less 100%": _few_labels(scores(transfer), inits)}
        claims.append(Claim(f"{who} helps most with few labels (1% less 100%)", "transfer", more))
    return claims


def _few_labels(runs: Scores, inits: Sequence[str]) -> Difference:
    """What a branch adds to chests with 1% of the labels, less what it adds with all."""
    gains = [
        np.mean([runs[f"{i} + branch", f"chest {s}%"] - runs[i, f"chest {s}%"] for i in inits], 0)
        for s in (1, 100)
    ]
    return difference(*gains)
