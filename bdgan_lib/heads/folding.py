"""Weights that a head computes from its parameters, kept while those stay as they are."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bdgan_lib.core.precision import autocasts

_State = tuple[object, ...]


class Folding(nn.Module):
    """A module that computes some of its weights from its parameters, once in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self._folded: dict[str, tuple[_State, list[Tensor], tuple[Tensor, ...]]] = {}

    def folded(
        self, name: str, sources: Sequence[Tensor], compute: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """What `compute` returns from the tensors `sources`; kept in eval mode until one of them changes.

        A change is another tensor or an in-place operation on one; autograd counts those, but not such on
        `parameter.data`: call `train()` after one. Nothing is kept where gradients are recorded.
        """
        if self.training or torch.is_grad_enabled() or any(x.is_inference() for x in sources):
            return compute()
        state = (autocasts(sources[0]), *((x.data_ptr(), x._version, x.dtype, x.device) for x in sources))
        if name not in self._folded or self._folded[name][0] != state:
            # the detached sources keep their addresses from reuse
            self._folded[name] = state, [x.detach() for x in sources], compute()
        return self._folded[name][2]

    def train(self, mode: bool = True) -> "Folding":
        """Switch between training and eval mode; training drops what is kept."""
        if mode:
            self._folded.clear()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_folded": {}}  # copies and other processes compute their own
