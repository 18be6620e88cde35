"""Samples to label and sessions on them, without a generator."""

from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.annotation.session import Session
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore

SIDE = 32
SQUARE = [[4, 4], [20, 4], [20, 20], [4, 20]]


def item(seed: int = 0, class_id: int = 0, side: int = SIDE) -> Annotation:
    name = ("robin", "mug")[class_id]
    blank = np.zeros((side, side), np.uint8)
    return Annotation(
        sample_id(name, seed), name, class_id, seed, Sampling(), "0" * 64, blank, "",
        ("background", "body", "beak"),
    )  # fmt: skip


def polygon(label: int = 1, instance: int = 1, rings=(SQUARE,), **more) -> dict:
    stroke = {"op": "polygon", "rings": list(rings), "label": label, "instance": instance, **more}
    return {"do": "stroke", "stroke": stroke}


def dab(x: float, y: float, radius: float = 3, label: int = 1, instance: int = 1) -> dict:
    stroke = {"op": "brush", "points": [[x, y]], "radius": radius, "label": label, "instance": instance}
    return {"do": "stroke", "stroke": stroke}


def picture(annotation: Annotation) -> np.ndarray:
    """An image of its own for every seed: a bright square on noise."""
    side = len(annotation.mask)
    image = np.random.default_rng(annotation.seed).integers(0, 60, (side, side, 3), np.uint8)
    image[side // 8 : side * 5 // 8, side // 8 : side * 5 // 8] += 150
    return image


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "labels"


@pytest.fixture
def session(folder):
    with Session(AnnotationStore(folder), [item(0), item(1), item(2, 1)], picture, "ann") as session:
        yield session
