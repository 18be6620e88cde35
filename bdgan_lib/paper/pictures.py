"""Figures of images and masks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bdgan_lib.core.types import UNLABELLED
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.metrics.shape_diversity import mean_shapes
from bdgan_lib.paper.figure_data import FigureData
from bdgan_lib.profiles.annotated import shown_classes
from bdgan_lib.visualization.colors import overlay
from bdgan_lib.visualization.grids import evenly_spaced
from bdgan_lib.visualization.plots import mean_layout
from bdgan_lib.visualization.sheets import best_and_worst, labelled_sheet, sheet


def teaser(data: FigureData) -> Figure:
    """Two synthetic images of each class with their labels."""
    chosen = [data.biggan_sim.of(k, 2) for k in shown_classes(data.profile)]
    images = np.concatenate([[c.images[i] for c in chosen] for i in range(2)])
    masks = np.concatenate([[c.masks[i] for c in chosen] for i in range(2)])
    return labelled_sheet(images, masks, len(chosen))


def layout(data: FigureData) -> Figure:
    """Mean masks and centres of mass of each class, a row per set that the profile has."""
    rows = {"Synthetic-\nannotated": data.annotated, "BigGAN-sim": data.biggan_sim}
    if data.has_second:
        rows["VQGAN-sim"] = data.vqgan_sim
    if data.profile.renderer:
        rows["Real-\nannotated"] = data.real
    masks = {name: (p.masks, p.class_ids) for name, p in rows.items()}
    return mean_layout(masks, shown_classes(data.profile))


def shapes(data: FigureData, clusters: int = 5) -> Figure:
    """Mean shapes of each class in BigGAN-sim, the most frequent first."""
    names = shown_classes(data.profile)
    figure, panels = plt.subplots(clusters, len(names), figsize=(0.85 * len(names), 0.85 * clusters + 0.3))
    for column, (class_id, name) in zip(panels.T, names.items(), strict=True):
        means, sizes = mean_shapes(data.biggan_sim.of(class_id).masks, clusters)
        for axes, mean, size in zip(column, means, sizes, strict=True):
            axes.imshow(mean, cmap="cividis", vmin=0, vmax=1)
            axes.text(2, 2, f"{size / sizes.sum():.0%}", color="white", fontsize=6, va="top")
        column[0].set_title(name.replace("_", " "), fontsize=8)
    for axes in panels.flat:
        axes.axis("off")
    figure.tight_layout(pad=0.3)
    return figure


def predictions(data: FigureData) -> Figure:
    """Test images whose foreground the network segments best and worst."""
    predicted, test = data.predictions, data.test
    scores = [mean_iou(f > 0, w > 0, 2) for f, w in zip(predicted, test.masks, strict=True)]
    return best_and_worst(test.images, predicted, test.masks.astype(np.uint8), np.array(scores))


def qualitative(data: FigureData) -> Figure:
    """A test image of every class with predicted and true labels, in one colour per class."""
    predicted, test = data.predictions, data.test
    class_labels = np.where(test.masks == UNLABELLED, 0, test.masks).max((1, 2))  # one for each image
    shown = evenly_spaced(np.unique(class_labels[class_labels > 0]).tolist())
    chosen = [np.flatnonzero(class_labels == label)[:4][-1] for label in shown]
    pictures = list(test.images[chosen])
    for masks in (predicted, test.masks):
        pictures += [overlay(test.images[i], masks[i].astype(np.uint8), 0.7) for i in chosen]
    return sheet(pictures, len(chosen), rows=("image", "prediction", "truth"))
