"""Strokes: what an annotator draws, and the pixels each one covers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def brush(points: Sequence[Sequence[float]], radius: float, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies within `radius` of a line through the points, [height, width]."""
    path = np.asarray(points, float).reshape(-1, 2)
    covered = np.zeros((height, width), bool)
    for a, b in zip(path[:1] if len(path) == 1 else path[:-1], path[-1:] if len(path) == 1 else path[1:]):
        low, high = np.minimum(a, b) - radius, np.maximum(a, b) + radius
        x0, y0 = np.clip(np.floor(low), 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(high), 0, (width, height)).astype(int)
        x, y = np.arange(x0, x1) + 0.5 - a[0], np.arange(y0, y1)[:, None] + 0.5 - a[1]
        dx, dy = b - a
        t = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        covered[y0:y1, x0:x1] |= (x - t * dx) ** 2 + (y - t * dy) ** 2 <= radius**2
    return covered
