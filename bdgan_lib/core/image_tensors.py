"""The one place where a value range is converted: tensors in [-1, 1] and uint8 pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import BdganError


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """[B, 3, H, W] float in [-1, 1] -> uint8 [B, H, W, 3]; rounds, and clips what lies outside.

    Raises BdganError for another shape, and for NaN (a generator that was never initialised returns it).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise BdganError(f"images came as {list(images.shape)}; wanted [B, 3, H, W] in [-1, 1]")
    pixels = (images.detach().float() + 1.0) * 127.5
    if torch.isnan(pixels).any():
        raise BdganError("images hold NaN; wanted [-1, 1]: check that the generator's weights are loaded")
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, H, W, 3] or [H, W, 3] -> float32 [B, 3, H, W] in [-1, 1]; `to_uint8` inverts it."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise BdganError(
            f"images came as {images.dtype} {list(images.shape)}; wanted uint8 [B, H, W, 3] or [H, W, 3]"
        )
    batch = torch.tensor(np.ascontiguousarray(images if images.ndim == 4 else images[None]))
    return (batch.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous()
