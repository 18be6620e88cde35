"""The training loop of every network: loss, finite check, step, schedule, progress bar, checkpoint."""

from __future__ import annotations  # Devices names Fabric, which takes seconds to import

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from bdgan_lib.core.types import BdganError
from bdgan_lib.training.checkpoint import Checkpoint
from bdgan_lib.training.devices import Devices
from bdgan_lib.training.logs import Logger, TrainingLog


def train(
    loss_of: Callable[[int], Tensor],
    optimizer: Optimizer,
    steps: int,
    schedule: LRScheduler | None = None,
    *,
    max_norm: float | None = None,
    after_step: Callable[[int], object] | None = None,
    checkpoint: Checkpoint | None = None,
    save_every: int = 100,
    keep_checkpoint: bool = False,
    fabric: Devices | None = None,
    progress: str | None = None,
    logger: Logger | None = None,
    figures: Callable[[], Mapping[str, float]] | None = None,
) -> list[float]:
    """Take optimisation steps and return the loss of each.

    Args:
        loss_of: maps a step, from 0, to the scalar loss of its batch (or of this device's share).
        optimizer: updates the weights.
        steps: how many in all, those before a resumed checkpoint included.
        schedule: sets the learning rate after every step.
        max_norm: the gradient's norm is clipped to this value; None for no clipping.
        after_step: called after each step with the number of steps so far.
        checkpoint: written every `save_every` steps. If its file exists, training resumes from it.
        save_every: steps between checkpoints.
        keep_checkpoint: write the checkpoint after the last step too, instead of removing it.
        fabric: several devices and their precision, already launched; None for one device.
        progress: label of the progress bar; None for no bar.
        logger: receives the loss and the learning rate of each step; None: that of the `log_to` around.
        figures: further figures of the last step, for the logger.

    Raises:
        BdganError: the loss is not finite. The weights are still finite, and the last checkpoint is kept.
    """
    losses = checkpoint.resume() if checkpoint else []
    first = fabric is None or fabric.is_global_zero
    log = TrainingLog.of_training(logger, steps) if first else None
    bar = tqdm(
        range(len(losses), steps), progress, steps, initial=len(losses),
        disable=progress is None or not first, leave=False,
    )  # fmt: skip
    for step in bar:
        loss = loss_of(step)
        value = float(torch.as_tensor(fabric.all_reduce(loss.detach())) if fabric else loss.item())
        if not math.isfinite(value):
            kept = f"; {checkpoint.path} is kept" if checkpoint and checkpoint.path.exists() else ""
            raise BdganError(f"the loss is {value} at step {step}; lower learning_rate{kept}")
        optimizer.zero_grad(set_to_none=True)
        if fabric:
            fabric.backward(loss)
        else:
            loss.backward()
        if max_norm is not None:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            torch.nn.utils.clip_grad_norm_(weights, max_norm)
        rate = optimizer.param_groups[0]["lr"]  # some schedules set it in `loss_of`
        optimizer.step()
        if schedule:
            schedule.step()
        losses.append(value)
        if log:
            log.write(step, {"loss": value, "learning_rate": rate, **(figures() if figures else {})})
        if after_step:
            after_step(step + 1)
        last = keep_checkpoint and step + 1 == steps
        if checkpoint and first and ((step + 1) % save_every == 0 or last):
            if log:
                log.save()  # first, so that no step is missing after an interruption
            checkpoint.save(losses)
    if log:
        log.save()
    if checkpoint and first and not keep_checkpoint:
        checkpoint.path.unlink(missing_ok=True)
    return losses
