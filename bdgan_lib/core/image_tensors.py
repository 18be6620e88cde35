"""The one place that converts between tensors in [-1, 1] and uint8 pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.types import BdganError

NAN = "expected images in [-1, 1], got NaN; check that the generator's weights are loaded"


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """uint8 pixels [B, H, W, 3] of float images [B, 3, H, W] in [-1, 1]: rounded, values outside clipped.

    Raises:
        BdganError: another shape, or NaN (an uninitialised generator returns it).
    """
    pixels = to_pixels(images)
    if images.numel() and images.amax().isnan():
        raise BdganError(NAN)
    return pixels.cpu().numpy()


def to_pixels(images: Tensor) -> Tensor:
    """As `to_uint8`, but a tensor on the images' device, and NaN gives any pixel."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise BdganError(f"expected images [B, 3, H, W] in [-1, 1], got {list(images.shape)}")
    pixels = (images.detach().float() + 1.0).mul_(127.5).round_().clamp_(0, 255)
    return pixels.to(torch.uint8, memory_format=torch.channels_last).permute(0, 2, 3, 1).contiguous()


def from_uint8(
    images: NDArray[np.uint8] | Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """float32 images [B, 3, H, W] in [-1, 1] of uint8 [B, H, W, 3] or [H, W, 3]; the inverse of `to_uint8`.

    Images in a tensor stay on its device. torch.channels_last keeps the pixels' order, which saves a copy.

    Raises:
        BdganError: another shape or dtype.
    """
    if not isinstance(images, Tensor):
        images = np.asarray(images)
    if images.dtype not in (np.uint8, torch.uint8) or images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise BdganError(
            f"expected uint8 images [B, H, W, 3] or [H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    batch = images if images.ndim == 4 else images[None]
    if not isinstance(batch, Tensor):
        batch = torch.tensor(np.ascontiguousarray(batch))
    return batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous(memory_format=memory_format)
