"""Where bfloat16 pays: on GPUs, and on CPUs that compute with it."""

import torch


def autocast(device: torch.device | str) -> torch.autocast:
    """A context in which convolutions and products run in bfloat16 if the device does that fast."""
    kind = torch.device(device).type
    fast = kind == "cuda" or (kind == "cpu" and torch.cpu._is_avx512_bf16_supported())
    return torch.autocast(kind if kind in ("cpu", "cuda") else "cpu", torch.bfloat16, enabled=fast)
