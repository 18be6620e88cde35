"""DiffAugment: augmentation of what a discriminator sees, real and generated (Zhao et al. 2020).

Gradients pass through it to the generator, so augmented images do not leak into its samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 0.125  # largest translation, as a share of the side
CUTOUT = 0.5  # side of the square that is cut out, as a share of the image's


def diff_augment(images: Tensor) -> Tensor:
    """Changes colour, place and completeness of every image, each at random.

    Args:
        images: [B, 3, S, S] in [-1, 1].

    Returns:
        As many images; colours may leave the range.
    """
    count, side = len(images), images.shape[-1]
    uniform = lambda: torch.rand(count, 1, 1, 1).to(images.device)
    most, size = round(SHIFT * side), round(CUTOUT * side)
    shifts = torch.randint(-most, most + 1, (2, count)).to(images.device)
    corners = torch.randint(-(size // 2), side - size // 2 + 1, (2, count)).to(images.device)
    coloured = recoloured(images, uniform() - 0.5, 2 * uniform(), 0.5 + uniform())
    return cut_out(translated(coloured, shifts), corners, size)


def recoloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Adds brightness, then scales distances to each pixel's grey, then to the image's mean.

    Args:
        images: [B, 3, S, S].
        brightness: [B, 1, 1, 1]; DiffAugment draws it from -0.5 to 0.5.
        saturation: [B, 1, 1, 1], from 0 to 2.
        contrast: [B, 1, 1, 1], from 0.5 to 1.5.
    """
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def translated(images: Tensor, shifts: Tensor) -> Tensor:
    """Moves every image down and to the right by whole pixels; what comes in is zero.

    Args:
        images: [B, 3, S, S].
        shifts: pixels down and to the right [2, B], each less than S in magnitude.
    """
    count, channels, side, _ = images.shape
    most = int(shifts.abs().max()) if shifts.numel() else 0
    padded = F.pad(images, [most] * 4)
    places = torch.arange(side, device=images.device) + most - shifts[..., None]  # [2, B, S]
    rows = places[0].view(count, 1, side, 1).expand(-1, channels, -1, padded.shape[-1])
    columns = places[1].view(count, 1, 1, side).expand(-1, channels, side, -1)
    return padded.gather(2, rows).gather(3, columns)


def cut_out(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Sets a square of every image to zero.

    Args:
        images: [B, 3, S, S].
        corners: row and column [2, B] where each square begins; parts outside the image are nothing.
        size: of the squares, in pixels.
    """
    places = torch.arange(images.shape[-1], device=images.device) - corners[..., None]  # [2, B, S]
    inside = (places >= 0) & (places < size)
    return images * ~(inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)
