"""Random views of a batch of images: crop, flip, colour jitter, grey, blur (SimCLR, appendix A)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
_TAPS = torch.arange(-2.0, 3.0)  # of the blur


@dataclass(frozen=True)
class ViewConfig:
    """Strengths of the augmentation; the papers' values are for 224 pixels and long training."""

    side: int = 48  # pixels; paper: 224
    smallest: float = 0.2  # least share of the image's area in a crop; paper: 0.08, MoCo: 0.2
    stretch: float = 4 / 3  # largest ratio of a crop's sides
    flip: float = 0.5  # share of the views that are mirrored
    brightness: float = 0.4  # factor from 1 - x to 1 + x; so are contrast and saturation
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # turns, to either side
    coloured: float = 0.8  # share whose colours change
    grey: float = 0.2  # share
    blur: float = 0.5  # share
    largest_blur: float = 1.0  # standard deviation in pixels of the view; paper: 2


def identity(side: int) -> ViewConfig:
    """Settings without augmentation: views are the images resized to `side`."""
    return ViewConfig(side, 1.0, 1.0, **dict.fromkeys(
        ("flip", "brightness", "contrast", "saturation", "hue", "coloured", "grey", "blur"), 0.0
    ))  # fmt: skip


@dataclass(frozen=True)
class Views:
    """One view of each of B images."""

    images: Tensor  # [B, 3, S, S] in [-1, 1]
    frames: Tensor  # [B, 2, 3]; maps (x, y, 1) in the view to (x, y) in the image, both in [-1, 1]


def draw_views(images: Tensor, config: ViewConfig, stream: torch.Generator) -> Views:
    """A random view of every image [B, 3, H, W] in [-1, 1]; the stream is the only source of randomness."""
    frames = _frames(len(images), config, stream)
    size = [len(images), 3, config.side, config.side]
    grid = F.affine_grid(frames, size, align_corners=False)
    x = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return Views(_blurred(_coloured(x, config, stream), config, stream), frames)


def through(points: Tensor, frames: Tensor) -> Tensor:
    """Points [B, P, 2] of views -> their positions in the images."""
    return points @ frames[:, :, :2].mT + frames[:, None, :, 2]


def back(points: Tensor, frames: Tensor) -> Tensor:
    """Points [B, P, 2] of images -> their positions in views; points in [-1, 1] are inside a view."""
    scale = frames[:, :, :2].diagonal(dim1=1, dim2=2)
    return (points - frames[:, None, :, 2]) / scale[:, None]


def _frames(count: int, config: ViewConfig, stream: torch.Generator) -> Tensor:
    area, ratio, x, y, flip = torch.rand(5, count, generator=stream)
    area = config.smallest + (1 - config.smallest) * area
    ratio = torch.exp((2 * ratio - 1) * math.log(config.stretch) / 2)
    width, height = ((area.sqrt() * r).clamp(max=1) for r in (ratio, 1 / ratio))
    mirrored = torch.where(flip < config.flip, -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [width * mirrored, zero, (2 * x - 1) * (1 - width), zero, height, (2 * y - 1) * (1 - height)]
    return torch.stack(rows, 1).view(count, 2, 3)


def _coloured(x: Tensor, config: ViewConfig, stream: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, hue (a turn about the grey axis) and grey are all one linear map."""
    draws = torch.rand(6, len(x), generator=stream)
    chosen = (draws[4] < config.coloured).float()
    strengths = (config.brightness, config.contrast, config.saturation, 2 * math.pi * config.hue)
    b, c, s, turn = ((2 * d - 1) * strength * chosen for d, strength in zip(draws, strengths, strict=False))
    grey = (draws[5] < config.grey).float()
    b, c, s, turn, grey = (v[:, None, None] for v in (1 + b, 1 + c, 1 + s, turn, 1 - grey))
    eye, to_grey = torch.eye(3), _LUMA.expand(3, 3)
    axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = turn.cos() * eye + (1 - turn.cos()) / 3 + turn.sin() * axis
    mix = _towards(to_grey, grey) @ hue @ _towards(to_grey, s)
    y = (x + 1) / 2
    mean = torch.einsum("c,bchw->b", _LUMA, y) / y[0, 0].numel()
    y = torch.baddbmm((1 - c) * b * mean[:, None, None], b * c * mix, y.flatten(2)).view_as(x)
    return (2 * y - 1).clamp(-1, 1)


def _towards(target: Tensor, amount: Tensor) -> Tensor:
    """[B, 3, 3]: the identity where the amount is 1, the target where it is 0."""
    return target + amount * (torch.eye(3) - target)


def _blurred(x: Tensor, config: ViewConfig, stream: torch.Generator) -> Tensor:
    chosen, sigma = torch.rand(2, len(x), generator=stream)
    picked = chosen < config.blur
    if not picked.any():
        return x
    sigma = 0.1 + (config.largest_blur - 0.1) * sigma[picked]
    kernels = torch.softmax(-0.5 * (_TAPS / sigma[:, None]) ** 2, 1).repeat_interleave(3, 0)  # [3N, 5]
    planes = F.pad(x[picked].view(1, -1, *x.shape[2:]), (2, 2, 2, 2), mode="replicate")
    planes = F.conv2d(planes, kernels[:, None, :, None], groups=len(kernels))
    planes = F.conv2d(planes, kernels[:, None, None, :], groups=len(kernels))
    x[picked] = planes.view(-1, *x.shape[1:])
    return x
