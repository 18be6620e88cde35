"""A generator and its label head as one traced ONNX graph, with named inputs and outputs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.traceable import traceable, with_class_weights
from bdgan_lib.heads.base import Head
from bdgan_lib.heads.ensemble import mean_and_divergence
from bdgan_lib.heads.pixel_features import PixelFeatures

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
OUTPUTS = ("image", "mask", "uncertainty", "probabilities")  # and "features", where asked for


class LabelledGenerator(nn.Module):
    """Latents, class weights and truncation -> image, mask, uncertainty, probabilities and, if any, features.

    It is what `Generator.sample` and `Head.label` compute, with weights of the classes in place of their ids.
    """

    def __init__(self, generator: FeatureGenerator, head: Head, features: PixelFeatures | None) -> None:
        super().__init__()
        self.generator, self.head = traceable(generator), cast(Head, with_class_weights(head)).cpu()
        self.pixel_features = features
        self.eval().requires_grad_(False)

    def forward(self, latent: Tensor, class_weights: Tensor, truncation: Tensor) -> tuple[Tensor, ...]:
        """As the class says; shapes stand in `export_onnx`."""
        images, features = self.generator(latent, class_weights, truncation)
        probabilities, divergence = mean_and_divergence(self.head.log_odds(features, class_weights))
        labels = probabilities.argmax(1).to(torch.uint8)  # of equal ones the first, as `largest`
        outputs = images, labels, divergence, probabilities
        return outputs if self.pixel_features is None else (*outputs, self.pixel_features(features))


def check_pair(generator: object, head: Head) -> None:
    """Check that a head reads this generator's features.

    Raises:
        BdganError: it has other blocks or another number of classes, or more labels than a mask can hold.
    """
    blocks: Mapping[str, tuple[int, int]] = getattr(generator, "blocks", {})
    theirs = {name: (channels, side) for name, channels, side in head.config.blocks}
    name, classes = getattr(generator, "name", "the generator"), len(getattr(generator, "classes", ()))
    if theirs != dict(blocks):
        different = [block for block in {**blocks, **theirs} if blocks.get(block) != theirs.get(block)]
        raise BdganError(
            f"the head was trained on other features than those of {name}: {', '.join(different)} "
            "differ; give the head and the profile it was trained on"
        )
    if head.config.num_classes != classes:
        raise BdganError(
            f"expected a head of {classes} classes for {name}, got one of {head.config.num_classes}; give "
            "the head and the profile it was trained on"
        )
    if len(head.labels) > 255:
        raise BdganError(
            f"expected at most 255 labels, got {len(head.labels)}; a mask holds one byte a pixel"
        )


def trace(model: LabelledGenerator, latents: int, classes: int, reads_truncation: bool) -> ModelProto:
    """The ONNX graph of a model, in float32, for any number of images.

    Args:
        model: generator and head.
        latents: entries of a latent.
        classes: of the generator.
        reads_truncation: whether the truncation is an input; where nothing reads it there is none.

    Raises:
        BdganError: onnx or onnxscript is not installed, or the exporter refuses the network.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BdganError(f'ONNX files need {error.name}; run pip install "bdgan-lib[onnx]"') from error
    example = (torch.zeros(2, latents), torch.eye(classes)[[0, 0]], torch.ones(1))
    batch = torch.export.Dim("batch", min=1)
    outputs = [*OUTPUTS, *["features"] * (model.pixel_features is not None)]
    try:
        with _quiet():
            program = torch.onnx.export(
                model, example, dynamo=True, verbose=False, opset_version=OPSET,
                input_names=["latent", "class_weights", "truncation"], output_names=outputs,
                dynamic_shapes={"latent": {0: batch}, "class_weights": {0: batch}, "truncation": None},
            )  # fmt: skip
    except Exception as error:  # the exporter raises whatever a network leads to
        while error.__cause__ is not None:  # the first one says why
            error = error.__cause__  # type: ignore[assignment]
        reason = " ".join(str(error).split()) or repr(error)
        raise BdganError(f"the network cannot be written as ONNX: {reason:.300}") from error
    assert program is not None
    graph: ModelProto = program.model_proto
    if not graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param:  # `len(x)` in a network does this
        raise BdganError("the network cannot be written as ONNX: it fixes the number of images")
    _strip(graph, reads_truncation)
    return graph


def fused_norms(model: nn.Module) -> dict[str, tuple[float, bool]]:
    """Parameter -> its spectral norm, and whether it is the kernel of a `doubling` layer."""
    return {
        f"{name}.weight": (float(cast(Tensor, module.fused_norm)), isinstance(module, nn.ConvTranspose2d))
        for name, module in model.named_modules()
        if hasattr(module, "fused_norm")
    }


def _strip(model: Any, reads_truncation: bool) -> None:
    """Leave out what says where the exporter stood, which is a third of a small file."""
    model.doc_string, graph = "", model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    if not reads_truncation:
        kept = [x for x in graph.input if x.name != "truncation"]
        del graph.input[:]
        graph.input.extend(kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress lines and warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
