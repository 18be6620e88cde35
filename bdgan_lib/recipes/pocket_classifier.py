"""Recipe: the classifier that judges image quality and the oracle annotator, trained on rendered scenes.

    python -m bdgan_lib.recipes.pocket_classifier [--out assets/pocket]

A few minutes on two CPU cores. The scenes' seeds (from 2,000,000) are used nowhere else.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.oracle import Oracle, joint_labels
from bdgan_lib.worlds.pocket import render_set

TRAIN, TEST = (24_000, 2_000_000), (3_000, 2_500_000)  # number of scenes, first seed
CLASSIFIER = FitConfig(steps=1_200, batch_size=48, learning_rate=3e-3)
ORACLE = FitConfig(steps=1_500, batch_size=32, learning_rate=4e-3)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("assets/pocket"))
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    start = time.time()
    scenes, tests = (render_set(*s, workers=options.workers, progress=True) for s in (TRAIN, TEST))

    classifier = seeded(Classifier, 0)
    fit(classifier, scenes.images, scenes.class_ids, CLASSIFIER, progress="classifier")
    accuracy = float(np.mean(predict(classifier, tests.images).argmax(1).numpy() == tests.class_ids))
    _save(classifier, options.out / "classifier", {"test_accuracy": accuracy, "minutes": _minutes(start)})

    torch.manual_seed(0)
    oracle = Oracle()
    fit(
        oracle.network, scenes.images, joint_labels(scenes.parts, scenes.class_ids), ORACLE, progress="oracle"
    )
    found = oracle.annotate(tests.images, tests.class_ids)
    both, either = (found > 0) & (tests.parts > 0), (found > 0) | (tests.parts > 0)
    neither, ground = (found == 0) & (tests.parts == 0), (found == 0) | (tests.parts == 0)
    miou = (both.sum() / either.sum() + neither.sum() / ground.sum()) / 2
    figures = {"test_fgbg_miou": float(miou), "test_part_accuracy": float((found == tests.parts).mean())}
    _save(oracle.network, options.out / "oracle", {**figures, "minutes": _minutes(start)})


def _minutes(start: float) -> float:
    return round((time.time() - start) / 60, 1)


def _save(network: torch.nn.Module, folder: Path, figures: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    (folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(folder.name, figures)


if __name__ == "__main__":
    main()
