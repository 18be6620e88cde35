"""Feature maps as pictures: principal components as colours, clusters as labels."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor


def main_directions(features: Tensor) -> tuple[Tensor, list[float]]:
    """Scores of features [N, C, H, W] on three main directions, [N, 3, H, W], and their variance shares.

    One basis for all N images. Of the two signs that a direction could have, its entries sum to 0 or more.
    """
    rows = _rows(features)
    centred = rows - rows.mean(0)
    variances, basis = torch.linalg.eigh((centred.T @ centred).double())  # ascending
    basis = basis[:, -3:].flip(1)
    basis = torch.where(basis.sum(0) < 0, -basis, basis).float()
    n, _, h, w = features.shape
    scores = (centred @ basis).reshape(n, h, w, 3).permute(0, 3, 1, 2)
    return scores, (variances[-3:].flip(0) / variances.sum()).tolist()


def pca_colours(features: Tensor) -> NDArray[np.uint8]:
    """The three main directions of features [N, C, H, W] as red, green, blue: [N, H, W, 3].

    One basis and one range for all N images, so that a colour means the same everywhere.
    """
    scores = main_directions(features)[0].permute(0, 2, 3, 1).numpy()
    low, high = np.quantile(scores, [0.02, 0.98], axis=(0, 1, 2))
    return (255 * np.clip((scores - low) / (high - low + 1e-9), 0, 1)).round().astype(np.uint8)


def clusters(features: Tensor, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """k-means labels 1 .. count of features [N, C, H, W], [N, H, W]; all images share the clusters."""
    n, _, h, w = features.shape
    rows = _rows(features)
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-3)
    _, labels = kmeans2(rows.numpy(), count, iter=15, minit="++", rng=seed)
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")  # the largest cluster is 1
    return (np.argsort(order)[labels] + 1).astype(np.uint8).reshape(n, h, w)


def _rows(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N H W, C], in the machine's own memory."""
    return features.cpu().permute(0, 2, 3, 1).reshape(-1, features.shape[1]).float()
