"""What the pocket world's data sets to transfer to have in common: a picture is a function of its seed."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.types import BdganError
from bdgan_lib.worlds.canvas import Draws

Item = TypeVar("Item")


def draws_of(seed: int, world: int) -> Draws:
    """All that decides a picture. `world` keeps one seed's pictures of different worlds unrelated."""
    if seed < 0:
        raise BdganError(f"seed is {seed}; give 0 or more")
    return Draws(np.empty(0), np.random.default_rng([seed, world]))


def downscale(
    raster: NDArray[np.floating], size: int, grain: float, noise: np.random.Generator
) -> NDArray[np.uint8]:
    """A raster [side, side(, 3)] in [0, 255] as a picture [size, size(, 3)], with grain of that deviation."""
    picture = cv2.resize(np.clip(raster, 0, 255), (size, size), interpolation=cv2.INTER_AREA)
    picture += np.float32(grain) * noise.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def render_many(
    render: Callable[[int], Item], count: int, first_seed: int, workers: int = 1, progress: str | None = None
) -> list[Item]:
    """`render(seed)` for seeds first_seed, first_seed + 1, ...: the same pictures whatever the workers.

    render: picklable if there are several workers: a function of a module, or functools.partial of one.
    progress: name shown on a progress bar; none if None.
    """
    seeds = range(first_seed, first_seed + count)
    if workers == 1:
        return [render(seed) for seed in tqdm(seeds, desc=progress, disable=progress is None, leave=False)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        pictures = pool.map(partial(_alone, render), seeds, chunksize=64)
        return list(tqdm(pictures, desc=progress, total=count, disable=progress is None, leave=False))


def _alone(render: Callable[[int], Item], seed: int) -> Item:
    cv2.setNumThreads(0)  # the workers are the threads
    return render(seed)
