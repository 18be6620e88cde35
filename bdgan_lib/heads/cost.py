"""Estimates FLOPs, weights and training memory of a label head without running it, on "meta" tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from bdgan_lib.checkpoints.state_dict import meta_device
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.label_head import build_head


@dataclass(frozen=True)
class Cost:
    """Cost of one head."""

    flops: int  # per image; a multiplication and an addition count as two
    parameters: int
    step_bytes: int  # what a training step keeps for its backward pass, with the features of its batch

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:,.2f} GFLOP per image, {self.parameters / 1e3:,.0f} k weights, "
            f"{self.step_bytes / 1e6:,.0f} MB per training step"
        )


def head_cost(config: HeadConfig, batch_size: int = 1) -> Cost:
    """Count a head's operations per image, its weights, and what a training step of this batch size keeps.

    That is the features and what the backward pass needs, without weights and optimiser.
    """
    with meta_device():
        head = build_head(config).eval()
        features = {name: torch.empty(batch_size, c, side, side) for name, c, side in config.blocks}
        class_ids = torch.zeros(batch_size, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        head({name: x[:1] for name, x in features.items()}, class_ids[:1])
    weights = {parameter.untyped_storage()._cdata for parameter in head.parameters()}
    kept = {x.untyped_storage()._cdata: x for x in features.values()}

    def keep(x: Tensor) -> Tensor:
        if x.untyped_storage()._cdata not in weights:
            kept.setdefault(x.untyped_storage()._cdata, x)  # the reference keeps its address from reuse
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        head.train()(features, class_ids)
    parameters = sum(parameter.numel() for parameter in head.parameters())
    step_bytes = sum(x.untyped_storage().nbytes() for x in kept.values())
    return Cost(counter.get_total_flops(), parameters, step_bytes)
