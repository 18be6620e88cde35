"""What is left out of a data set, and the thresholds that leave out a wanted share (paper section 3.3)."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.precision import one_thread
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import CALIBRATION
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.class_scorer import ClassScorer
from bdgan_lib.synthesis.spec import Filters

ENOUGH = 40  # samples of a class that can tell a threshold of its own
REASONS = ("confidence", "divergence", "empty", "full")  # why a sample is dropped, in the order asked


class Labeler(Protocol):
    """Whatever labels what a generator sampled: a label head, an ensemble, an oracle."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label ids, from 0."""

    def predict_with_uncertainty(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """B samples -> masks [B, H, W] of label ids, and the JS divergence [B] of whoever votes, in nats."""


class Models(NamedTuple):
    """Who makes a data set."""

    generator: Generator
    head: Labeler
    scorer: ClassScorer | None = None


class ScoredBatch(NamedTuple):
    """B labelled samples and what the filters ask of them."""

    images: NDArray[np.uint8]  # [B, H, W, 3]
    masks: NDArray[np.uint8]  # [B, H, W]
    confidence: NDArray[np.float32] | None  # [B], where a classifier was asked
    divergence: NDArray[np.float32]  # [B] nats
    area: NDArray[np.float64]  # [B] share of pixels that are not ground
    class_ids: NDArray[np.int64]  # [B]


def score_batch(
    models: Models, class_ids: torch.Tensor, seeds: torch.Tensor, sampling: Sampling, bf16: bool = False
) -> ScoredBatch:
    """Draw samples, label them, and ask the classifier if there is one; these two in bfloat16 if asked to."""
    sample = models.generator.sample(class_ids, seeds, sampling)
    images = to_uint8(sample.images)
    with torch.autocast(sample.images.device.type, torch.bfloat16, enabled=bf16):
        masks, divergence = models.head.predict_with_uncertainty(sample)
        confidence = models.scorer(images, class_ids.numpy()) if models.scorer else None
    if masks.dtype != np.uint8 or masks.shape != images.shape[:3]:
        raise BdganError(
            f"the head's masks came as {masks.dtype} {list(masks.shape)}; "
            f"wanted uint8 {list(images.shape[:3])}, one label id per pixel"
        )
    return ScoredBatch(images, masks, confidence, divergence, (masks > 0).mean((1, 2)), class_ids.numpy())


def drop_reasons(found: ScoredBatch, filters: Filters) -> list[str]:
    """For each sample why it is dropped, "" if it is kept: the first filter that it fails."""
    fails = np.zeros((len(REASONS), len(found.masks)), bool)
    if filters.min_confidence is not None:
        if found.confidence is None:
            raise BdganError("min_confidence came without a classifier; pass a class scorer, or leave it out")
        fails[0] = found.confidence < _each(filters.min_confidence, found.class_ids)
    if filters.max_divergence is not None:
        fails[1] = found.divergence > _each(filters.max_divergence, found.class_ids)
    if not filters.whole_masks:
        fails[2], fails[3] = found.area == 0, found.area == 1
    return [REASONS[f.argmax()] if f.any() else "" for f in fails.T]


def _each(threshold: float | Mapping[int, float], class_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """The threshold of each sample, by its class."""
    if isinstance(threshold, Mapping):
        return np.array([threshold[id] for id in class_ids.tolist()])
    return np.full(len(class_ids), threshold)


def calibrate_filters(
    models: Models,
    class_ids: tuple[int, ...],
    sampling: Sampling,
    keep_confident: float = 0.9,  # paper
    keep_agreed: float = 0.9,  # paper
    samples: int = 1_000,
    batch_size: int = 25,
    first_seed: int = 900_000_000,  # of samples that go to no data set
    bf16: bool = False,
) -> Filters:
    """Thresholds that keep these shares of fresh samples: the surest, and of them the least disputed.

    Each class has its own if there are ENOUGH samples of it; with fewer there is one for all, which drops
    more of hard classes than of others. A share of 1 asks nothing. Empty and full masks are dropped as well.
    """
    for name, share in (("keep_confident", keep_confident), ("keep_agreed", keep_agreed)):
        if not 0 < share <= 1:
            raise BdganError(f"{name} is {share}; give a share above 0 and at most 1")
    if keep_confident < 1 and models.scorer is None:
        raise BdganError(f"keep_confident {keep_confident} came without a classifier; pass a class scorer")
    confidence, divergence = [], []
    numbers = torch.arange(-(-samples // batch_size) * batch_size)  # whole batches
    with one_thread():
        for batch in tqdm(numbers.split(batch_size), "thresholds", leave=False):
            ids = torch.tensor(class_ids)[batch % len(class_ids)]
            found = score_batch(models, ids, first_seed + batch, sampling, bf16)
            divergence.append(found.divergence)
            confidence.append(found.divergence * 0 + 1 if found.confidence is None else found.confidence)
    sure, doubt = np.concatenate(confidence), np.concatenate(divergence)
    classes = np.array(class_ids)[numbers.numpy() % len(class_ids)]
    apart = len(numbers) >= ENOUGH * len(class_ids)
    least: dict[int, float] = {}
    most: dict[int, float] = {}
    for id in class_ids if apart else (-1,):
        mine = (classes == id) | (not apart)
        least[id] = float(np.quantile(sure[mine], 1 - keep_confident))
        kept = mine & (sure >= least[id]) if keep_confident < 1 else mine
        most[id] = float(np.quantile(doubt[kept], keep_agreed))
    return Filters(
        None if keep_confident == 1 else least if apart else least[-1],
        None if keep_agreed == 1 else most if apart else most[-1],
        whole_masks=False,
    )


def load_or_calibrate_filters(
    folder: Path,
    models: Models,
    class_ids: tuple[int, ...],
    sampling: Sampling,
    keep_confident: float = 0.9,
    keep_agreed: float = 0.9,
    samples: int = 1_000,
    bf16: bool = False,
) -> Filters:
    """`calibrated`, once: the thresholds stand in `folder/calibration.json` for whoever goes on later.

    Two shares of 1 ask nothing at all.
    """
    scorer = models.scorer.sha256 if models.scorer else ""
    asked = {
        "generator_sha256": models.generator.sha256,
        "head_sha256": models.head.sha256,
        "judge_sha256": scorer,
        "class_ids": list(class_ids),
        "sampling": sampling.to_json(),
        "shares": [keep_confident, keep_agreed],
        "samples": samples,
        "bf16": bf16,
    }
    digest, path = sha256(json.dumps(asked).encode()).hexdigest(), folder / CALIBRATION
    if path.exists():
        found = json.loads(path.read_bytes())
        if found["asked_sha256"] == digest:
            return Filters(**found["filters"])
    if keep_confident == keep_agreed == 1:
        return Filters()
    filters = calibrate_filters(models, class_ids, sampling, keep_confident, keep_agreed, samples, bf16=bf16)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"asked_sha256": digest, **asked, "filters": asdict(filters)}
    write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
    return filters
