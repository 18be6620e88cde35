"""Feature maps as pictures: principal components as colours, clusters as labels."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor


def pca_colours(features: Tensor) -> NDArray[np.uint8]:
    """The three main directions of features [N, C, H, W] as red, green, blue: [N, H, W, 3].

    One basis for all N images, so that a colour means the same everywhere.
    """
    n, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(-1, c).float()
    flat = flat - flat.mean(0)
    _, _, basis = torch.linalg.svd(flat[:: max(1, len(flat) // 20_000)], full_matrices=False)
    basis = basis[:3] * torch.where(basis[:3].sum(1, keepdim=True) < 0, -1.0, 1.0)  # a fixed sign
    scores = flat @ basis.T
    low, high = np.quantile(scores.numpy(), [0.02, 0.98], axis=0)
    colours = np.clip((scores.numpy() - low) / (high - low + 1e-9), 0, 1)
    return (255 * colours).round().astype(np.uint8).reshape(n, h, w, 3)


def clusters(features: Tensor, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """k-means labels 1 .. count of features [N, C, H, W], [N, H, W]; all images share the clusters."""
    n, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(-1, c).float()
    rows = ((flat - flat.mean(0)) / (flat.std(0) + 1e-3)).numpy()
    _, labels = kmeans2(rows, count, iter=15, minit="++", rng=seed)
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")  # the largest cluster is 1
    return (np.argsort(order)[labels] + 1).astype(np.uint8).reshape(n, h, w)
