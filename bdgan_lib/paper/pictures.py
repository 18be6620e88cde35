"""Figures of images and masks."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bdgan_lib.analysis.shapes import mean_shapes
from bdgan_lib.downstream.metrics import mean_iou
from bdgan_lib.figures.plots import mean_layout
from bdgan_lib.figures.sheets import best_and_worst, labelled, sheet
from bdgan_lib.images import overlay
from bdgan_lib.paper.material import Material
from bdgan_lib.profiles import dozen
from bdgan_lib.types import UNLABELLED


def teaser(material: Material) -> Figure:
    """Two synthetic images of each class with their labels."""
    chosen = [material.biggan_sim.of(k, 2) for k in material.profile.shown]
    images = np.concatenate([[c.images[i] for c in chosen] for i in range(2)])
    masks = np.concatenate([[c.masks[i] for c in chosen] for i in range(2)])
    return labelled(images, masks, len(chosen))


def layout(material: Material) -> Figure:
    """Mean masks and centres of mass of each class: of the labels, of both synthetic sets, of real ones.

    A row for every set that the profile has.
    """
    rows = {"Synthetic-\nannotated": material.annotated, "BigGAN-sim": material.biggan_sim}
    if material.has_second:
        rows["VQGAN-sim"] = material.vqgan_sim
    if material.profile.exact:
        rows["Real-\nannotated"] = material.real
    return mean_layout({name: (p.masks, p.class_ids) for name, p in rows.items()}, material.profile.shown)


def shapes(material: Material, clusters: int = 5) -> Figure:
    """The mean shapes of each class in BigGAN-sim, the commonest first."""
    names = material.profile.shown
    figure, panels = plt.subplots(clusters, len(names), figsize=(0.85 * len(names), 0.85 * clusters + 0.3))
    for column, (class_id, name) in zip(panels.T, names.items(), strict=True):
        means, sizes = mean_shapes(material.biggan_sim.of(class_id).masks, clusters)
        for axes, mean, size in zip(column, means, sizes, strict=True):
            axes.imshow(mean, cmap="cividis", vmin=0, vmax=1)
            axes.text(2, 2, f"{size / sizes.sum():.0%}", color="white", fontsize=6, va="top")
        column[0].set_title(name.replace("_", " "), fontsize=8)
    for axes in panels.flat:
        axes.axis("off")
    figure.tight_layout(pad=0.3)
    return figure


def predictions(material: Material) -> Figure:
    """Test images whose foreground the network finds best and worst."""
    found, test = material.predictions, material.test
    scores = [mean_iou(f > 0, w > 0, 2) for f, w in zip(found, test.masks, strict=True)]
    return best_and_worst(test.images, found, test.masks.astype(np.uint8), np.array(scores))


def qualitative(material: Material) -> Figure:
    """A test image of every class, the network's labels and the true ones; a colour for each class."""
    found, test = material.predictions, material.test
    own = np.where(test.masks == UNLABELLED, 0, test.masks).max((1, 2))  # the label of an image's class
    chosen = [np.flatnonzero(own == label)[:4][-1] for label in dozen(np.unique(own[own > 0]).tolist())]
    pictures = list(test.images[chosen])
    for masks in (found, test.masks):
        pictures += [overlay(test.images[i], masks[i].astype(np.uint8), 0.7) for i in chosen]
    return sheet(pictures, len(chosen), rows=("image", "prediction", "truth"))
