"""Curves, bars and mean layouts."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bdgan_lib.metrics.mask_geometry import centres

INK, BLUE, ORANGE, GREY = "#222222", "#0072B2", "#D55E00", "#999999"  # colour-blind-safe (Okabe and Ito)
LINES = (GREY, ORANGE, BLUE, INK, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def curves(
    values: Mapping[str, Sequence[float]], x: Sequence[float], xlabel: str, title: str, log: bool = False
) -> Figure:
    """One panel per named curve, over a common x; `log` makes y logarithmic."""
    figure, panels = plt.subplots(1, len(values), figsize=(3.2 * len(values), 2.4), squeeze=False)
    for axes, (name, y) in zip(panels[0], values.items(), strict=True):
        axes.plot(x, y, color=BLUE, linewidth=1)
        axes.set(xlabel=xlabel, title=name, yscale="log" if log else "linear")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    return figure


def bars(scores: Mapping[str, Sequence[float]], xlabel: str, title: str, start: float = 0.0) -> Figure:
    """Horizontal bars of mean scores with the spread over seeds, from `start` on; every seed is a dot."""
    names = list(scores)
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(names) + 1))
    spread = [stdev(s) if len(s) > 1 else 0 for s in scores.values()]
    axes.barh(names, [mean(s) for s in scores.values()], xerr=spread, color=BLUE, alpha=0.75, height=0.6)
    for row, values in enumerate(scores.values()):
        axes.plot(values, [row] * len(values), "o", color=INK, markersize=3)
        text, end = f"{mean(values):.3f}", (max(values), row)
        axes.annotate(text, end, (7, 0), textcoords="offset points", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(left=start)
    axes.set(xlabel=xlabel, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def lines(
    values: Mapping[str, ArrayLike],
    x: Sequence[float],
    xlabel: str,
    title: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> Figure:
    """Named lines in one panel: the mean over seeds ([seeds][len(x)]), with a band from minimum to maximum.

    Args:
        values: runs by name of the line.
        x: where the values were measured.
        xlabel: of the x axis.
        title: of the figure.
        levels: named heights to compare with, as dashed lines.
        log: whether x has a logarithmic axis.
    """
    figure, axes = plt.subplots(figsize=(5.5, 3))
    for (name, runs), color in zip(values.items(), cycle(LINES), strict=False):
        y = np.array(runs)
        axes.plot(x, y.mean(0), "o-", color=color, label=name, markersize=3, linewidth=1)
        axes.fill_between(x, y.min(0), y.max(0), color=color, alpha=0.15, linewidth=0)
    for (name, level), style in zip((levels or {}).items(), cycle(("--", ":", "-.")), strict=False):
        axes.axhline(level, color=INK, linestyle=style, linewidth=0.8, label=name)
    axes.set(xlabel=xlabel, title=title, xscale="log" if log else "linear")
    axes.legend(framealpha=0.9, edgecolor="none", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def dots(scores: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, title: str) -> Figure:
    """A row for each name, with the scores of every group: a small dot per seed, a large one for the mean."""
    figure, axes = plt.subplots(figsize=(7, 0.34 * len(scores) + 1.2))
    for row, groups in enumerate(scores.values()):
        means = [mean(runs) for runs in groups.values()]
        axes.plot([min(means), max(means)], [row, row], color=GREY, linewidth=1, zorder=1)
        for (group, runs), color in zip(groups.items(), cycle(LINES), strict=False):
            axes.plot(runs, [row] * len(runs), ".", color=color, markersize=4, alpha=0.6)
            axes.plot(mean(runs), row, "o", color=color, markersize=7, label=None if row else group)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    axes.set_title(title, pad=22)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def matrix(values: NDArray[np.floating], rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """Values in [0, 1], [rows, columns], as shades with their two decimals; the largest is the lightest."""
    figure, axes = plt.subplots(figsize=(0.36 * len(columns) + 1.2, 0.34 * len(rows) + 1.2))
    most = max(float(np.nanmax(values)), 1e-6)
    axes.imshow(values, cmap="cividis", vmin=0, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if value > 0.6 * most else "white"
        axes.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=8)
    axes.set_title(title, fontsize=10)
    axes.spines[:].set_visible(False)
    figure.tight_layout()
    return figure


def mean_layout(
    sets: Mapping[str, tuple[NDArray[np.integer], NDArray[np.integer]]], names: Mapping[int, str]
) -> Figure:
    """How often each pixel is foreground, with the centres of mass: a row per set, a column per class.

    Args:
        sets: masks [N, H, W] and class ids [N] by name.
        names: of the classes to show, by id.
    """
    size = (0.9 * len(names) + 0.6, 0.9 * len(sets) + 0.3)
    figure, panels = plt.subplots(len(sets), len(names), figsize=size, squeeze=False)
    for row, (what, (masks, class_ids)) in zip(panels, sets.items(), strict=True):
        for axes, class_id in zip(row, names, strict=True):
            of_class = masks[class_ids == class_id]
            axes.imshow((of_class > 0).mean(0), cmap="cividis", vmin=0, vmax=1)
            axes.plot(*(centres(of_class) - 0.5).T, ".", color=ORANGE, markersize=1.5)
            axes.set(xticks=[], yticks=[], ylabel=what if axes is row[0] else "")
            axes.spines[:].set_visible(False)
    for axes, name in zip(panels[0], names.values(), strict=True):
        axes.set_title(name.replace("_", " "), fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure
