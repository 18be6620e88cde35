"""How sums are rounded: where bfloat16 pays, and one thread where bytes must not depend on their number."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bdgan_lib.core.types import BdganError


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether the device computes with bfloat16."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "cpu" and torch.cpu._is_avx512_bf16_supported())


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device computes with it, else float32: emulated, bfloat16 is many times slower."""
    return torch.bfloat16 if bf16_is_fast(device) else torch.float32


def require_fast_bf16(device: torch.device | str) -> None:
    """Raise BdganError unless the device computes with bfloat16."""
    if not bf16_is_fast(device):
        raise BdganError(f"this machine's {device} does not compute in bfloat16; leave bf16 out")


def autocast(device: torch.device | str) -> torch.autocast:
    """A context in which convolutions and products run in bfloat16 if the device does that fast."""
    kind = torch.device(device).type
    return torch.autocast(kind if kind == "cuda" else "cpu", torch.bfloat16, enabled=bf16_is_fast(device))


def autocasts(x: torch.Tensor) -> bool:
    """Whether convolutions and products of this tensor run in autocast's precision here."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums of several round otherwise, and a data set has one set of bytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
