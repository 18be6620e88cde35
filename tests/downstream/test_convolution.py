"""A convolution by products is the convolution: maps and both gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bdgan_lib.core.precision import autocast, bf16_is_fast
from bdgan_lib.downstream.convolution import Convolution, convolve


@pytest.mark.parametrize(
    ("side", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (3, 1, 0)]
)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_maps_and_gradients_are_those_of_conv2d(side, stride, padding, memory_format):
    noise = torch.Generator().manual_seed(0)
    results = []
    x = torch.randn(2, 5, 7, 9, generator=noise, dtype=torch.float64)
    weight = torch.randn(4, 5, side, side, generator=noise, dtype=torch.float64)
    for function in (F.conv2d, convolve):
        a = x.clone().contiguous(memory_format=memory_format).requires_grad_()
        b = weight.clone().requires_grad_()
        y = function(a, b, stride=stride, padding=padding)
        y.square().sum().backward()
        results.append((y.detach(), a.grad, b.grad))
    for expected, result in zip(*results, strict=True):
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", [4, 80])  # small maps take the products, large ones do not
def test_a_layer_learns_as_pytorchs_does(size):
    torch.manual_seed(0)
    layer, x = Convolution(64, 64, 3, padding=1, bias=False), torch.randn(2, 64, size, size)
    gradients = []
    for kind in (nn.Conv2d, Convolution):
        layer.__class__ = kind
        layer.weight.grad = None
        with autocast("cpu"):
            y = layer(x)
        y.float().square().mean().backward()
        gradients.append(layer.weight.grad)
    largest = gradients[0].abs().max().item()
    torch.testing.assert_close(*gradients, atol=(2e-2 if bf16_is_fast("cpu") else 1e-5) * largest, rtol=0)
