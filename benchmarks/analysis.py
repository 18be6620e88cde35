"""What Table 1's statistics cost: 10,000 masks at 64 pixels, all columns, on one core.

    python -m benchmarks.analysis            writes results/analysis.json
    python -m benchmarks.analysis --quick    1,000 masks; writes analysis_quick.json

Beside it, in turns, shape diversity by the definition: nearest border pixels of every pair of shapes.
"""

import time
from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from bdgan_lib.core.seeds import POCKET
from bdgan_lib.metrics.mask_geometry import mask_statistics
from bdgan_lib.metrics.shape_diversity import CANVAS, aligned, chamfer_diversity
from bdgan_lib.worlds.pocket import render_set
from benchmarks.command import command
from benchmarks.memory import peak_bytes

MASKS = {"full": 10_000, "quick": 1_000}
PAIRED = 120  # masks of one class on which every pair is tried


def masks_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rendered masks, a thousand of them in all their mirrored and turned forms, with class ids."""
    seeds = POCKET["benchmarks"]
    scenes = render_set(min(count, seeds.count), seeds.first, 64)
    forms = [
        np.rot90(m, k, (1, 2)) for m in (scenes.class_masks, scenes.class_masks[..., ::-1]) for k in range(4)
    ]
    return np.concatenate(forms)[:count], np.tile(scenes.class_ids, 8)[:count]


def statistics(masks: np.ndarray, class_ids: np.ndarray) -> None:
    mask_statistics(masks)
    chamfer_diversity(masks, class_ids)


def by_pairs(masks: np.ndarray) -> float:
    borders = []
    for shape in aligned(masks).astype(np.uint8):
        inner = cv2.erode(shape, np.ones((3, 3), np.uint8), borderValue=0)
        borders.append(np.argwhere(shape - inner))
    apart = [
        cKDTree(a).query(b)[0].mean() + cKDTree(b).query(a)[0].mean() for a, b in combinations(borders, 2)
    ]
    return float(np.mean(apart) / 2 / CANVAS)


def timed(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def measure(size: str) -> dict[str, float]:
    masks, class_ids = masks_of(MASKS[size])
    few = masks[class_ids == 0][:PAIRED]
    one_class = np.zeros(len(few), int)
    assert abs(by_pairs(few) / chamfer_diversity(few, one_class)[0] - 1) < 1e-6
    turns = [(timed(by_pairs, few), timed(chamfer_diversity, few, one_class)) for _ in range(3)]
    return {
        "masks": len(masks),
        "statistics_seconds": round(timed(statistics, masks, class_ids), 2),
        "statistics_megabytes": round(peak_bytes(statistics, masks, class_ids) / 1e6),
        "pairs_over_chamfer": round(min(p for p, _ in turns) / min(c for _, c in turns), 1),
    }


if __name__ == "__main__":
    command("analysis", __doc__, measure, "a few seconds")
