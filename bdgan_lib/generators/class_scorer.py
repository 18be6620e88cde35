"""Class scorers: how sure a classifier is of each image's own class."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import weights_sha256


class ClassScorer(Protocol):
    """A classifier that says how recognisable a sample is."""

    @property
    def sha256(self) -> str:
        """The sha256 of its weights."""

    def __call__(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Images [B, H, W, 3] and their classes [B] -> the probability of each image's class, [B]."""


class NetworkScorer:
    """A `ClassScorer` from a classification network.

    Args:
        network: inputs -> logits [B, classes].
        prepare: images [B, H, W, 3] uint8 -> the network's input [B, 3, h, w]; it must be picklable.
        batch_size: images per forward pass.
        takes_tensors: `prepare` takes images in a tensor too, and works on its device.
    """

    def __init__(
        self,
        network: nn.Module,
        prepare: Callable[[Any], Tensor],
        batch_size: int = 100,
        takes_tensors: bool = False,
    ) -> None:
        self.network: nn.Module = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
        self.prepare, self.batch_size, self.takes_tensors = prepare, batch_size, takes_tensors
        self.device = next(network.parameters(), torch.empty(0)).device

    def to(self, device: torch.device | str) -> "NetworkScorer":
        """Move the network to a device and return the scorer."""
        self.network.to(device)
        self.device = torch.device(device)
        return self

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the weights."""
        return weights_sha256(self.network)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Images [N, H, W, 3] and their classes [N] -> the probability of each image's class, [N]."""
        scores = self._probabilities(images).cpu().numpy()[np.arange(len(images)), class_ids]
        return cast(NDArray[np.float32], scores)

    @torch.inference_mode()
    def score_tensors(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """As a call, of images and classes in tensors on the network's device; so is the result."""
        return self._probabilities(images).gather(1, class_ids[:, None])[:, 0]

    def _probabilities(self, images: NDArray[np.uint8] | Tensor) -> Tensor:
        probabilities = []
        for first in range(0, len(images), self.batch_size):
            x = self.prepare(images[first : first + self.batch_size]).to(self.device)
            logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
            probabilities.append(logits.float().softmax(1))
        return torch.cat(probabilities)
