"""State dicts: a fingerprint of weights, and what does not fit between two of them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import torch


def weights_sha256(network: torch.nn.Module, about: str = "") -> str:
    """Of weights and buffers with their names, after a text; wherever they lie and in whichever layout."""
    digest = sha256(about.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def mismatches(wanted: Mapping[str, Sequence[int]], came: Mapping[str, Sequence[int]]) -> str:
    """Keys that are missing, surplus or of another shape, by kind; empty if all fit. Key -> shape."""
    kinds = {
        "missing": sorted(wanted.keys() - came.keys()),
        "surplus": sorted(came.keys() - wanted.keys()),
        "of another shape": [
            f"{key} {list(came[key])} instead of {list(wanted[key])}"
            for key in sorted(wanted.keys() & came.keys())
            if list(came[key]) != list(wanted[key])
        ],
    }
    return "; ".join(f"{kind}: {_some(keys)}" for kind, keys in kinds.items() if keys)


def _some(keys: Sequence[str], most: int = 12) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
