"""The one table of seeds: who draws which, so that nothing is tested on what it was trained on.

A stream is one way to turn a seed into an image. The ranges of a stream do not overlap, as a test checks.
A count is how many seeds are set aside; not all of them need be drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class SeedRange:
    """Consecutive seeds."""

    first: int
    count: int

    @property
    def seeds(self) -> range:
        """The seeds."""
        return range(self.first, self.first + self.count)


# Rendered scenes that score; seed s shows class s % 12. The first 60 of train are five of each class: as many
# labels as Synthetic-annotated has.
REAL_ANNOTATED: Mapping[str, SeedRange] = MappingProxyType(
    {
        "train": SeedRange(30_000_000, 600),
        "validation": SeedRange(30_120_000, 240),
        "test": SeedRange(30_240_000, 1_200),
    }
)

# Scenes of the pocket world (`worlds.pocket.render`).
POCKET: Mapping[str, SeedRange] = MappingProxyType(
    {
        "BigGAN training": SeedRange(0, 96_000),
        "classifier training": SeedRange(2_000_000, 24_000),  # and the oracle's
        "classifier test": SeedRange(2_500_000, 3_000),
        "real": SeedRange(3_000_000, 100_000),  # the default of a profile's `real`
        "notebook 00, second half": SeedRange(3_100_000, 100_000),
        "notebook 02": SeedRange(3_200_000, 100_000),
        "comparison": SeedRange(4_000_000, 900_000),  # training sets of the first comparisons
        "benchmarks": SeedRange(5_000_000, 1_250),
        "VQGAN training": SeedRange(6_000_000, 48_000),
        "notebook 00, pictures": SeedRange(7_000_000, 100_000),
        "notebook 04": SeedRange(9_000_000, 100_000),
        "notebook 04, quality": SeedRange(9_100_000, 100_000),
        "pre-training": SeedRange(21_000_000, 6_000),  # unlabelled
        "pre-training test": SeedRange(21_100_000, 1_200),
        **{f"Real-annotated {split}": seeds for split, seeds in REAL_ANNOTATED.items()},
        "rendered": SeedRange(31_000_000, 100_000),  # training sets with exact labels, for comparison
        "reference": SeedRange(33_000_000, 100_000),  # what the experiment `analysis` compares every set with
    }
)

# Samples of a generator, of whichever profile.
GENERATOR: Mapping[str, SeedRange] = MappingProxyType(
    {
        "shown": SeedRange(0, 10_000),  # candidates to annotate, pictures
        "own generator, held out": SeedRange(10_000, 200),  # the notebook's
        "notebook 01": SeedRange(50_000, 10_000),
        "test": SeedRange(100_000, 100_000),  # the default of a profile's `test_annotations`
        "notebook 04": SeedRange(300_000, 100_000),
        "notebook 04, settings": SeedRange(400_000, 100_000),
        "own generator, quality": SeedRange(500_000, 1_000),
        "model folder, quality": SeedRange(510_000, 2_000),
        "data sets": SeedRange(1_000_000, 4_000_000),
        "notebook 00, quality": SeedRange(5_000_000, 100_000),
        "label-head test": SeedRange(8_000_000, 100_000),
        "annotation-clicks": SeedRange(10_000_000, 100_000),
        "annotation-clicks labels": SeedRange(10_100_000, 100_000),  # from which proposals are learnt
        "click features": SeedRange(10_400_000, 100_000),  # without labels: what a class looks like
        "label-queue candidates": SeedRange(10_200_000, 100_000),
        "label-queue test": SeedRange(10_300_000, 100_000),
        "pixel features": SeedRange(10_500_000, 1_000),  # whose components a graph writes out
        "exported graphs": SeedRange(10_501_000, 10_000),  # on which they are compared with torch
        # The benchmark's; what trains is the annotations that ship: five of each class, seeds below 10.
        "Synthetic-annotated validation": SeedRange(11_040_000, 240),
        "Synthetic-annotated test": SeedRange(11_100_000, 1_200),
        "settings": SeedRange(20_000_000, 100_000),  # of GrabCut, proposals and queue were chosen on these
        "online": SeedRange(100_000_000, 800_000_000),
        "filter thresholds": SeedRange(900_000_000, 100_000_000),
        "VQGAN training, samples": SeedRange(40_000_000, 100_000),
        "BigGAN training, pictures": SeedRange(1_000_000_000, 96),
        "BigGAN training, batch statistics": SeedRange(2_000_000_000, 768),
    }
)
ONLINE_SEEDS = 80_000  # for each run of an experiment that trains on samples drawn as it goes

# Images of the transfer worlds, each a stream of its own.
TRANSFER: Mapping[str, Mapping[str, SeedRange]] = MappingProxyType(
    {
        "scenes": {"train": SeedRange(22_000_000, 1_000), "test": SeedRange(22_700_000, 200)},
        "street": {"train": SeedRange(23_000_000, 400), "test": SeedRange(23_700_000, 200)},
        "chest": {"train": SeedRange(24_000_000, 200), "test": SeedRange(24_700_000, 200)},
    }
)
