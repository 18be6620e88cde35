"""What does a mask cost? Clicks of simulated annotators with a polygon, GrabCut, and a head's proposals."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.annotation.simulate import Move, clicks, draw_grabcut, draw_polygon, draw_proposal
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.experiments.runner import Cells, Row, run_cells
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import test_annotations

FIRST_SEED = GENERATOR["annotation-clicks"].first  # of the samples to draw; nothing was chosen on them
FIRST_LABELLED = GENERATOR["annotation-clicks labels"].first  # proposals are learnt from these samples


@dataclass(frozen=True)
class ClickExperiment:
    """Samples with the oracle's masks, to be drawn anew with each tool."""

    profile: Profile
    images: int = 120

    @cached_property
    def generator(self) -> Any:
        """The profile's generator."""
        return self.profile.generator()

    @cached_property
    def truth(self) -> list[Annotation]:
        """Samples with the oracle's masks."""
        return test_annotations(self.profile, self.generator, self.images, FIRST_SEED)

    @cached_property
    def pictures(self) -> NDArray[np.uint8]:
        """Their images, [N, H, W, 3]."""
        samples = samples_of(self.generator, self.truth, features=False)
        return np.concatenate([to_uint8(sample.images) for sample in samples])

    def proposed(self, labels: int, seed: int) -> list[NDArray[np.uint8]]:
        """Proposals for all samples by an ensemble fitted to one label of each class, then to all labels."""
        known = test_annotations(self.profile, self.generator, labels, FIRST_LABELLED)
        proposer = Proposer(self.generator, [*known, *self.truth], seed=seed)
        for count in sorted({len(self.profile.classes), labels}):
            proposer.fit(known[:count])
        return [proposer.propose(a.id) for a in self.truth]

    def drawn(self, settings: Mapping[str, Any]) -> list[list[Move]]:
        """What the annotator does on each image."""
        truth, target = [a.mask > 0 for a in self.truth], settings["wanted"]
        if settings["tool"] == "polygon":
            return [draw_polygon(t, target) for t in truth]
        if settings["tool"] == "grabcut":
            cap = settings["cap"]
            return [
                draw_grabcut(image, t, target, cap) for image, t in zip(self.pictures, truth, strict=True)
            ]
        proposals = self.proposed(settings["labels"], settings["seed"])
        return [
            draw_proposal(p > 0, t, target, settings["cap"]) for p, t in zip(proposals, truth, strict=True)
        ]

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """Clicks on every image, and how many images the tool brought to the wanted IoU by itself."""
        drawn = self.drawn(settings)
        cost = np.array([clicks(moves) for moves in drawn])
        # a polygon that comes after other strokes is drawn in its place
        given_up = [any(move.stroke["op"] == "polygon" for move in moves[1:]) for moves in drawn]
        classes = np.array([a.class_id for a in self.truth])
        return {
            "mean_clicks": float(cost.mean()),
            "median_clicks": float(np.median(cost)),
            "reached": 1 - float(np.mean(given_up)),
            "at_once": float(np.mean([len(moves) == 1 for moves in drawn])),
            "mean_clicks_of": {
                name: float(cost[classes == k].mean()) for k, name in enumerate(self.profile.classes)
            },
            "clicks": cost.tolist(),
        }


def run(
    profile: Profile, folder: Path, seeds: int = 5, images: int = 120, labels: int = 24, cap: int = 20
) -> Row:
    """All tools at 90% IoU, proposals with every seed of the ensemble; see `run_cells` for the result.

    reached: share of images the tool brought there within `cap` corrections; a polygon's clicks are added to
    the others'. at_once: share where the first mask was good enough.
    """
    experiment = ClickExperiment(profile, images)
    every = {"wanted": 0.9, "images": images}
    cells: Cells = {
        ("polygon",): {"tool": "polygon", **every},
        ("grabcut",): {"tool": "grabcut", **every, "cap": cap},
    }
    for seed in range(seeds):
        cells["proposal", seed] = {"tool": "proposal", **every, "cap": cap, "labels": labels, "seed": seed}
    about = {"profile": profile.name, "generator_sha256": experiment.generator.sha256}
    return run_cells("annotation-clicks", ("tool", "seed"), cells, experiment.measure, folder, about)
