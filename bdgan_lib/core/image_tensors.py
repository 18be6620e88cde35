"""The one place that converts between tensors in [-1, 1] and uint8 pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import BdganError


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """uint8 pixels [B, H, W, 3] of float images [B, 3, H, W] in [-1, 1]: rounded, values outside clipped.

    Raises:
        BdganError: another shape, or NaN (an uninitialised generator returns it).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise BdganError(f"expected images [B, 3, H, W] in [-1, 1], got {list(images.shape)}")
    pixels = (images.detach().float() + 1.0).mul_(127.5)
    if pixels.numel() and pixels.amax().isnan():
        raise BdganError("expected images in [-1, 1], got NaN; check that the generator's weights are loaded")
    pixels = pixels.round_().clamp_(0, 255).to(torch.uint8, memory_format=torch.channels_last)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(
    images: NDArray[np.uint8], memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """float32 images [B, 3, H, W] in [-1, 1] of uint8 [B, H, W, 3] or [H, W, 3]; the inverse of `to_uint8`.

    torch.channels_last keeps the pixels in the order they have, which saves a copy.

    Raises:
        BdganError: another shape or dtype.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise BdganError(
            f"expected uint8 images [B, H, W, 3] or [H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    batch = torch.tensor(np.ascontiguousarray(images if images.ndim == 4 else images[None]))
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous(memory_format=memory_format)
