"""Shapes of masks."""

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.types import BdganError


def shape_diversity(masks: NDArray[np.integer], class_ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean 1 - IoU over all pairs of one class's foreground masks, [number of classes], in [0, 1].

    masks: [N, H, W], foreground where > 0; two empty masks are the same shape. Classes are those that occur,
    in order; BdganError for one with a single mask.
    """
    found = []
    for class_id in np.unique(class_ids):
        own = masks[class_ids == class_id] > 0
        if len(own) < 2:
            raise BdganError(f"class {class_id} has a single mask; give two or more of each class")
        flat = own.reshape(len(own), -1).astype(np.float32)
        both = flat @ flat.T
        either = flat.sum(1)[:, None] + flat.sum(1)[None] - both
        same = np.divide(both, either, out=np.ones_like(both), where=either > 0)
        pairs = np.triu_indices(len(flat), 1)
        found.append(float(1 - same[pairs].mean(dtype=np.float64)))
    return np.array(found)
