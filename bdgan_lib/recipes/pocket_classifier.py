"""Recipe: the classifier that judges image quality and the oracle annotator, trained on rendered scenes.

    python -m bdgan_lib.recipes.pocket_classifier [--out assets/pocket]

A few minutes on two CPU cores. The scenes' seeds (from 2,000,000) are used nowhere else.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bdgan_lib.core.io import check_output
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.recipes.common import write_half
from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle, joint_labels
from bdgan_lib.worlds.pocket import render_set

TRAIN, TEST = POCKET["classifier training"], POCKET["classifier test"]
CLASSIFIER = FitConfig(steps=1_200, batch_size=48, learning_rate=3e-3)
ORACLE = FitConfig(steps=1_500, batch_size=32, learning_rate=4e-3)


def main() -> None:
    """Train both networks and write them."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("assets/pocket"))
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    check_output(options.out)
    start = time.time()
    render = partial(render_set, workers=options.workers, progress=True)
    scenes, tests = render(TRAIN.count, TRAIN.first), render(TEST.count, TEST.first)

    classifier = seeded(Classifier, 0)
    fit(classifier, scenes.images, scenes.class_ids, CLASSIFIER, progress="classifier")
    accuracy = float(np.mean(predict(classifier, tests.images).argmax(1).numpy() == tests.class_ids))
    _save(classifier, options.out / "classifier", {"test_accuracy": accuracy, "minutes": _minutes(start)})

    torch.manual_seed(0)
    oracle = Oracle()
    labels = joint_labels(scenes.parts, scenes.class_ids)
    fit(oracle.network, scenes.images, labels, ORACLE, progress="oracle")
    parts = oracle.annotate(tests.images, tests.class_ids)
    miou = mean_iou((parts > 0).astype(np.uint8), (tests.parts > 0).astype(np.uint8), 2)
    figures = {"test_fgbg_miou": miou, "test_part_accuracy": float((parts == tests.parts).mean())}
    _save(oracle.network, options.out / "oracle", {**figures, "minutes": _minutes(start)})


def _minutes(start: float) -> float:
    return round((time.time() - start) / 60, 1)


def _save(network: torch.nn.Module, folder: Path, figures: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_half(folder / "model.safetensors", network.state_dict())
    write_json(folder / "training.json", figures)
    print(folder.name, figures)


if __name__ == "__main__":
    main()
