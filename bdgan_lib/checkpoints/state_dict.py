"""State dicts: a fingerprint of weights, and what does not fit between two of them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import torch

from bdgan_lib.core.types import BdganError


def weights_sha256(network: torch.nn.Module, about: str = "") -> str:
    """The sha256 of `about` and of all weights and buffers by name, whatever their device and layout."""
    digest = sha256(about.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def mismatches(expected: Mapping[str, Sequence[int]], actual: Mapping[str, Sequence[int]]) -> str:
    """Compare two mappings key -> shape: which are missing, surplus or of another shape; "" if all fit."""
    kinds = {
        "missing": sorted(expected.keys() - actual.keys()),
        "surplus": sorted(actual.keys() - expected.keys()),
        "of another shape": [
            f"{key} {list(actual[key])} instead of {list(expected[key])}"
            for key in sorted(expected.keys() & actual.keys())
            if list(actual[key]) != list(expected[key])
        ],
    }
    return "; ".join(f"{kind}: {_some(keys)}" for kind, keys in kinds.items() if keys)


def _some(keys: Sequence[str], most: int = 12) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def load_strict(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """Put copies of tensors into a network, floating-point ones as float32; it may be on "meta".

    Raises:
        BdganError: keys are missing, surplus or of another shape. `what` (file and configuration) begins the
            message.
    """
    wrong = mismatches(
        {key: value.shape for key, value in network.state_dict().items()},
        {key: value.shape for key, value in tensors.items()},
    )
    if wrong:
        raise BdganError(f"{what} does not fit: {wrong}")
    network.load_state_dict({key: float32_copy(value) for key, value in tensors.items()}, assign=True)


def float32_copy(x: torch.Tensor) -> torch.Tensor:
    """A copy in new memory, floating-point as float32; in a mapped file, alignment changes how sums round."""
    dtype = torch.float32 if x.is_floating_point() else x.dtype
    return x.to(dtype, copy=True, memory_format=torch.contiguous_format)
