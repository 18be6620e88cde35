"""Weights of an ONNX graph stored as float16; the arithmetic stays float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_LEAST = 256  # entries; smaller tensors stay float32
# A doubling layer's 4-tap kernel from the 3 taps of its convolution, along one axis.
_TAPS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
_SPREAD = np.kron(_TAPS, _TAPS)  # [16, 9], along both


def store_half(model: ModelProto, norms: Mapping[str, tuple[float, bool]]) -> None:
    """Replace the large float32 weights of a graph by float16 ones and nodes that turn them back.

    A runtime computes those nodes once, when it loads the file. Some networks ship as float16, divided by a
    spectral norm when they are loaded, with kernels spread by `doubling`. Where `norms` names such a weight,
    the shipped numbers are stored, and the graph divides and spreads: then nothing is lost.

    Args:
        model: the graph, changed in place.
        norms: weight -> (its spectral norm, whether `doubling` made it), see `onnx_graph.fused_norms`.

    Raises:
        BdganError: a weight is too large for float16.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    first: list[NodeProto] = []
    constants: dict[str, NDArray[Any]] = {}
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _LEAST:
            continue
        name, weight = tensor.name, numpy_helper.to_array(tensor)
        norm, doubled = norms.get(name, (1.0, False))
        stored = (_three_taps(weight) if doubled else weight) * np.float32(norm)
        if np.abs(stored).max() > np.finfo(np.float16).max:
            raise BdganError(f"{name} has weights too large for float16; export it with --precision fp32")
        steps: list[tuple[str, str | None, dict[str, Any]]] = [("Cast", None, {"to": TensorProto.FLOAT})]
        if norm != 1:
            constants[f"{name}.norm"] = np.array(norm, np.float32)
            steps.append(("Div", f"{name}.norm", {}))
        if doubled:
            constants["doubling.taps"] = _SPREAD.T.copy()
            constants[f"{name}.shape"] = np.array(weight.shape, np.int64)
            steps += [("MatMul", "doubling.taps", {}), ("Reshape", f"{name}.shape", {})]
        source = f"{name}.half"
        for k, (kind, other, settings) in enumerate(steps):
            target = name if k == len(steps) - 1 else f"{name}.{kind.lower()}"
            inputs = [source] if other is None else [source, other]
            first.append(helper.make_node(kind, inputs, [target], name=f"{target}/{kind}", **settings))
            source = target
        tensor.CopyFrom(numpy_helper.from_array(stored.astype(np.float16), f"{name}.half"))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _three_taps(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernels [I, O, 4, 4] of a doubling layer -> those of its convolution, flipped, [I * O, 9]."""
    return (kernel.reshape(-1, 16) @ np.linalg.pinv(_SPREAD.astype(np.float64)).T).astype(np.float32)
