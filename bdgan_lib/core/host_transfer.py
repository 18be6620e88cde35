"""Tensors of a device as arrays, in one transfer."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_host(tensors: Sequence[Tensor]) -> list[NDArray[np.generic]]:
    """Arrays of tensors on one device: their bytes are joined there and come over together.

    From a CUDA device they come through pinned memory. On a CPU nothing is copied.
    """
    if all(x.device.type == "cpu" for x in tensors):
        return [x.numpy() for x in tensors]
    joined = join_bytes(tensors)
    if joined.device.type == "cuda":
        host = torch.empty(joined.shape, dtype=torch.uint8, pin_memory=True)
        host.copy_(joined, non_blocking=True)
        torch.cuda.current_stream(joined.device).synchronize()
        return split_bytes(host.numpy().copy(), tensors)  # pinned memory is scarce: it is free again at once
    return split_bytes(joined.cpu().numpy(), tensors)


def join_bytes(tensors: Sequence[Tensor]) -> Tensor:
    """The bytes of tensors on one device, one after the other, [N] uint8."""
    return torch.cat([x.contiguous().reshape(-1).view(torch.uint8) for x in tensors])


def split_bytes(joined: NDArray[np.uint8], tensors: Sequence[Tensor]) -> list[NDArray[np.generic]]:
    """Arrays of the shapes and types of `tensors`, from the bytes that `join_bytes` made of them."""
    sizes = [x.numel() * x.element_size() for x in tensors]
    ends = np.cumsum(sizes)
    kinds = [torch.empty(0, dtype=x.dtype).numpy().dtype for x in tensors]
    return [
        joined[end - size : end].view(kind).reshape(tuple(x.shape))
        for end, size, kind, x in zip(ends, sizes, kinds, tensors, strict=True)
    ]
