"""The catalogue of figures and tables, in the order of the paper; the numbers were measured here."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from bdgan_lib.paper import curves, diagrams, pictures, tables
from bdgan_lib.paper.figure_data import FigureData
from bdgan_lib.paper.tables import Row
from bdgan_lib.visualization.tables import picture


class Entry(NamedTuple):
    """One figure or table."""

    number: str
    name: str
    title: str
    caption: str  # {tested_on}: what the profile's test images are
    make: Callable[[FigureData], Figure | list[Row]]
    experiments: tuple[str, ...] = ()  # whose stored results it shows; empty: drawn from this run's samples

    @property
    def file(self) -> str:
        """Name of its files, without suffix."""
        return f"{self.number}_{self.name}"

    def drawn(self, data: FigureData) -> Figure:
        """The figure; a table as a picture."""
        made = self.make(data)
        return picture(made) if isinstance(made, list) else made


def _curve(draw: Callable[[Any], Figure], experiment: str) -> Callable[[FigureData], Figure]:
    return lambda data: draw(data.result(experiment))


def _table(rows: Callable[[Any], list[Row]], experiment: str) -> Callable[[FigureData], list[Row]]:
    return lambda data: rows(data.result(experiment))


def _published(data: FigureData) -> list[Row]:
    return tables.published({name: data.result(name) for name in PUBLISHED})


PUBLISHED = ("table2", "set-size", "online", "analysis")
SPREAD = "± is the standard deviation over seeds, brackets are 95% intervals of differences paired by seed."
BAND = "Lines are means over seeds, bands reach from minimum to maximum."
_worlds = lambda *worlds: partial(tables.transfer, worlds=list(worlds))
CATALOGUE = (
    Entry(
        "fig1",
        "teaser",
        "Generated images with labels",
        "Two images of each class from BigGAN-sim, with the label head's masks below.",
        pictures.teaser,
    ),
    Entry(
        "fig2",
        "overview",
        "The method",
        "A frozen generator, some labelled samples, a label head on its features, a data set, networks. "
        "Blue is frozen, orange is trained; feature maps are shown by their three principal components.",
        diagrams.overview,
    ),
    Entry(
        "fig3",
        "label-head",
        "The label head",
        "Blocks of the generator by resolution (channels × side²), their projections, the mix-convs that "
        "fuse coarse with fine, and one sample with its labels.",
        diagrams.label_head,
    ),
    Entry(
        "fig4",
        "branch",
        "A segmentation branch beside self-supervised learning",
        "One backbone is trained on views of unlabelled images and on the labels of synthetic images.",
        diagrams.branch,
    ),
    Entry(
        "fig5",
        "layout",
        "Position of the objects",
        "How often each pixel is foreground (dark never, bright always), and every mask's centre of mass.",
        pictures.layout,
    ),
    Entry(
        "fig6",
        "mean-shapes",
        "Mean shapes",
        "k-means of each class's masks in BigGAN-sim, cut out and scaled; the share of masks in each of five "
        "clusters.",
        pictures.shapes,
    ),
    Entry(
        "fig7",
        "best-and-worst",
        "Five best and five worst predictions",
        "Test images ({tested_on}), by the foreground mIoU of a network trained on BigGAN-sim alone.",
        pictures.predictions,
    ),
    Entry(
        "fig8",
        "set-size",
        "mIoU against the size of the synthetic set",
        BAND,
        _curve(curves.set_size, "set-size"),
        ("set-size",),
    ),
    Entry(
        "fig9",
        "backbone-size",
        "mIoU of three network sizes",
        "Small dots are seeds, large ones their means.",
        _curve(curves.backbone, "backbone"),
        ("backbone",),
    ),
    Entry(
        "fig10",
        "convergence",
        "Convergence of a detector",
        f"Boxes on scenes of several objects, in place of Pascal VOC, from five initialisations. {BAND}",
        _curve(curves.convergence, "transfer"),
        ("transfer",),
    ),
    Entry(
        "fig11",
        "qualitative",
        "Labels of every class",
        "A test image of each class, the prediction of a network trained on BigGAN-sim alone, true labels.",
        pictures.qualitative,
    ),
    Entry(
        "fig12",
        "initialisations",
        "What synthetic data adds to each initialisation",
        "Small dots are seeds, large ones their means.",
        _curve(curves.initialisations, "table2"),
        ("table2",),
    ),
    Entry(
        "fig13",
        "chest",
        "Chests with few labels",
        f"A frozen backbone and 1, 5, 10 and 100% of the labels. {BAND}",
        _curve(curves.chest, "transfer"),
        ("transfer",),
    ),
    Entry(
        "fig14",
        "filters",
        "Effect of filtering",
        "Sets of equal size, after dropping the images with the highest ensemble disagreement or the lowest "
        f"classifier confidence. {BAND}",
        _curve(curves.filters, "filter"),
        ("filter",),
    ),
    Entry(
        "fig15",
        "labels-per-class",
        "How many labels the head needs",
        BAND,
        _curve(curves.labels_per_class, "labels-per-class"),
        ("labels-per-class",),
    ),
    Entry(
        "table1",
        "statistics",
        "The sets",
        "IN instances per image; MI mask / image area; BI tight box / image; MB mask / box; PL length of "
        "the outlines after Douglas-Peucker at 1% of the side, in sides; SC their vertices; SD mean Chamfer "
        "distance of two shapes of a class, in object lengths. FID, KID and coverage in the pocket "
        "classifier's features, mask FID in 8 × 8 thumbnails of masks, against other rendered scenes.",
        _table(tables.statistics, "analysis"),
        ("analysis",),
    ),
    Entry(
        "table2",
        "initialisations-and-sets",
        "Every initialisation, mean mIoU over five tasks",
        SPREAD,
        _table(tables.table2, "table2"),
        ("table2",),
    ),
    Entry(
        "table3",
        "boxes",
        "Boxes on scenes (the paper: Pascal VOC and MS-COCO)",
        SPREAD,
        _table(_worlds("scenes"), "transfer"),
        ("transfer",),
    ),
    Entry(
        "table4",
        "instances",
        "Instances on scenes (the paper: MS-COCO)",
        SPREAD,
        _table(_worlds("scenes, instances"), "transfer"),
        ("transfer",),
    ),
    Entry(
        "table5",
        "street",
        "Streets (the paper: Cityscapes)",
        SPREAD,
        _table(_worlds("street"), "transfer"),
        ("transfer",),
    ),
    Entry(
        "table6",
        "chest-shares",
        "Chests by share of labels (the paper: chest X-rays)",
        SPREAD,
        _table(_worlds(*(f"chest {s}%" for s in (1, 5, 10, 100))), "transfer"),
        ("transfer",),
    ),
    Entry(
        "table7", "backbones", "Backbone sizes", SPREAD, _table(tables.backbones, "backbone"), ("backbone",)
    ),
    Entry(
        "table8",
        "online",
        "Stored images against online sampling",
        SPREAD,
        _table(tables.online, "online"),
        ("online",),
    ),
    Entry(
        "table9",
        "paper-and-ours",
        "The paper's results and ours",
        "Generators, networks and images differ: compare the direction of effects, not their size.",
        _published,
        PUBLISHED,
    ),
)
