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


def teaser(material: Material) -> Figure:
    """Two synthetic images of every class with their labels."""
    classes = range(len(material.profile.classes))
    chosen = [material.biggan_sim.of(k, 2) for k in classes]
    images = np.concatenate([[c.images[i] for c in chosen] for i in range(2)])
    masks = np.concatenate([[c.masks[i] for c in chosen] for i in range(2)])
    return labelled(images, masks, len(chosen))


def layout(material: Material) -> Figure:
    """Mean masks and centres of mass of each class: of the labels, of both synthetic sets, of real ones."""
    rows = {
        "Synthetic-\nannotated": material.annotated,
        "BigGAN-sim": material.biggan_sim,
        "VQGAN-sim": material.vqgan_sim,
        "Real-\nannotated": material.real,
    }
    return mean_layout({name: (p.masks, p.class_ids) for name, p in rows.items()}, material.profile.classes)


def shapes(material: Material, clusters: int = 5) -> Figure:
    """The mean shapes of each class in BigGAN-sim, the commonest first."""
    names = material.profile.classes
    figure, panels = plt.subplots(clusters, len(names), figsize=(0.85 * len(names), 0.85 * clusters + 0.3))
    for class_id, (column, name) in enumerate(zip(panels.T, names, strict=True)):
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
    own = np.array([mask.max() for mask in test.masks])  # the class of an image, plus one
    chosen = [np.flatnonzero(own == k + 1)[3] for k in range(len(material.profile.classes))]
    pictures = list(test.images[chosen])
    for masks in (found, test.masks):
        pictures += [overlay(test.images[i], masks[i].astype(np.uint8), 0.7) for i in chosen]
    return sheet(pictures, len(chosen), rows=("image", "prediction", "truth"))
