"""Spectral norm as BigGAN-PyTorch stores it: a plain weight and a vector that estimates its norm."""

import torch.nn.functional as F
from torch import Tensor


def spectrally_normalized(weight: Tensor, u: Tensor, eps: float = 1e-4) -> Tensor:
    """Weight [O, ...] over its spectral norm, which half a power iteration from u [1, O] estimates.

    As in evaluation mode there: v = u W, u' = v W^T, each of length one, and the norm is v W^T u'^T.
    """
    matrix = weight.flatten(1)
    v = F.normalize(u @ matrix, eps=eps)
    u = F.normalize(v @ matrix.T, eps=eps)
    return weight / (v @ matrix.T @ u.T).squeeze()
