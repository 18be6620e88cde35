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
    draw: Callable[..., Figure | list[Row]]  # of the experiments' results; without any, of the figure data
    experiments: tuple[str, ...]  # whose stored results it shows; empty: drawn from this run's samples

    @property
    def file(self) -> str:
        """Name of its files, without suffix."""
        return f"{self.number}_{self.name}"

    def make(self, data: FigureData) -> Figure | list[Row]:
        """The figure, or the table's rows."""
        return self.draw(*(map(data.result, self.experiments) if self.experiments else [data]))

    def drawn(self, data: FigureData) -> Figure:
        """The figure; a table as a picture."""
        made = self.make(data)
        return picture(made) if isinstance(made, list) else made


PUBLISHED = ("table2", "set-size", "online", "analysis")
SPREAD = "± is the standard deviation over seeds, brackets are 95% intervals of differences paired by seed."
DOTS = "Small dots are seeds, large ones their means."
BAND = "Lines are means over seeds, bands reach from minimum to maximum."
_on = lambda *worlds: partial(tables.transfer, worlds=list(worlds))
_CHESTS = _on(*(f"chest {share}%" for share in (1, 5, 10, 100)))
# Name, title, caption, how it is drawn, and the experiments whose results are drawn; in the paper's order.
FIGURES: tuple[tuple[Any, ...], ...] = (
    (
        "teaser",
        "Generated images with labels",
        "Two images of each class from BigGAN-sim, with the label head's masks below.",
        pictures.teaser,
    ),
    (
        "overview",
        "The method",
        "A frozen generator, some labelled samples, a label head on its features, a data set, networks. "
        "Blue is frozen, orange is trained; feature maps are shown by their three principal components.",
        diagrams.overview,
    ),
    (
        "label-head",
        "The label head",
        "Blocks of the generator by resolution (channels × side²), their projections, the mix-convs that "
        "fuse coarse with fine, and one sample with its labels.",
        diagrams.label_head,
    ),
    (
        "branch",
        "A segmentation branch beside self-supervised learning",
        "One backbone is trained on views of unlabelled images and on the labels of synthetic images.",
        diagrams.branch,
    ),
    (
        "layout",
        "Position of the objects",
        "How often each pixel is foreground (dark never, bright always), and every mask's centre of mass.",
        pictures.layout,
    ),
    (
        "mean-shapes",
        "Mean shapes",
        "k-means of each class's masks in BigGAN-sim, cut out and scaled; the share of masks in each of five "
        "clusters.",
        pictures.shapes,
    ),
    (
        "best-and-worst",
        "Five best and five worst predictions",
        "Test images ({tested_on}), by the foreground mIoU of a network trained on BigGAN-sim alone.",
        pictures.predictions,
    ),
    ("set-size", "mIoU against the size of the synthetic set", BAND, curves.set_size, "set-size"),
    ("backbone-size", "mIoU of three network sizes", DOTS, curves.backbone, "backbone"),
    (
        "convergence",
        "Convergence of a detector",
        f"Boxes on scenes of several objects, in place of Pascal VOC, from five initialisations. {BAND}",
        curves.convergence,
        "transfer",
    ),
    (
        "qualitative",
        "Labels of every class",
        "A test image of each class, the prediction of a network trained on BigGAN-sim alone, true labels.",
        pictures.qualitative,
    ),
    (
        "initialisations",
        "What synthetic data adds to each initialisation",
        DOTS,
        curves.initialisations,
        "table2",
    ),
    (
        "chest",
        "Chests with few labels",
        f"A frozen backbone and 1, 5, 10 and 100% of the labels. {BAND}",
        curves.chest,
        "transfer",
    ),
    (
        "filters",
        "Effect of filtering",
        "Sets of equal size, after dropping the images with the highest ensemble disagreement or the lowest "
        f"classifier confidence. {BAND}",
        curves.filters,
        "filter-share",
    ),
    ("labels-per-class", "How many labels the head needs", BAND, curves.labels_per_class, "labels-per-class"),
)
TABLES: tuple[tuple[Any, ...], ...] = (
    (
        "statistics",
        "The sets",
        "IN instances per image; MI mask / image area; BI tight box / image; MB mask / box; PL length of "
        "the outlines after Douglas-Peucker at 1% of the side, in sides; SC their vertices; SD mean Chamfer "
        "distance of two shapes of a class, in object lengths. FID, KID and coverage in the pocket "
        "classifier's features, mask FID in 8 × 8 thumbnails of masks, against other rendered scenes.",
        tables.statistics,
        "analysis",
    ),
    (
        "initialisations-and-sets",
        "Every initialisation, mean mIoU over five tasks",
        SPREAD,
        tables.table2,
        "table2",
    ),
    ("boxes", "Boxes on scenes (the paper: Pascal VOC and MS-COCO)", SPREAD, _on("scenes"), "transfer"),
    ("instances", "Instances on scenes (the paper: MS-COCO)", SPREAD, _on("scenes, instances"), "transfer"),
    ("street", "Streets (the paper: Cityscapes)", SPREAD, _on("street"), "transfer"),
    ("chest-shares", "Chests by share of labels (the paper: chest X-rays)", SPREAD, _CHESTS, "transfer"),
    ("backbones", "Backbone sizes", SPREAD, tables.backbones, "backbone"),
    ("online", "Stored images against online sampling", SPREAD, tables.online, "online"),
    (
        "paper-and-ours",
        "The paper's results and ours",
        "Generators, networks and images differ: compare the direction of effects, not their size.",
        lambda *results: tables.published(dict(zip(PUBLISHED, results, strict=True))),
        *PUBLISHED,
    ),
)


def _numbered(prefix: str, rows: tuple[tuple[Any, ...], ...]) -> list[Entry]:
    return [Entry(f"{prefix}{k}", row[0], row[1], row[2], row[3], row[4:]) for k, row in enumerate(rows, 1)]


CATALOGUE = (*_numbered("fig", FIGURES), *_numbered("table", TABLES))
