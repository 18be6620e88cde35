"""State dicts of BigGAN as others store it -> the names of `BigGANNetwork`, with the spectral norms fused.

Facts about two layouts, no code of either:

- BigGAN-PyTorch (ajbrock): a weight beside a vector `u0`; half a power iteration estimates the norm. Its
  converter from TF Hub, which made the release's `biggan-512.pth`, writes the same names without `sv0`.
- ivclab (from TF Hub): a weight beside both singular vectors, of the matrix [out, kh * kw * in]; in
  conditions z comes before the class; the first layer gives [4, 4, C]; statistics for 50 truncations
  (0.02, 0.04 ... 1), of which the last is taken.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Size, Tensor

from bdgan_lib.checkpoints.spectral_norm import spectrally_normalized
from bdgan_lib.checkpoints.state_dict import require_fit

State = Mapping[str, Tensor]
_MODULES = {  # of ivclab, by ours
    "shared": "linear", "linear": "g_z.g_linear", "output_layer.0": "scaledcrossreplicabn",
    "output_layer.2": "conv_2d", "conv1": "conv0", "conv2": "conv1", "bn1": "hyperbn", "bn2": "hyperbn_1",
    "gain": "gamma", "bias": "beta", "o": "o_conv",
}  # fmt: skip
_ROWS = 50


def fuse_state_dict(state: State, target: State, name: str) -> dict[str, Tensor]:
    """Rename the tensors of either layout to our network's keys and divide weights by their spectral norm.

    Args:
        state: the state dict as it was read.
        target: the state dict of the network to fill; its tensors may be on "meta".
        name: what messages call the state dict.

    Raises:
        BdganError: keys are missing, surplus or of another shape; each is named. What inference never reads
            may be absent: `sv0` in one layout, running statistics in the other.
    """
    spectral = {key for key, x in target.items() if key.endswith(".weight") and x.dim() > 1} - {
        "shared.weight"
    }
    layout = _Ivclab if is_ivclab(state) else _PyTorch
    expected = {k: shape for ours, x in target.items() for k, shape in layout.keys(ours, x, ours in spectral)}
    state = {key: x for key, x in state.items() if not key.endswith(layout.optional)}
    state = require_fit(expected, state, f"{name} does not fit")
    return {key: layout.value(state, key, key in spectral) for key in target}


def is_ivclab(state: State) -> bool:
    """Whether a state dict has ivclab's layout."""
    return "g_z.g_linear.weight_orig" in state


class _PyTorch:
    optional = (".sv0",)

    @staticmethod
    def keys(ours: str, x: Tensor, spectral: bool) -> Iterator[tuple[str, Size]]:
        yield ours, x.shape
        if spectral:
            yield ours.replace(".weight", ".u0"), Size((1, len(x)))

    @staticmethod
    def value(state: State, ours: str, spectral: bool) -> Tensor:
        weight = state[ours].float()
        if not spectral:
            return weight
        return spectrally_normalized(weight, state[ours.replace(".weight", ".u0")].float())


class _Ivclab:
    optional = (".running_mean", ".running_var", ".num_batches_tracked")

    @classmethod
    def keys(cls, ours: str, x: Tensor, spectral: bool) -> Iterator[tuple[str, Size]]:
        theirs = cls._name(ours)
        if spectral:
            yield f"{theirs}_orig", x.shape
            yield f"{theirs}_u", x.shape[:1]
            yield f"{theirs}_v", Size((x[0].numel(),))
        elif "stored_" in ours:
            yield theirs, Size((_ROWS, len(x)))
        else:
            yield theirs, x.shape or Size((1,))

    @classmethod
    def value(cls, state: State, ours: str, spectral: bool) -> Tensor:
        theirs = cls._name(ours)
        if not spectral:
            x = state[theirs].float()
            x = x[-1] if "stored_" in ours else x
            if ours == "linear.bias":
                return x.view(16, -1).T.flatten()
            return x.squeeze() if ours.endswith("gamma") else x
        weight, u, v = (state[f"{theirs}{end}"].float() for end in ("_orig", "_u", "_v"))
        matrix = (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).flatten(1)
        weight = weight / (u @ matrix @ v)
        if ours == "linear.weight":
            return torch.unflatten(weight, 0, (16, -1)).transpose(0, 1).flatten(0, 1)
        if ours.endswith(("gain.weight", "bias.weight")):
            part = weight.shape[1] - state["linear.weight"].shape[1]
            return weight.roll(-part, 1)
        return weight

    @staticmethod
    def _name(ours: str) -> str:
        """The ivclab name of ours: blocks.2.0.bn1.gain.weight -> gblock_2.hyperbn.gamma.weight."""
        *modules, last = ours.split(".")
        if ours.startswith("blocks"):
            _, i, layer, *modules = modules
            root = "attention" if layer == "1" else f"gblock_{i}" if i != "0" else "gblock"
            modules = [root, *(_MODULES.get(module, module) for module in modules)]
        else:
            modules = [_MODULES[".".join(modules)]]
        if last.startswith("stored_"):
            middle = ["crossreplicabn"] if "hyperbn" in modules[-1] else []
            last = {"stored_mean": "standing_means", "stored_var": "standing_vars"}[last]
            modules += middle
        elif last == "gain":
            last = "weight"
        return ".".join([*modules, last])
