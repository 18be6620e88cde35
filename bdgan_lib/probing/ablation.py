"""Ablation: what becomes of an image without some units of a block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.types import UNLABELLED, BdganError


class Network(Protocol):
    """The part of a generator that ablation needs."""

    blocks: dict[str, tuple[int, int]]

    def module(self, block: str) -> nn.Module:
        """The module whose output is that block's feature."""
        ...


@contextmanager
def ablated(generator: Network, block: str, units: Sequence[int]) -> Iterator[None]:
    """Set units of a block to 0 in all that the generator makes while the context is open.

        with ablated(generator, "block4", [3, 17]):
            sample = generator.sample(class_ids, seeds)

    The rest of the generator runs on what is left (Bau et al., "GAN dissection", 2019).

    Raises:
        BdganError: there is no such block or unit.
    """
    module = generator.module(block)
    channels = generator.blocks[block][0]
    if any(not 0 <= unit < channels for unit in units):
        raise BdganError(f"expected units 0 to {channels - 1} of {block}, got {list(units)}")
    chosen = torch.tensor(list(units), dtype=torch.int64)

    def without(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.index_fill(1, chosen.to(output.device), 0.0)

    hook = module.register_forward_hook(without)
    try:
        yield
    finally:
        hook.remove()


def lost(before: NDArray[np.uint8], after: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.float64]:
    """The share of each label's pixels in masks `before` [N, H, W] that have another label `after`, [labels].

    Pixels that are unlabelled (255) in either do not count.

    Raises:
        BdganError: no pixel has one of the labels before.
    """
    counted = (before != UNLABELLED) & (after != UNLABELLED)
    shares = []
    for label in labels:
        of_label = counted & (before == label)
        if not of_label.any():
            raise BdganError(f"no pixel has label {label} before; give labels that occur")
        shares.append(float((after[of_label] != label).mean()))
    return np.array(shares)
