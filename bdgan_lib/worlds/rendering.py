"""Shared by the drawn worlds: a picture is a function of its seed, whichever process renders it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.parallel import run_in_processes
from bdgan_lib.core.types import BdganError
from bdgan_lib.worlds.canvas import Draws

Item = TypeVar("Item")


def draws_of(seed: int, world: int) -> Draws:
    """The random decisions of a picture. `world` keeps one seed's pictures of different worlds unrelated."""
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
    """Render seeds first_seed, first_seed + 1, ...: the same pictures whatever the workers.

    Args:
        render: seed -> picture; with several workers a function of a module, or functools.partial of one.
        count: number of pictures.
        first_seed: seed of the first picture.
        workers: processes; 1 renders in this one.
        progress: name shown on a progress bar; None shows none.
    """
    seeds, chunk = range(first_seed, first_seed + count), partial(_render_chunk, render)
    jobs = [seeds[i : i + 64] for i in range(0, count, 64)]
    results: Iterable[tuple[int, list[Item]]] = enumerate(map(chunk, jobs))
    if workers != 1:
        results = run_in_processes(chunk, jobs, workers, cv2.setNumThreads, (0,), torch_threads=False)
    chunks: dict[int, list[Item]] = {}
    with tqdm(desc=progress, total=count, unit="image", disable=progress is None, leave=False) as bar:
        for i, items in results:
            chunks[i] = items
            bar.update(len(items))
    return [item for i in range(len(jobs)) for item in chunks[i]]


def _render_chunk(render: Callable[[int], Item], seeds: range) -> list[Item]:
    return [render(seed) for seed in seeds]
