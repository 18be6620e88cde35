"""What does a mask cost? Clicks of simulated annotators with each tool, on samples and on photographs."""

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.feature_segmenter import FeatureSegmenter
from bdgan_lib.annotation.promptable import PromptableSegmenter
from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.annotation.segmenters import GrabCutSegmenter, Segmenter
from bdgan_lib.annotation.simulate import (
    Move,
    clicks,
    draw_clicks,
    draw_grabcut,
    draw_polygon,
    draw_proposal,
    final_mask,
)
from bdgan_lib.core.image_codecs import decode_image, decode_labels
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.experiments.runner import Cells, Row, run_cells
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import test_annotations
from bdgan_lib.training.file_logs import LogFolder

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
        if settings["tool"] == "clicks_own":
            return self.drawn_in_turn(target, settings["cap"], settings["labels_of_class"])
        if settings["tool"] in ("clicks_own_unlabelled", "clicks_grabcut"):
            tools: dict[str, Segmenter] = {
                "clicks_own_unlabelled": FeatureSegmenter(self.generator, self.truth),
                "clicks_grabcut": GrabCutSegmenter(),
            }
            ids, segmenter = [a.id for a in self.truth], tools[settings["tool"]]
            return drawn_with(segmenter, ids, self.pictures, truth, target, settings["cap"])
        proposals = self.proposed(settings["labels"], settings["seed"])
        return [
            draw_proposal(p > 0, t, target, settings["cap"]) for p, t in zip(proposals, truth, strict=True)
        ]

    def drawn_in_turn(self, target: float, cap: int, labels_of_class: int) -> list[list[Move]]:
        """What the annotator does with `FeatureSegmenter`, which learns from the masks that were accepted.

        After `labels_of_class` images of a class it forgets them, and the next one is a first one again.
        """
        segmenter = FeatureSegmenter(self.generator, self.truth)
        accepted: dict[int, list[Annotation]] = {}
        drawn = []
        for image, annotation in zip(self.pictures, self.truth, strict=True):
            known = accepted.setdefault(annotation.class_id, [])
            if len(known) == labels_of_class:
                known.clear()
            segmenter.learn(known)
            clicks = segmenter.start(annotation.id, image)
            drawn.append(draw_clicks(clicks, annotation.mask > 0, target, cap))
            known.append(replace(annotation, mask=final_mask(drawn[-1], *annotation.mask.shape)))
        return drawn

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """Clicks on every image, and how many images the tool brought to the wanted IoU by itself."""
        names = [self.profile.classes[a.class_id] for a in self.truth]
        return costs(self.drawn(settings), names)


@dataclass(frozen=True)
class Photographs:
    """A zip of photographs, `images/NAME.jpg`, and masks, `masks/NAME.png` (0 is background)."""

    path: Path

    @cached_property
    def pairs(self) -> list[tuple[str, NDArray[np.uint8], NDArray[np.bool_]]]:
        """Name, image [H, W, 3] and mask [H, W] of each, sorted by name.

        Raises:
            BdganError: the file is no such zip.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = sorted(
                    n for n in archive.namelist() if n.startswith("images/") and n.endswith(".jpg")
                )
                return [
                    (
                        Path(name).stem,
                        decode_image(archive.read(name)),
                        decode_labels(archive.read(f"masks/{Path(name).stem}.png")) > 0,
                    )
                    for name in names
                ]
        except (zipfile.BadZipFile, KeyError) as error:
            raise BdganError(f"{self.path}: expected a zip of images/NAME.jpg and masks/NAME.png") from error

    def measure(self, settings: Mapping[str, Any]) -> Row:
        """As `ClickExperiment.measure`; the part of a name before `_` is its class."""
        names, images, truth = zip(*self.pairs, strict=True)
        target, tool = settings["wanted"], settings["tool"]
        if tool == "polygon_photographs":
            drawn = [draw_polygon(t, target) for t in truth]
        else:
            model = PromptableSegmenter(like_the_clicked)
            segmenter: Segmenter = model if tool == "promptable_photographs" else GrabCutSegmenter()
            box, cap = tool == "clicks_box_photographs", settings["cap"]
            drawn = drawn_with(segmenter, names, images, truth, target, cap, box)
        return costs(drawn, [name.split("_")[0] for name in names])


def drawn_with(
    segmenter: Segmenter,
    ids: Sequence[str],
    images: Iterable[NDArray[np.uint8]],
    truth: Sequence[NDArray[np.bool_]],
    target: float,
    cap: int,
    box: bool = False,
) -> list[list[Move]]:
    """What the annotator does on each image with a segmenter, see `draw_clicks`."""
    return [
        draw_clicks(segmenter.start(id, image), t, target, cap, box)
        for id, image, t in zip(ids, images, truth, strict=True)
    ]


def like_the_clicked(
    image: NDArray[np.uint8], points: NDArray[np.float32], labels: NDArray[np.float32], box: object
) -> NDArray[np.float64]:
    """A stand-in for a promptable model: a pixel goes with the click that is most like it and near."""
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    score = {0: np.full((height, width), 0.5), 1: np.zeros((height, width))}
    for (x, y), label in zip(points, labels, strict=True):
        unlike = np.square((image - image[int(y), int(x)].astype(float)) / 60).sum(2)
        away = (np.square(rows - y) + np.square(columns - x)) / (0.04 * height * width)
        score[int(label)] = np.maximum(score[int(label)], np.exp(-(unlike + away) / 2))
    return score[1] - score[0]


def costs(drawn: list[list[Move]], names: Sequence[str]) -> Row:
    """Clicks on every image, their mean by the images' class names, and how many images were given up."""
    cost = np.array([clicks(moves) for moves in drawn])
    # a polygon that comes after other strokes is drawn in its place
    given_up = [any(move.stroke["op"] == "polygon" for move in moves[1:]) for moves in drawn]
    classes = np.array(names)
    return {
        "mean_clicks": float(cost.mean()),
        "median_clicks": float(np.median(cost)),
        "reached": 1 - float(np.mean(given_up)),
        "at_once": float(np.mean([len(moves) == 1 for moves in drawn])),
        "mean_clicks_of": {name: float(cost[classes == name].mean()) for name in dict.fromkeys(names)},
        "clicks": cost.tolist(),
    }


def run(
    profile: Profile,
    folder: Path,
    seeds: int = 5,
    images: int = 120,
    labels: int = 24,
    cap: int = 20,
    photographs: Path | None = None,
    logs: LogFolder | None = None,
) -> Row:
    """All tools at 90% IoU, proposals with every seed of the ensemble; see `run_cells` for the result.

    reached: share of images the tool brought there within `cap` corrections; a polygon's clicks are added to
    the others'. at_once: share where the first mask was good enough. clicks_own: five images of each class
    are labelled in turn, and what was accepted is learnt from (`drawn_in_turn`); clicks_own_unlabelled:
    nothing is. With `photographs` (see `Photographs`) the tools that need no generator are measured on these,
    too.
    """
    experiment = ClickExperiment(profile, images)
    every = {"wanted": 0.9, "images": images}
    cells: Cells = {
        ("polygon",): {"tool": "polygon", **every},
        ("grabcut",): {"tool": "grabcut", **every, "cap": cap},
    }
    for seed in range(seeds):
        cells["proposal", seed] = {"tool": "proposal", **every, "cap": cap, "labels": labels, "seed": seed}
    cells[("clicks_own",)] = {"tool": "clicks_own", **every, "cap": cap, "labels_of_class": 5}
    for tool in ("clicks_own_unlabelled", "clicks_grabcut"):
        cells[(tool,)] = {"tool": tool, **every, "cap": cap}
    measure: dict[str, Callable[[Mapping[str, Any]], Row]] = {}
    if photographs is not None:
        pictures = Photographs(photographs)
        file = {"wanted": 0.9, "photographs": sha256_of(photographs), "images": len(pictures.pairs)}
        for tool in ("polygon", "clicks", "clicks_box", "promptable"):
            key = f"{tool}_photographs"
            cells[(key,)] = {"tool": key, **file} | ({} if tool == "polygon" else {"cap": cap})
            measure[key] = pictures.measure
    about = {"profile": profile.name, "generator_sha256": experiment.generator.sha256}
    measured = lambda settings: measure.get(settings["tool"], experiment.measure)(settings)
    return run_cells("annotation-clicks", ("tool", "seed"), cells, measured, folder, about, logs=logs)
