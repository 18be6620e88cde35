"""State dicts: a fingerprint of weights, and what does not fit between two of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from bdgan_lib.core.types import BdganError


class _SkipInitialisation(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "normalize", "tril"):  # of the shape of their input
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Give networks that are made inside shapes and no values, which `load_strict` adds.

    As `torch.device("meta")`, but functions of initial values that keep the shape are skipped: torch imports
    its compiler for them on that device, which takes seconds.
    """
    with torch.device("meta"), _SkipInitialisation():
        yield


def weights_sha256(network: torch.nn.Module, about: str = "") -> str:
    """The sha256 of `about` and of all weights and buffers by name, whatever their device and layout."""
    digest = sha256(about.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def mismatches(expected: Mapping[str, Sequence[int]], actual: Mapping[str, Sequence[int]]) -> str:
    """Compare two mappings key -> shape: which are missing, surplus or of another shape; "" if all fit."""
    kinds = {
        "missing": sorted(expected.keys() - actual.keys()),
        "surplus": sorted(actual.keys() - expected.keys()),
        "of another shape": [
            f"{key} {list(actual[key])} instead of {list(expected[key])}"
            for key in sorted(expected.keys() & actual.keys())
            if list(actual[key]) != list(expected[key])
        ],
    }
    return "; ".join(f"{kind}: {_some(keys)}" for kind, keys in kinds.items() if keys)


def _some(keys: Sequence[str], most: int = 12) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def require_fit(
    expected: Mapping[str, Sequence[int]], tensors: Mapping[str, torch.Tensor], what: str
) -> dict[str, torch.Tensor]:
    """The tensors, if they have the expected keys and shapes.

    One of shape [1] stands for a scalar and becomes one, as when torch loads: TensorFlow's converters and old
    versions of torch write it so.

    Args:
        expected: key -> shape.
        tensors: a state dict.
        what: begins the message (file and configuration).

    Raises:
        BdganError: keys are missing, surplus or of another shape.
    """
    scalars = {key for key, shape in expected.items() if not len(shape)}
    tensors = {k: x.reshape(()) if k in scalars and x.shape == (1,) else x for k, x in tensors.items()}
    wrong = mismatches(expected, {key: x.shape for key, x in tensors.items()})
    if wrong:
        raise BdganError(f"{what}: {wrong}")
    return tensors


def batch_norm_counters(keys: Iterable[str]) -> dict[str, torch.Tensor]:
    """Zeros for the counters of batch norms, which old checkpoints lack and only training reads."""
    return {key: torch.tensor(0) for key in keys if key.endswith(".num_batches_tracked")}


def load_strict(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """Put copies of tensors into a network, in its types; it may be on "meta".

    The copies lie in new memory: in a mapped file, alignment changes how sums round.

    Raises:
        BdganError: as for `require_fit`, or a tensor holds numbers that are not finite.
    """
    targets = network.state_dict()
    tensors = require_fit({key: x.shape for key, x in targets.items()}, tensors, f"{what} does not fit")
    for key, x in tensors.items():
        if x.is_floating_point() and not torch.isfinite(x).all():
            raise BdganError(f"{what}: {key} holds numbers that are not finite; restore it")
    copies = {
        key: x.to(targets[key].dtype, copy=True, memory_format=torch.contiguous_format)
        for key, x in tensors.items()
    }
    network.load_state_dict(copies, assign=True)
