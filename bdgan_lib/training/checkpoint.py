"""Checkpoints of a training: the state of its parts and its losses, written whole or not at all."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import BdganError


class Stateful(Protocol):
    """A network, an optimizer, a schedule."""

    def state_dict(self) -> Any:
        """The state to save."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore a saved state."""


@dataclass(frozen=True)
class Checkpoint:
    """One file for the parts of a training and the losses of its steps so far."""

    path: Path
    training: str  # fingerprint of everything the training depends on
    parts: Mapping[str, Stateful]

    def save(self, losses: list[float]) -> None:
        """Write the file."""
        data = io.BytesIO()
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({"training": self.training, "losses": losses, **state}, data)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, data.getvalue())

    def resume(self) -> list[float]:
        """Restore the parts from the file and return the losses so far; without a file, an empty list.

        Raises:
            BdganError: the file is unreadable or of another training.
        """
        if not self.path.exists():
            return []
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            training = state["training"]
        except Exception as error:  # torch, zipfile and pickle each raise their own
            raise BdganError(
                f"checkpoint {self.path} is unreadable ({type(error).__name__}); remove it to start anew"
            ) from error
        if training != self.training:
            raise BdganError(
                f"checkpoint {self.path} is of another training; remove it, or use that one's settings"
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            return list(map(float, state["losses"]))
        except Exception as error:  # every part raises its own
            raise BdganError(
                f"checkpoint {self.path} is damaged ({error!r:.100}); remove it to start anew"
            ) from error
