"""One CPU with the interface of several devices, for the trainings that need no more."""

from __future__ import annotations  # Fabric is named in types alone: it takes seconds to import

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Devices: TypeAlias = "Fabric | SingleCPU"


class SingleCPU:
    """What trainings use of Lightning's Fabric, on one CPU in float32; the weights are bit-equal."""

    device = torch.device("cpu")
    world_size, global_rank, is_global_zero = 1, 0, True

    def setup(self, module: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> Any:
        """The network and its optimisers, as they are."""
        return module, *optimizers

    def all_reduce(self, loss: Tensor) -> Tensor:
        """The mean over the one device."""
        return loss

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        loss.backward()

    def rank_zero_first(self) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return nullcontext()
