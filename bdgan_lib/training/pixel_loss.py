"""Cross-entropy of pixels whose logits lie label by label: fewer passes over memory than PyTorch's."""

from typing import Any

import torch
from torch import Tensor

from bdgan_lib.core.types import UNLABELLED


def cross_entropy_by_label(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy (nats) of the labelled pixels, computed in float32; it equals F.cross_entropy.

    Args:
        logits: [K, N], float32 or bfloat16; the gradient has the same type.
        targets: [N] int64 labels below K; 255 is ignored.
    """
    return _CrossEntropy.apply(logits, targets)  # type: ignore[no-any-return, no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        labelled = targets != UNLABELLED
        index = torch.where(labelled, targets, 0)[None]
        share = labelled / labelled.sum()  # of each pixel in the mean
        x = logits.to(torch.float32, copy=True)
        x -= x.amax(0)
        at_target = x.gather(0, index)[0]
        total = x.exp_().sum(0)
        x *= share / total
        x.scatter_add_(0, index, -share[None])
        ctx.save_for_backward(x.to(logits.dtype))
        return ((total.log() - at_target) * share).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        [slope] = ctx.saved_tensors
        return slope * gradient.to(slope.dtype), None
