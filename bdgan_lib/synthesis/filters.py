"""Which samples are dropped from a data set, and thresholds that keep a given share (paper section 3.3)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.host_transfer import to_host
from bdgan_lib.core.image_tensors import NAN, to_pixels, to_uint8
from bdgan_lib.core.model_files import read_json, write_json
from bdgan_lib.core.precision import one_thread
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.shards import CALIBRATION
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.class_scorer import ClassScorer, NetworkScorer
from bdgan_lib.heads.base import Head
from bdgan_lib.synthesis.folder import records
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec

_AGAIN = "remove it, and the thresholds are computed again"
ENOUGH = 40  # samples of a class from which its own threshold can be estimated
REASONS = ("confidence", "divergence", "empty", "full")  # why a sample is dropped, in the order checked


class Labeler(Protocol):
    """Labels what a generator sampled: a label head, an ensemble, an oracle."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label ids, from 0."""

    def predict_with_uncertainty(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Masks [B, H, W] of label ids, and the JS divergence [B] of the ensemble, in nats."""


class Models(NamedTuple):
    """The models that make a data set."""

    generator: Generator
    head: Labeler
    scorer: ClassScorer | None = None


class ScoredBatch(NamedTuple):
    """B labelled samples and what the filters check."""

    images: NDArray[np.uint8]  # [B, H, W, 3]
    masks: NDArray[np.uint8]  # [B, H, W]
    confidence: NDArray[np.float32] | None  # [B], with a class scorer
    divergence: NDArray[np.float32]  # [B] nats
    area: NDArray[np.float64]  # [B] share of pixels that are not background
    class_ids: NDArray[np.int64]  # [B]


def score_batch(
    models: Models, class_ids: torch.Tensor, seeds: torch.Tensor, sampling: Sampling, bf16: bool = False
) -> ScoredBatch:
    """Draw samples, label them, and score their confidence if there is a class scorer.

    Args:
        models: the generator, the head and perhaps a class scorer.
        class_ids: classes [B] int64.
        seeds: seeds [B] int64.
        sampling: how latents are drawn.
        bf16: label and score in bfloat16.

    Raises:
        BdganError: the head's masks are not uint8 of the images' size.
    """
    sample = models.generator.sample(class_ids, seeds, sampling)
    device = sample.images.device
    if device.type != "cpu" and _on(device, models):
        return score_on_device(models, sample, bf16)
    images = to_uint8(sample.images)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        masks, divergence = models.head.predict_with_uncertainty(sample)
        confidence = models.scorer(images, class_ids.numpy()) if models.scorer else None
    if masks.dtype != np.uint8 or masks.shape != images.shape[:3]:
        raise BdganError(
            f"expected the head's masks as uint8 {list(images.shape[:3])}, one label id per pixel, "
            f"got {masks.dtype} {list(masks.shape)}"
        )
    return ScoredBatch(images, masks, confidence, divergence, (masks > 0).mean((1, 2)), class_ids.numpy())


def _on(device: torch.device, models: Models) -> bool:
    """Whether head and class scorer are networks on the generator's device."""
    head, scorer = models.head, models.scorer
    if not isinstance(head, Head) or next(head.parameters()).device != device:
        return False
    return scorer is None or (
        isinstance(scorer, NetworkScorer)
        and scorer.takes_tensors
        and next(scorer.network.parameters()).device == device
    )


@torch.inference_mode()
def score_on_device(models: Models, sample: Sample, bf16: bool = False) -> ScoredBatch:
    """As `score_batch`, of a sample whose device has all models: everything comes to the host at once.

    The head is a `Head` and the class scorer, if any, a `NetworkScorer` that takes tensors.
    """
    head, scorer = cast(Head, models.head), cast(NetworkScorer | None, models.scorer)
    class_ids = sample.class_ids.to(sample.images.device, non_blocking=True)
    pixels, nan = to_pixels(sample.images), sample.images.isnan().any()
    with torch.autocast(sample.images.device.type, torch.bfloat16, enabled=bf16):
        masks, divergence = head.label_tensors(sample.features, class_ids)
        confidence = [scorer.score_tensors(pixels, class_ids)] if scorer else []
    labelled = masks.count_nonzero((1, 2))
    arrays = to_host([labelled, divergence.mean((1, 2)), *confidence, nan[None], pixels, masks])
    area, mean_divergence, *scores, is_nan, images, labels = arrays
    if is_nan[0]:
        raise BdganError(NAN)
    return ScoredBatch(
        cast(NDArray[np.uint8], images),
        cast(NDArray[np.uint8], labels),
        cast(NDArray[np.float32], scores[0]) if scores else None,
        cast(NDArray[np.float32], mean_divergence),
        cast(NDArray[np.int64], area) / labels[0].size,
        sample.class_ids.numpy(),
    )


def drop_reasons(batch: ScoredBatch, filters: Filters) -> list[str]:
    """Why each sample is dropped, the first of REASONS that applies; "" if it is kept."""
    fails = np.zeros((len(REASONS), len(batch.masks)), bool)
    if filters.min_confidence is not None:
        if batch.confidence is None:
            raise BdganError(
                "min_confidence is set without a classifier; pass a class scorer, or leave it out"
            )
        fails[0] = batch.confidence < _per_sample(filters.min_confidence, batch.class_ids)
    if filters.max_divergence is not None:
        fails[1] = batch.divergence > _per_sample(filters.max_divergence, batch.class_ids)
    if not filters.whole_masks:
        fails[2], fails[3] = batch.area == 0, batch.area == 1
    return [REASONS[f.argmax()] if f.any() else "" for f in fails.T]


def _per_sample(threshold: float | Mapping[int, float], class_ids: NDArray[np.int64]) -> NDArray[np.float64]:
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
    first_seed: int = GENERATOR["filter thresholds"].first,  # of samples that go to no data set
    bf16: bool = False,
) -> Filters:
    """Thresholds that keep these shares of newly drawn samples; empty and full masks are dropped as well.

    Each class has its own thresholds if there are ENOUGH samples of it; with fewer there is one for all,
    which drops more samples of hard classes than of others.

    Args:
        models: the generator, the head and, for keep_confident below 1, the class scorer.
        class_ids: classes of the data set.
        sampling: how latents are drawn.
        keep_confident: share with the highest confidence, in (0, 1]; 1 sets no threshold.
        keep_agreed: of these, the share with the lowest divergence, in (0, 1]; 1 sets no threshold.
        samples: how many are drawn, rounded up to whole batches.
        batch_size: samples computed at once.
        first_seed: seed of the first sample.
        bf16: label and score in bfloat16.

    Raises:
        BdganError: a share out of range, or keep_confident below 1 without a class scorer.
    """
    check_shares(keep_confident, keep_agreed)
    if keep_confident < 1 and models.scorer is None:
        raise BdganError(f"keep_confident is {keep_confident} without a classifier; pass a class scorer")
    confidences, divergences = [], []
    numbers = torch.arange(-(-samples // batch_size) * batch_size)  # whole batches
    with one_thread():
        for first in tqdm(range(0, len(numbers), batch_size), "thresholds", leave=False):
            n = numbers[first : first + batch_size]
            ids = torch.tensor(class_ids)[n % len(class_ids)]
            batch = score_batch(models, ids, first_seed + n, sampling, bf16)
            divergences.append(batch.divergence)
            confidences.append(
                np.ones_like(batch.divergence) if batch.confidence is None else batch.confidence
            )
    confidence, divergence = np.concatenate(confidences), np.concatenate(divergences)
    classes = np.array(class_ids)[numbers.numpy() % len(class_ids)]
    by_class = len(numbers) >= ENOUGH * len(class_ids)
    min_confidence: dict[int, float] = {}
    max_divergence: dict[int, float] = {}
    for id in class_ids if by_class else (-1,):
        group = (classes == id) | (not by_class)
        min_confidence[id] = float(np.quantile(confidence[group], 1 - keep_confident))
        confident = group & (confidence >= min_confidence[id]) if keep_confident < 1 else group
        max_divergence[id] = float(np.quantile(divergence[confident], keep_agreed))
    return Filters(
        None if keep_confident == 1 else min_confidence if by_class else min_confidence[-1],
        None if keep_agreed == 1 else max_divergence if by_class else max_divergence[-1],
        whole_masks=False,
    )


def check_shares(keep_confident: float, keep_agreed: float) -> None:
    """Check the shares that `calibrate_filters` takes.

    Raises:
        BdganError: one is not in (0, 1].
    """
    for name, share in (("keep_confident", keep_confident), ("keep_agreed", keep_agreed)):
        if not 0 < share <= 1:
            raise BdganError(f"{name} is {share}; give a share above 0 and at most 1")


@dataclass(frozen=True)
class Calibration:
    """Filters by the shares of newly drawn samples that they keep; see `calibrate_filters`.

    Raises:
        BdganError: a share is not in (0, 1].
    """

    keep_confident: float = 0.9  # paper
    keep_agreed: float = 0.9  # paper
    samples: int = 1_000

    def __post_init__(self) -> None:
        check_shares(self.keep_confident, self.keep_agreed)


def calibrated_spec(
    spec: SynthesisSpec, models: Models, folder: Path, calibration: Calibration
) -> SynthesisSpec:
    """The specification with the thresholds of a calibration, as `load_or_calibrate_filters` has them."""
    filters = load_or_calibrate_filters(
        folder, models, spec.class_ids, spec.sampling, calibration, bf16=spec.bf16
    )
    scorer = models.scorer if filters.min_confidence is not None else None
    return replace(spec, filters=filters, scorer_sha256=scorer.sha256 if scorer else "")


def load_or_calibrate_filters(
    folder: Path,
    models: Models,
    class_ids: tuple[int, ...],
    sampling: Sampling,
    calibration: Calibration,
    bf16: bool = False,
) -> Filters:
    """Thresholds from `folder/calibration.json` if made with these arguments, else newly calibrated ones.

    The arguments are those of `calibrate_filters`. With both shares 1 there are no filters at all. The file
    carries the sha256 of its content. Older files have none; they count where finished shards agree.

    Raises:
        BdganError: the file is damaged, or shards in the folder were made with other thresholds.
    """
    shares = calibration.keep_confident, calibration.keep_agreed
    if shares == (1, 1):
        return Filters()
    settings: Json = {
        "generator_sha256": models.generator.sha256,
        "head_sha256": models.head.sha256,
        "judge_sha256": models.scorer.sha256 if models.scorer else "",
        "class_ids": list(class_ids),
        "sampling": sampling.to_json(),
        "shares": list(shares),
        "samples": calibration.samples,
        "bf16": bf16,
    }
    asked, path = sha256(json.dumps(settings).encode()).hexdigest(), folder / CALIBRATION
    spec: Any = next((record["spec"] for _, record in records(folder)), {})
    made = spec.get("filters")
    stored = read_json(path, _AGAIN) if path.exists() else {}
    digest = stored.pop("sha256", None)
    if digest not in (None, _sha256(stored)):
        raise BdganError(f"{path} is damaged: its sha256 is not that of its content; {_AGAIN}")
    if stored.get("asked_sha256") == asked and (digest or made):
        filters = _from_json(stored.get("filters"), path)
    else:
        filters = calibrate_filters(models, class_ids, sampling, *shares, calibration.samples, bf16=bf16)
        if not made:
            record: Json = {"asked_sha256": asked, **settings, "filters": cast(Json, asdict(filters))}
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {**record, "sha256": _sha256(record)})
    if made and filters != _from_json(made, folder):
        raise BdganError(
            f"the shards in {folder} belong to a data set of other settings, or {path} was changed: "
            "they were made with other thresholds; choose another folder"
        )
    return filters


def _sha256(record: Json) -> str:
    return sha256(json.dumps(record).encode()).hexdigest()


def _from_json(thresholds: Any, path: Path) -> Filters:
    try:
        return Filters(**thresholds)
    except (TypeError, ValueError, AttributeError) as error:
        raise BdganError(f"{path} is damaged: no thresholds ({error}); {_AGAIN}") from error
