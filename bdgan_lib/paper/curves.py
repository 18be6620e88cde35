"""Curves over what was varied, from stored results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bdgan_lib.downstream.transfer.detect import DetectConfig
from bdgan_lib.experiments.claims import gains, size_curve
from bdgan_lib.experiments.runner import averaged, rows, scores
from bdgan_lib.experiments.transfer import EVALUATION_STEPS
from bdgan_lib.metrics.statistics import crossing
from bdgan_lib.visualization.plots import ORANGE, dots, lines

Result = Mapping[str, Any]
METRIC = "mIoU, mean of FG/BG and MC-all"
CONVERGING = ("random", "supervised", "simclr", "simclr + branch", "random + branch")


def set_size(result: Result) -> Figure:
    """Plots mIoU against the number of synthetic images, and where it reaches the annotated level."""
    sizes, by_set = size_curve(result)
    runs = np.array([by_set[str(n),] for n in sizes]).T
    levels = {"60 annotated samples": by_set["Synthetic-annotated",].mean()}
    for (name,), exact in by_set.items():
        if name.startswith("rendered "):
            levels[f"{int(name.split()[1]):,} rendered, exact"] = exact.mean()
    figure = lines({"BigGAN-sim": runs}, sizes, "synthetic images", METRIC, levels, log=True)
    met = crossing(sizes, runs.mean(0), levels["60 annotated samples"])
    if met and met > sizes[0]:
        axes = figure.axes[0]
        axes.axvline(met, color=ORANGE, linewidth=0.8)
        axes.annotate(f" crosses at {met:,.0f}", (met, runs.min()), color=ORANGE, fontsize=9)
    return figure


def backbone(result: Result) -> Figure:
    """Plots the mIoU of three network sizes without and with a synthetic set."""
    by_backbone = averaged(scores(result))
    groups: dict[str, dict[str, list[float]]] = {}
    for (size, name), runs in by_backbone.items():
        groups.setdefault(size, {})[name] = list(runs)
    return dots(groups, METRIC, "")


def initialisations(result: Result) -> Figure:
    """Plots the mIoU of each initialisation without and with either synthetic set."""
    by_set, inits = averaged(scores(result)), gains(result, "+ BigGAN-sim")
    names = ("Synthetic-annotated", "+ BigGAN-sim", "+ VQGAN-sim")
    return dots({i: {n: list(by_set[i, n]) for n in names} for i in inits}, "mIoU, mean over five tasks", "")


def convergence(result: Result) -> Figure:
    """Plots box AP on scenes during training, for several initialisations."""
    end = {init: runs for (init, world), runs in scores(result, "ap_box").items() if world == "scenes"}
    on_the_way = [scores(result, f"ap_box after {step}") for step in EVALUATION_STEPS]
    runs = {i: np.array([*(at_step[i, "scenes"] for at_step in on_the_way), end[i]]).T for i in CONVERGING}
    return lines(runs, [*EVALUATION_STEPS, DetectConfig().steps], "steps of 8 images", "box AP on scenes")


def chest(result: Result) -> Figure:
    """Plots mIoU on chests with a frozen backbone, against the share of labels."""
    by_share, shares = scores(result), (1, 5, 10, 100)
    runs = {i: np.array([by_share[i, f"chest {s}%"] for s in shares]).T for i in CONVERGING}
    return lines(runs, shares, "% of labels", "mIoU on chests", log=True)


def filters(result: Result) -> Figure:
    """Plots mIoU against the share that a filter drops, at the same number of images."""
    by_filter, shares = averaged(scores(result)), (0.1, 0.3, 0.5)
    start, runs = by_filter["divergence 0.0",], dict[str, Any]()
    for score, name in (("disagreement", "divergence"), ("confidence", "confidence")):
        for how, suffix in (("one threshold", ""), ("one per class", " by class")):
            points = [start, *(by_filter[f"{name}{suffix} {s}",] for s in shares)]
            runs[f"{score}, {how}"] = np.array(points).T
    return lines(runs, (0.0, *shares), "share dropped", METRIC)


def labels_per_class(result: Result) -> Figure:
    """Plots mIoU against the number of labels per class that the label head is trained on."""
    runs = np.array(list(averaged(scores(result)).values())).T
    counts = dict.fromkeys(row["train"][0]["labels_per_class"] for row in rows(result))
    return lines({"BigGAN-sim": runs}, list(counts), "labels per class", METRIC)
