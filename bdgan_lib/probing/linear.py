"""A linear probe: how much of a mask one block's features hold, without any training loop."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import UNLABELLED


def linear_probe(
    features: Tensor, masks: NDArray[np.uint8], new_features: Tensor, ridge: float = 1e-2
) -> NDArray[np.uint8]:
    """Predict the foreground of new features by ridge regression, [M, H, W]; 1 = foreground.

    Args:
        features: [N, C, h, w] of one block, to fit at that resolution.
        masks: [N, H, W] of the same images; foreground where > 0, 255 = unlabelled.
        new_features: [M, C, h, w].
        ridge: weight of the penalty.
    """
    channels, side = features.shape[1], masks.shape[-1]
    labelled = _area(masks != UNLABELLED, features)  # [N h w, 1]: shares of a block's pixel
    target = _area((masks > 0) & (masks != UNLABELLED), features)
    x, mean, scale = _standardised(features)
    design = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    gram = design.T @ (labelled * design) + ridge * len(x) * torch.eye(channels + 1, dtype=torch.float64)
    weights = torch.linalg.solve(gram, design.T @ (target - 0.5 * labelled))
    rows = (new_features.permute(0, 2, 3, 1).double() - mean) / scale @ weights[:-1] + weights[-1]
    scores = F.interpolate(rows.permute(0, 3, 1, 2), size=(side, side), mode="bilinear", align_corners=False)
    return (scores[:, 0] > 0).to(torch.uint8).numpy()


def _area(pixels: NDArray[np.bool_], features: Tensor) -> Tensor:
    share = torch.from_numpy(pixels)[:, None].double()
    return F.interpolate(share, size=features.shape[-2:], mode="area").reshape(-1, 1)


def _standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1]).double()
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    return (rows - mean) / scale, mean, scale
