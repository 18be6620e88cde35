"""Generator and label head as one ONNX file, compared with torch before it is left on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bdgan_lib.core.io import check_output, require_unused, write_atomic
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.generators.traceable import traceable
from bdgan_lib.heads.base import Head
from bdgan_lib.heads.ensemble import mean_and_divergence
from bdgan_lib.heads.onnx_graph import OPSET, LabelledGenerator, check_pair, fused_norms, trace
from bdgan_lib.heads.onnx_half import store_half
from bdgan_lib.heads.pixel_features import fit_pixel_features

if TYPE_CHECKING:
    from onnx import ModelProto

PRECISIONS = ("fp32", "fp16")  # of the stored weights; the arithmetic is float32
LARGEST = {"fp32": 1e-4, "fp16": 0.05}  # difference that an image, a probability or a divergence may have
OTHER_PIXELS = 1e-4  # share of the pixels that may have another label
PIXELS = 200_000  # compared, at least


@dataclass(frozen=True)
class Differences:
    """What onnxruntime computes from the file, against torch: largest differences over `pixels` pixels."""

    image: float  # in [-1, 1]
    probabilities: float
    uncertainty: float  # nats
    mask: float  # share of the pixels with another label
    pixels: int

    @property
    def largest(self) -> float:
        """The largest difference of an image, a probability or a divergence."""
        return max(self.image, self.probabilities, self.uncertainty)

    def __str__(self) -> str:
        return (
            f"image {self.image:.1e}, probabilities {self.probabilities:.1e}, uncertainty "
            f"{self.uncertainty:.1e} nats, other labels on {self.mask:.1e} of {self.pixels:,} pixels"
        )


def export_onnx(
    generator: object,
    head: Head,
    path: str | Path,
    precision: str = "fp32",
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen, so one default can be shared)
    features: int = 0,
    feature_side: int = 64,
    about: Mapping[str, object] | None = None,
) -> Differences:
    """Write generator and label head as one ONNX graph, and compare it with torch on samples.

    Inputs are `latent` [N, z_dim] float32, as `latents_from_seeds` gives it, `class_weights` [N, K] float32,
    one-hot for a class and anything between for a mixture, and, where batch norm has statistics for every
    truncation, `truncation` [1] float32. Outputs are `image` [N, 3, H, W] in [-1, 1], `mask` [N, h, w] uint8,
    `uncertainty` [N, h, w], the members' Jensen-Shannon divergence in nats, `probabilities` [N, L, h, w] and,
    if asked for, `features` [N, F, s, s].

    Args:
        generator: a BigGAN in float32.
        head: trained on its features.
        path: of the new file.
        precision: "fp32" or "fp16", how weights are stored; all arithmetic is float32.
        sampling: how the compared samples are drawn; its truncation is written into the file.
        features: numbers per pixel to give out, see `PixelFeatures`; 0 for none.
        feature_side: their height and width.
        about: more metadata, such as profile and licence; values that are not strings become JSON.

    Returns:
        How far the file's outputs are from torch's.

    Raises:
        BdganError: the generator cannot be exported, the head is another generator's, the precision is
            unknown, something is at `path`, a package is missing, onnxruntime cannot run the graph, or its
            outputs differ by more than `LARGEST` or `OTHER_PIXELS`; then no file is left.
    """
    path = Path(path)
    if precision not in PRECISIONS:
        raise BdganError(f"expected precision {' or '.join(PRECISIONS)}, got {precision!r}")
    check_output(path, file=True)
    require_unused(path)
    runtime = _runtime()
    traceable(generator)
    assert isinstance(generator, FeatureGenerator)
    check_pair(generator, head)
    extra = None
    if features:
        first = GENERATOR["pixel features"].first
        extra = fit_pixel_features(generator, features, feature_side, sampling, first)
    model = LabelledGenerator(generator, head, extra)
    graph = trace(model, generator.z_dim, len(generator.classes), generator.reads_truncation)
    if precision == "fp16":
        store_half(graph, fused_norms(model))
    differences = compare(session(graph.SerializeToString(), runtime), generator, head, sampling)
    refuse(differences, precision)
    known = {
        "classes": generator.classes,
        "labels": head.labels,
        "generator": generator.name,
        "generator_sha256": generator.sha256,
        "head_sha256": head.sha256,
        "members": head.config.architecture.members,
        "sampling": sampling.to_json(),
        "truncation": sampling.truncation,
        "precision": precision,
        "differences": asdict(differences),
    }
    _write_metadata(graph, {**known, **(about or {})})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, graph.SerializeToString())
    return differences


def session(model: bytes, runtime: Any = None) -> Any:
    """An onnxruntime session of a model's bytes, on the CPU.

    Raises:
        BdganError: onnxruntime is missing, or this version cannot run the graph.
    """
    runtime = runtime or _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a missing operator, an old version or a damaged file
        raise BdganError(
            f"onnxruntime {runtime.__version__} cannot run the graph, which needs operators of opset {OPSET} "
            f"({str(error).strip():.200}); run pip install --upgrade onnxruntime"
        ) from error


def compare(run: Any, generator: FeatureGenerator, head: Head, sampling: Sampling) -> Differences:
    """Compare a session's outputs with those of `generator.sample` and `head`, on samples of all classes."""
    seeds, side = GENERATOR["exported graphs"], head.image_side
    count = min(seeds.count, max(4, -(-PIXELS // side**2)))
    size = max(1, min(8, 2**20 // side**2))
    class_ids, numbers = torch.arange(count) % len(generator.classes), torch.arange(count) + seeds.first
    largest, other = np.zeros(3), 0
    for part in torch.arange(count).split(size):
        outputs = run.run(
            ["image", "probabilities", "uncertainty", "mask"],
            feeds(generator, class_ids[part], numbers[part], sampling),
        )
        expected = _expected(generator, head, class_ids[part], numbers[part], sampling)
        gaps = [np.abs(a - b).max() for a, b in zip(outputs[:3], expected[:3], strict=True)]
        largest = np.maximum(largest, gaps)  # NaN stays
        other += int((outputs[3] != expected[3]).sum())
    pixels = count * side**2
    image, probabilities, uncertainty = largest.tolist()
    return Differences(image, probabilities, uncertainty, other / pixels, pixels)


def feeds(
    generator: FeatureGenerator, class_ids: torch.Tensor, seeds: torch.Tensor, sampling: Sampling
) -> dict[str, np.ndarray]:
    """The inputs of the graph for classes [B] and seeds [B]."""
    latents = latents_from_seeds(seeds, generator.z_dim, sampling).numpy()
    weights = np.eye(len(generator.classes), dtype=np.float32)[class_ids.numpy()]
    inputs = {"latent": latents, "class_weights": weights}
    if generator.reads_truncation:
        inputs["truncation"] = np.array([sampling.truncation], np.float32)
    return inputs


@torch.inference_mode()
def _expected(
    generator: FeatureGenerator, head: Head, class_ids: torch.Tensor, seeds: torch.Tensor, sampling: Sampling
) -> list[np.ndarray]:
    sample = generator.sample(class_ids, seeds, sampling)
    labels, divergence = head.label(sample.features, class_ids)
    probabilities, _ = mean_and_divergence(head.log_odds(sample.features, class_ids))
    return [sample.images.numpy(), probabilities.numpy(), divergence, labels]


def refuse(differences: Differences, precision: str) -> None:
    """Raise an error if a file is too far from torch.

    Raises:
        BdganError: it is.
    """
    values = (differences.image, differences.probabilities, differences.uncertainty)
    close = all(value <= LARGEST[precision] for value in values)  # NaN is not
    if not close or not differences.mask <= OTHER_PIXELS:
        hint = "try --precision fp32" if precision == "fp16" else "update onnxruntime, or report it"
        raise BdganError(f"the file would differ from torch and was not kept ({differences}); {hint}")


def _write_metadata(graph: ModelProto, about: Mapping[str, object]) -> None:
    from onnx import helper

    from bdgan_lib import __version__

    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    graph.producer_name, graph.producer_version = "bdgan_lib", __version__
    helper.set_model_props(graph, texts)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BdganError('ONNX files need onnxruntime; run pip install "bdgan-lib[onnx]"') from error
    return onnxruntime
