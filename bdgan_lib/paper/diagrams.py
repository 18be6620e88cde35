"""Diagrams of the method, with pictures and sizes of the profile."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.downstream.pretraining.views import ViewConfig, draw_views
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.label_head import FastHead
from bdgan_lib.paper.figure_data import FigureData
from bdgan_lib.probing.maps import pca_colours
from bdgan_lib.profiles.annotated import labelled_classes
from bdgan_lib.visualization.colors import colour_mask, overlay
from bdgan_lib.visualization.diagrams import Diagram

PLAIN, LEARNT, FROZEN = "#FFFFFF", "#FBE3D0", "#D6E6F2"  # trained parts are warm, frozen parts cold
SHOWN = 4  # pictures on each side


def overview(data: FigureData) -> Figure:
    """From a generator and five labels per class to a labelled data set and networks trained on it."""
    profile, few, many = data.profile, data.annotated, data.biggan_sim
    ids = np.unique(few.class_ids)
    every = ids[np.linspace(0, len(ids) - 1, SHOWN).astype(int)]
    labelled = [few.of(k, 1) for k in every]
    synthetic = [many.of(k, 1) for k in every]
    class_id, seed = torch.from_numpy(few.class_ids[:1]), torch.tensor([0])
    sample = data.workspace.generator.sample(class_id, seed, profile.sampling)
    sheet = Diagram(10.5, 2.9)
    generator = sheet.box((0.1, 1.6, 1.4, 0.9), "class-conditional\ngenerator\n(frozen)", FROZEN)
    blocks = [_enlarged(pca_colours(b)[0], profile.image_size) for b in list(sample.features.values())[-4:]]
    known = sheet.pictures((2.0, 1.4, 1.3, 1.3), blocks, 2, "features of its blocks")
    head = sheet.box((3.9, 1.6, 1.3, 0.9), "label head\n(learnt)", LEARNT)
    masks = [overlay(c.images[0], c.masks[0]) for c in labelled]
    taught = sheet.pictures((3.1, 0.3, 2.9, 0.8), masks, SHOWN, f"{len(few.images)} images labelled by hand")
    pictures = [c.images[0] for c in synthetic] + [overlay(c.images[0], c.masks[0]) for c in synthetic]
    made = sheet.pictures((5.8, 1.4, 2.6, 1.3), pictures, SHOWN, "endless images with labels")
    network = sheet.box((9.0, 1.6, 1.4, 0.9), "segmentation\nnetworks\n(learnt)", LEARNT)
    for start, end in ((generator, known), (known, head), (head, made), (made, network)):
        sheet.arrow(start, end)
    sheet.arrow(taught, head, way="up")
    return sheet.figure


def _enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return picture.repeat(side // len(picture), 0).repeat(side // len(picture), 1)


def label_head(data: FigureData) -> Figure:
    """The generator blocks that the label head reads, the resolutions of its mix-convs, its output."""
    generator, classes = data.workspace.generator, len(data.profile.classes)
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head = FastHead(HeadConfig(blocks, classes))
    sheet, column, last = Diagram(10.5, 3.6), 0.2, None
    for group, names in head.groups.items():
        side, width = head.mix_sides[group], head.projections[names[0]].out_channels
        sizes = "\n".join(f"{n}: {generator.blocks[n][0]} × {generator.blocks[n][1]}²" for n in names)
        read = sheet.box((column, 2.3, 2.2, 1.1), f"{group}\n{sizes}", FROZEN)
        squeezed = sheet.box((column, 1.45, 2.2, 0.45), f"1 × 1 to {width}, at {side}²", LEARNT)
        mixed = sheet.box((column + 0.3, 0.4, 1.6, 0.6), f"mix-conv\n{side}²", LEARNT)
        sheet.arrow(read, squeezed, way="down")
        sheet.arrow(squeezed, mixed, way="down")
        if last:
            sheet.arrow(last, mixed, "up")
        column, last = column + 2.65, mixed
    assert last is not None
    labels = sheet.box((column, 0.4, 1.6, 0.6), f"labels\n{head.image_side}²", PLAIN)
    sheet.arrow(last, labels)
    chosen = data.biggan_sim.of(labelled_classes(data.profile)[0], 1)
    masks = [chosen.images[0], colour_mask(chosen.masks[0])]
    sheet.pictures((column, 2.35, 2.0, 1.0), masks, 2, "image and labels of one sample")
    return sheet.figure


def branch(data: FigureData) -> Figure:
    """Self-supervised learning on unlabelled images, with a segmentation branch on synthetic ones."""
    ids = labelled_classes(data.profile)
    annotated = data.real.of(ids[0], 1) if data.profile.renderer else data.annotated
    made = data.biggan_sim.of(ids[:2][-1], 2)
    stream = torch.Generator().manual_seed(0)
    config = ViewConfig(data.profile.image_size)
    image = from_uint8(annotated.images[:1])
    views = [to_uint8(draw_views(image, config, stream).images)[0] for _ in range(2)]
    sheet = Diagram(10.0, 3.6)
    unlabelled = sheet.pictures((0.2, 2.3, 2.0, 1.0), views, 2, "two views of an unlabelled image")
    labelled = [made.images[0], overlay(made.images[0], made.masks[0])]
    synthetic = sheet.pictures((0.2, 0.5, 2.0, 1.0), labelled, 2, "a synthetic image with labels")
    backbone = sheet.box((3.4, 1.4, 1.5, 0.9), "backbone\n(learnt, shared)", LEARNT)
    contrast = sheet.box((5.9, 2.4, 1.5, 0.7), "projection", LEARNT)
    branched = sheet.box((5.9, 0.6, 1.5, 0.7), "segmentation\nbranch", LEARNT)
    loss = sheet.box((8.1, 2.4, 1.7, 0.7), "contrastive loss")
    branch_loss = sheet.box((8.1, 0.6, 1.7, 0.7), "λ · cross-entropy\nper pixel")
    arrows = [(unlabelled, backbone), (synthetic, backbone), (backbone, contrast), (backbone, branched)]
    for start, end in [*arrows, (contrast, loss), (branched, branch_loss)]:
        sheet.arrow(start, end)
    return sheet.figure
