"""Where bfloat16 pays: on GPUs, and on CPUs that compute with it."""

import torch


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether the device computes with bfloat16."""
    kind = torch.device(device).type
    return kind == "cuda" or (kind == "cpu" and torch.cpu._is_avx512_bf16_supported())


def autocast(device: torch.device | str) -> torch.autocast:
    """A context in which convolutions and products run in bfloat16 if the device does that fast."""
    kind = torch.device(device).type
    return torch.autocast(kind if kind == "cuda" else "cpu", torch.bfloat16, enabled=bf16_is_fast(device))
