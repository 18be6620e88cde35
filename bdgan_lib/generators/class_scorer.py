"""A classifier as a judge: how sure it is of each image's own class."""

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import weights_sha256


class NetworkScorer:
    """A classification network and what its input must look like.

    prepare: images [B, H, W, 3] uint8 -> the network's input [B, 3, h, w]; a function that can be pickled.
    """

    def __init__(
        self, network: nn.Module, prepare: Callable[[NDArray[np.uint8]], Tensor], batch_size: int = 100
    ) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.prepare, self.batch_size = prepare, batch_size
        self.device = next(network.parameters(), torch.empty(0)).device

    def to(self, device: torch.device | str) -> "NetworkScorer":
        """Itself, computing on this device from now on: on a CPU beside a GPU it takes most of the time."""
        self.network.to(device)
        self.device = torch.device(device)
        return self

    @cached_property
    def sha256(self) -> str:
        """Of the weights."""
        return weights_sha256(self.network)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """The probability of each image's own class, [N]."""
        found = []
        for first in range(0, len(images), self.batch_size):
            x = self.prepare(images[first : first + self.batch_size]).to(self.device)
            found.append(self.network(x.contiguous(memory_format=torch.channels_last)).float().softmax(1))
        return torch.cat(found).cpu().numpy()[np.arange(len(images)), class_ids]


class ClassScorer(Protocol):
    """A classifier that says how recognisable a sample is."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    def __call__(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Images [B, H, W, 3] and their classes -> the probability of each one's own class, [B]."""
