"""Tables from stored results, as rows that print in Markdown, HTML and figures alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bdgan_lib.experiments.analysis import SETS
from bdgan_lib.experiments.claims import PLACES, WORLDS, gains, size_curve
from bdgan_lib.experiments.runner import averaged, rows, scores
from bdgan_lib.metrics.statistics import crossing, difference, spread

Result = Mapping[str, Any]
Row = dict[str, object]
# Published (Li et al., CVPR 2022: ImageNet, ResNet-50, real photographs); shown beside ours
PAPER_TABLE2 = {"moco-v3": "52.5 → 62.7 (+ VQGAN-sim)", "supcon": "55.9 → 61.6 (+ BigGAN-sim)"}
PAPER_ONLINE = {"online": "60.4", "offline 400": "59.0"}  # its Table 8 corrects one of these numbers
PAPER_STATISTICS = {
    "BigGAN-sim": {"IN": "1.33", "FID": "19.45", "KID": "3.47"},
    "VQGAN-sim": {"IN": "1.52", "FID": "21.21", "KID": "11.10"},
}
DIGITS = {"IN": 2, "MI": 3, "BI": 3, "MB": 3, "PL": 2, "SC": 1, "SD": 4}  # after the point
DIGITS |= {"FID": 2, "KID": 3, "mask FID": 3, "coverage": 3}


def statistics(result: Result) -> list[Row]:
    """Table 1: statistics of each set's masks, and its distance to real images in classifier features."""
    table: list[Row] = []
    for name in SETS:
        row: Row = {"set": name}
        for column, digits in DIGITS.items():
            runs = [cell[column] for cell in rows(result, set=name) if column in cell]
            published = PAPER_STATISTICS.get(name, {}).get(column)
            row[column] = f"{np.mean(runs):.{digits}f}" if runs else "–"
            if published:
                row[column] = f"{row[column]}\n(paper {published})"
        table.append(row)
    return table


def table2(result: Result) -> list[Row]:
    """Table 2: every initialisation, mean over the tasks, without and with a synthetic set."""
    by_set = averaged(scores(result))
    more = {added: gains(result, added) for added in ("+ BigGAN-sim", "+ VQGAN-sim")}
    return [
        {
            "initialisation": init,
            "annotated alone": spread(by_set[init, "Synthetic-annotated"]),
            "+ BigGAN-sim": spread(by_set[init, "+ BigGAN-sim"]),
            "gain ": more["+ BigGAN-sim"][init],
            "+ VQGAN-sim": spread(by_set[init, "+ VQGAN-sim"]),
            "gain": more["+ VQGAN-sim"][init],
            "paper": PAPER_TABLE2.get(init, ""),
        }
        for init in more["+ BigGAN-sim"]
    ]


def by_task(result: Result) -> list[Row]:
    """Table 2 task by task: annotated alone → with BigGAN-sim."""
    by_task_and_set = scores(result)
    rows: dict[str, Row] = {init: {"initialisation": init} for init, *_ in by_task_and_set}
    for init, name, task in by_task_and_set:
        if name == "+ BigGAN-sim":
            both = (by_task_and_set[init, s, task].mean() for s in ("Synthetic-annotated", name))
            rows[init][task] = " → ".join(f"{mean:.3f}" for mean in both)
    return list(rows.values())


def backbones(result: Result) -> list[Row]:
    """Table 7: the gain from a synthetic set for networks of three sizes."""
    by_backbone = averaged(scores(result))
    return [
        {
            "backbone": size,
            "annotated alone": spread(by_backbone[size, "Synthetic-annotated"]),
            "+ BigGAN-sim": spread(runs),
            "gain": difference(runs, by_backbone[size, "Synthetic-annotated"]),
        }
        for (size, name), runs in by_backbone.items()
        if name == "+ BigGAN-sim"
    ]


def filters(result: Result) -> list[Row]:
    """Every filter and truncation, and its difference to the unfiltered set."""
    by_filter = averaged(scores(result))
    base = by_filter["divergence 0.0",]
    return [
        {"images": name, "mIoU": spread(runs), "less unfiltered": difference(runs, base)}
        for (name,), runs in by_filter.items()
    ]


def online(result: Result) -> list[Row]:
    """Table 8: stored images against new ones in every step."""
    by_set = averaged(scores(result))
    return [
        {
            "images": name,
            "mIoU": spread(runs),
            "online less this": "" if name == "online" else difference(by_set["online",], runs),
            "paper": PAPER_ONLINE.get(name, ""),
        }
        for (name,), runs in by_set.items()
    ]


def transfer(result: Result, worlds: list[str]) -> list[Row]:
    """Tables 3 to 6: each initialisation, fine-tuned on worlds (keys of WORLDS)."""
    metrics = {metric: scores(result, metric) for metric in {WORLDS[world][0] for world in worlds}}
    rows: dict[str, Row] = {init: {"start": init} for init, _ in scores(result)}
    for world in worlds:
        metric, what = WORLDS[world]
        for init, row in rows.items():
            row[what] = spread(metrics[metric][init, PLACES.get(world, world)])
    return list(rows.values())


def published(results: Mapping[str, Result]) -> list[Row]:
    """The paper's results beside ours; the data differ, so only the direction of effects compares."""
    table = gains(results["table2"], "+ BigGAN-sim"), gains(results["table2"], "+ VQGAN-sim")
    sizes, curve = size_curve(results["set-size"])
    labels = curve["Synthetic-annotated",].mean()
    met = crossing(sizes, [curve[str(n),].mean() for n in sizes], labels)
    late = difference(curve[str(sizes[-1]),], curve[str(sizes[0]),])
    online_scores = averaged(scores(results["online"]))
    gain = difference(online_scores["online",], online_scores["offline 400",])
    stats = {row["set"]: row for row in statistics(results["analysis"])}
    ours = lambda name, column: str(stats[name][column]).split("\n")[0]
    return [
        {"what": what, "paper (ImageNet)": paper, "here (pocket world)": here}
        for what, paper, here in (
            ("FID of BigGAN-sim; of VQGAN-sim", "19.45; 21.21 (Inception)",
             f"{ours('BigGAN-sim', 'FID')}; {ours('VQGAN-sim', 'FID')} (the pocket classifier)"),
            ("KID of BigGAN-sim; of VQGAN-sim", "3.47; 11.10 (Inception)",
             f"{ours('BigGAN-sim', 'KID')}; {ours('VQGAN-sim', 'KID')} (the pocket classifier)"),
            ("instances per image", "1.33; 1.52", f"{ours('BigGAN-sim', 'IN')}; {ours('VQGAN-sim', 'IN')}"),
            ("mean mIoU, SupCon → + BigGAN-sim", "55.9 → 61.6", str(table[0]["supcon"])),
            ("mean mIoU, MoCo-v3 → + VQGAN-sim", "52.5 → 62.7", str(table[1]["moco-v3"])),
            ("synthetic images that beat the annotated ones", "22,000 beat 2,000",
             f"{met:,.0f} reach 60" if met else "none"),
            ("ten times more of them (here more)", "about +7 points",
             f"{late} from {sizes[0]:,} to {sizes[-1]:,}"),
            ("offline → online", "59.0 → 60.4", str(gain)),
        )
    ]  # fmt: skip
