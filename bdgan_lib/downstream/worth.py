"""What a labelled set is worth: networks trained on it, scored on images they never saw (paper section 4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bdgan_lib.downstream.fitting import FitConfig, fit, predict, seeded
from bdgan_lib.downstream.metrics import mean_iou


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images and their class masks."""

    images: NDArray[np.uint8]  # [N, H, W, 3]
    masks: NDArray[np.uint8]  # [N, H, W]; 0 = ground, class id + 1 elsewhere, 255 = unlabelled


@dataclass(frozen=True)
class Worth:
    """Scores of one training set over several seeds."""

    name: str
    images: int
    all_class: tuple[float, ...]  # mean IoU over ground and all classes, one per seed
    fgbg: tuple[float, ...]  # mean IoU of foreground and ground, one per seed

    def row(self) -> dict[str, str | int]:
        """For a table: mean +- standard deviation over the seeds."""
        return {
            "training set": self.name,
            "images": self.images,
            "all-class mIoU": f"{mean(self.all_class):.3f} ± {_spread(self.all_class):.3f}",
            "FG/BG mIoU": f"{mean(self.fgbg):.3f} ± {_spread(self.fgbg):.3f}",
        }


def compare(
    sets: Mapping[str, LabelledSet],
    test: LabelledSet,
    network: Callable[[], nn.Module],
    num_labels: int,
    config: FitConfig = FitConfig(),  # noqa: B008 (frozen)
    seeds: tuple[int, ...] = (0, 1, 2),
    device: str = "cpu",
    progress: bool = True,
) -> list[Worth]:
    """Train a fresh `network()` on each set with each seed, always as many steps, and score it on `test`."""
    results = []
    for name, examples in sets.items():
        scores = []
        for seed in seeds:
            model = seeded(network, seed)
            settings = replace(config, seed=seed, batch_size=min(config.batch_size, len(examples.images)))
            fit(
                model,
                examples.images,
                examples.masks,
                settings,
                device,
                f"{name}, seed {seed}" if progress else None,
            )
            found = predict(model, test.images, device=device).argmax(1).numpy()
            foreground = np.where(test.masks == 255, 255, test.masks > 0)
            scores.append(
                (
                    mean_iou(found, test.masks, num_labels),
                    mean_iou((found > 0).astype(np.uint8), foreground, 2),
                )
            )
        results.append(Worth(name, len(examples.images), *(tuple(s) for s in zip(*scores, strict=True))))
    return results


def _spread(scores: tuple[float, ...]) -> float:
    return stdev(scores) if len(scores) > 1 else 0.0
