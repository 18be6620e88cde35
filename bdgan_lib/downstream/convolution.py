"""A convolution whose weights' gradient on small maps is a matrix product, which CPUs compute faster."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_WEIGHTS_PER_PIXEL = 8  # with fewer weights per output pixel of the batch, the product is slower


class Convolution(nn.Conv2d):
    """nn.Conv2d without bias or groups; under autocast to bfloat16 on a CPU its backward pass is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps [B, C, H, W] -> [B, outputs, H', W']."""
        pixels = len(input) * input.shape[2] * input.shape[3] // (self.stride[0] * self.stride[1])
        small = self.weight.numel() >= _WEIGHTS_PER_PIXEL * pixels and self.dilation == (1, 1)
        if not (small and torch.is_grad_enabled() and input.is_cpu and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        return convolve(input.bfloat16(), self.weight.bfloat16(), self.stride[0], int(self.padding[0]))


def convolve(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """F.conv2d without bias, whose gradient of the weights is one matrix product.

    Args:
        x: maps [B, C, H, W] of the weights' type; fastest in the memory format channels_last.
        weight: [outputs, C, side, side].
        stride: of both axes, as `padding`.
        padding: zeros on each side.
    """
    return _ByProducts.apply(x, weight, stride, padding)  # type: ignore[no-any-return, no-untyped-call]


class _ByProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        outputs, inputs, side, _ = weight.shape
        by_pixel = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
        windows = _windows(x, side, ctx.stride, ctx.padding)
        of_weight = (by_pixel.T @ windows).view(outputs, side, side, inputs).permute(0, 3, 1, 2)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [ctx.stride] * 2, [ctx.padding] * 2, [1, 1], False, [0, 0], 1,
                [True, False, False],
            )[0]  # fmt: skip
        return of_x, of_weight, None, None


def _windows(x: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """The pixels under each position of the kernel: [B, C, H, W] -> [B * H' * W', side * side * C]."""
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    batch, height, width, channels = x.shape
    of_image, of_row, of_pixel, _ = x.stride()
    rows, columns = (height - side) // stride + 1, (width - side) // stride + 1
    windows = x.as_strided(
        (batch, rows, columns, side, side * channels),
        (of_image, stride * of_row, stride * of_pixel, of_row, 1),
    )
    return windows.reshape(-1, side * side * channels)
