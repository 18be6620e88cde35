"""Checkpoints: of a training, written whole or not at all; of others, compared with what they should hold."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch

from bdgan_lib.images import write_atomic
from bdgan_lib.types import BdganError


class Stateful(Protocol):
    """A network, an optimizer, a schedule."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


@dataclass(frozen=True)
class Checkpoint:
    """One file for the parts of a training and the losses of its steps so far."""

    path: Path
    training: str  # fingerprint of everything the training depends on
    parts: Mapping[str, Stateful]

    def save(self, losses: list[float]) -> None:
        data = io.BytesIO()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"training": self.training, "losses": losses, **state}, data)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, data.getvalue())

    def resume(self) -> list[float]:
        """Bring the parts to where the file left them; the losses so far, none without a file."""
        if not self.path.exists():
            return []
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            training = state["training"]
        except Exception as error:  # torch, zipfile and pickle each raise their own
            raise BdganError(
                f"checkpoint {self.path} is unreadable ({error}); remove it to start anew"
            ) from error
        if training != self.training:
            raise BdganError(
                f"checkpoint {self.path} is of another training; remove it, or use that one's settings"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return list(state["losses"])


def weights_sha256(network: torch.nn.Module, about: str = "") -> str:
    """Of weights and buffers with their names, after a text; wherever they lie and in whichever layout."""
    digest = sha256(about.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def misfits(wanted: Mapping[str, Sequence[int]], came: Mapping[str, Sequence[int]]) -> str:
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
