"""Training a label head on a handful of annotated samples, all pixels at once; saving and loading it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from bdgan_lib.data.annotations import Annotation
from bdgan_lib.heads.label_head import HeadConfig, LabelHead
from bdgan_lib.images import write_atomic
from bdgan_lib.types import UNLABELLED, BdganError, Sample, Sampling


@dataclass(frozen=True)
class HeadTraining:
    """How a label head is trained; a step is one batch."""

    steps: int = 250  # paper: 5_000
    batch_size: int = 12  # paper: 4
    learning_rate: float = 5e-3  # peak of a one-cycle schedule; paper: 1e-3 constant
    weight_decay: float = 1e-4
    widths: tuple[int, int, int] = (48, 32, 24)  # paper: 128, 64, 32
    parts: bool = False  # learn every label of the masks; else foreground against ground
    seed: int = 0


class _Sampler(Protocol):
    """The part of a generator that training needs."""

    sha256: str
    classes: tuple[str, ...]
    blocks: dict[str, tuple[int, int]]

    def sample(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling, features: bool = True
    ) -> Sample: ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Features and labels of N annotated images, in memory."""

    features: dict[str, Tensor]  # block -> [N, C, H, W]
    class_ids: Tensor  # [N] int64
    masks: Tensor  # [N, H, W] int64; 255 = unlabelled

    def __len__(self) -> int:
        return len(self.class_ids)


def collect(
    generator: _Sampler, annotations: Iterable[Annotation], parts: bool = False, batch_size: int = 20
) -> Examples:
    """Sample the annotated images again, with features.

    BdganError without annotations, and naming one that was made with another generator, whose mask does not
    fit the image or that has no labelled pixel.
    """
    found = list(annotations)
    if not found:
        raise BdganError("no annotation came; label at least one sample first (notebook 02)")
    side = max(side for _, side in generator.blocks.values())
    for annotation in found:
        if annotation.generator_sha256 != generator.sha256:
            raise BdganError(
                f"annotation {annotation.id} was made with generator {annotation.generator_sha256[:12]}, "
                f"this one is {generator.sha256[:12]}; use that generator or annotate again"
            )
        if annotation.mask.shape != (side, side):
            raise BdganError(
                f"annotation {annotation.id}: its mask is {list(annotation.mask.shape)}, "
                f"the generator makes {side} x {side}; annotate again"
            )
        if (annotation.mask == UNLABELLED).all():
            raise BdganError(f"annotation {annotation.id} has no labelled pixel; label it or remove it")
    found.sort(key=lambda a: json.dumps(a.sampling.to_json()))  # one sampling setting per batch
    batches: list[Sample] = []
    while sum(len(b.seeds) for b in batches) < len(found):
        start = sum(len(b.seeds) for b in batches)
        batch = [a for a in found[start : start + batch_size] if a.sampling == found[start].sampling]
        ids, seeds = (torch.tensor([getattr(a, key) for a in batch]) for key in ("class_id", "seed"))
        batches.append(generator.sample(ids, seeds, batch[0].sampling))
    masks = torch.from_numpy(np.stack([a.mask for a in found])).long()
    if not parts:
        masks = torch.where(masks == UNLABELLED, UNLABELLED, (masks > 0).long())
    features = {block: torch.cat([b.features[block].cpu() for b in batches]) for block in generator.blocks}
    return Examples(features, torch.cat([b.class_ids for b in batches]), masks)


def fit_head(
    head: LabelHead,
    examples: Examples,
    config: HeadTraining,
    device: str = "cpu",
    progress: str | None = None,
) -> list[float]:
    """Train a head in place with pixel-wise cross-entropy; returns the loss (nats) of each step.

    The head's standardisation is measured on the examples first. The same seed and device give the
    same weights.
    """
    stream = np.random.default_rng(config.seed)
    head.standardise(examples.features)
    head.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps)
    losses: list[float] = []
    for step in tqdm(range(config.steps), desc=progress, disable=progress is None, leave=False):
        chosen = torch.from_numpy(
            stream.choice(len(examples), min(config.batch_size, len(examples)), replace=False)
        )
        features: Mapping[str, Tensor] = {
            k: v[chosen].to(device, memory_format=torch.channels_last) for k, v in examples.features.items()
        }
        masks = examples.masks[chosen].to(device)
        if stream.random() < 0.5:  # features of a mirrored image, to good approximation
            features, masks = {k: v.flip(3) for k, v in features.items()}, masks.flip(2)
        logits = head(features, examples.class_ids[chosen].to(device))
        if logits.shape[-1] != masks.shape[-1]:  # features of another network may be coarser than its images
            logits = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, masks, ignore_index=UNLABELLED)
        if not torch.isfinite(loss):
            raise BdganError(
                f"the loss is {loss.item()} at step {step}; lower learning_rate ({config.learning_rate})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    head.eval()
    return losses


def train_head(
    generator: _Sampler,
    annotations: Iterable[Annotation],
    config: HeadTraining = HeadTraining(),
    device: str = "cpu",
    progress: str | None = "label head",
) -> tuple[LabelHead, list[float]]:
    """A label head for this generator from annotated samples, and its loss at each step (paper section 3.2).

    BdganError as of `collect`, and when the loss stops being finite.
    """
    examples = collect(generator, annotations, config.parts)
    count = max(2, int(examples.masks[examples.masks != UNLABELLED].max()) + 1)
    labels = (
        ("background", *(f"part {k}" for k in range(1, count)))
        if config.parts
        else ("background", "foreground")
    )
    torch.manual_seed(config.seed)
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head = LabelHead(HeadConfig(blocks, len(generator.classes), labels, config.widths))
    return head, fit_head(head, examples, config, device, progress)


def save_head(head: LabelHead, folder: str | Path) -> None:
    """Write `head.safetensors` and, last, `head.json`, which holds the weights' fingerprint."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(
        folder / "head.safetensors", save({k: v.contiguous().cpu() for k, v in head.state_dict().items()})
    )
    record = {"sha256": head.sha256, "config": head.config.to_json()}
    write_atomic(folder / "head.json", (json.dumps(record, indent=1) + "\n").encode())


def load_head(folder: str | Path) -> LabelHead:
    """Read what `save_head` wrote; BdganError names a file that is missing, damaged or does not fit."""
    folder = Path(folder)
    for name in ("head.json", "head.safetensors"):
        if not (folder / name).is_file():
            raise BdganError(f"{folder / name} is missing; train a label head first (notebook 03)")
    try:
        record = json.loads((folder / "head.json").read_text("utf-8"))
        expected = str(record["sha256"])
        head = LabelHead(HeadConfig.from_json(record["config"]))
        head.load_state_dict(load_file(folder / "head.safetensors"))
    except Exception as error:  # safetensors, JSON and torch each raise their own
        raise BdganError(f"{folder}: no readable label head ({error})") from error
    if head.sha256 != expected:
        weights = folder / "head.safetensors"
        raise BdganError(
            f"{weights} is damaged: expected sha256 {expected}, actual {head.sha256}; train anew"
        )
    return head.eval()
