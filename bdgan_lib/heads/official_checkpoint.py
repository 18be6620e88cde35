"""Label heads of the official release: a state dict becomes a `PaperHead` with the same logits.

Facts about the layout (nv-tlabs/bigdatasetgan_code, models.py; BigGAN-PyTorch, layers.py), no code of
either: convolutions and the conditional norms' linear maps are divided by a spectral norm, estimated by half
a power iteration from a stored vector `u0`; the norms' input is the generator's shared class embedding; the
file holds the whole model, the generator under `biggan_model.`; there is one output, the foreground's logit.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from bdgan_lib.checkpoints.spectral_norm import spectrally_normalized
from bdgan_lib.checkpoints.state_dict import meta_device, require_fit
from bdgan_lib.checkpoints.unpickle import convert_checkpoint
from bdgan_lib.core.model_files import read_tensors
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import PaperHead

GENERATOR = "biggan_model."
PROJECTIONS = {"low": "low_feature_conv.0", "mid": "mid_feature_conv.0", "high": "high_feature_conv.0"}
_SHARED = f"{GENERATOR}shared.weight"


def load_official_head(path: str | Path, blocks: Mapping[str, tuple[int, int]]) -> PaperHead:
    """Read a checkpoint file of the release (`checkpoint_latest.pth`); see `convert_official_head`.

    Only tensors are unpickled, by the restricted converter; its safetensors are read as well. Of several
    state dicts, the one that was taken is logged.

    Raises:
        BdganError: the file is missing, holds anything else or does not fit.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return convert_official_head(read_tensors(path), blocks, str(path))
    with TemporaryDirectory() as folder:
        converted = Path(folder) / "head.safetensors"
        if note := convert_checkpoint(path, converted):
            logging.getLogger(__name__).warning(f"{path}: {note}")
        state = read_tensors(converted)
    return convert_official_head(state, blocks, str(path))


def convert_official_head(
    state: Mapping[str, Tensor], blocks: Mapping[str, tuple[int, int]], name: str = "state dict"
) -> PaperHead:
    """A head of two labels whose logit difference is the logit of the release's head.

    Args:
        state: the release's state dict. Keys of the generator other than its class embedding are ignored,
            and so are the spectral norms `sv0` that training logs: the release's sampler does without.
        blocks: the generator's, coarse to fine, {name: (channels, side)}.
        name: what messages call the state dict.

    Raises:
        BdganError: keys are missing, surplus or of another shape; each is named.
    """
    state = {
        key: x.float()
        for key, x in state.items()
        if (not key.startswith(GENERATOR) or key == _SHARED) and not key.endswith(".sv0") and x.numel()
    }
    shapes = {key: x.shape for key, x in state.items()}
    sizes = {group: shapes.get(f"{key}.weight") or (1,) for group, key in PROJECTIONS.items()}
    embedding = shapes[_SHARED] if len(shapes.get(_SHARED, ())) == 2 else torch.Size((1, 128))
    config = HeadConfig(
        tuple((block, channels, side) for block, (channels, side) in blocks.items()),
        embedding[0],
        architecture=Architecture("paper", tuple(sizes[group][0] for group in PROJECTIONS)),
    )
    with meta_device():
        expected = _layout(PaperHead(config), embedding)
    state = require_fit(expected, state, f"{name} is not a label head of the release for these blocks")
    head = PaperHead(config).eval()
    new = head.state_dict()
    for group, key in PROJECTIONS.items():
        names = head.groups[group]
        pieces = state[f"{key}.weight"].split([blocks[block][0] for block in names], 1)
        for block, piece in zip(names, pieces, strict=True):
            new[f"projections.{block}.weight"] = piece
            new[f"projections.{block}.bias"] = torch.zeros(len(piece))
    for group in ("mid", "high"):
        theirs, ours = f"{group}_feature_mix_conv.", f"mixes.{group}."
        for n in ("1", "2"):
            new[f"{ours}conv{n}.weight"] = _normalised(state, f"{theirs}conv{n}")
            new[f"{ours}conv{n}.bias"] = state[f"{theirs}conv{n}.bias"]
            norm = f"{theirs}bn{n}."
            new[f"{ours}norm{n}.norm.running_mean"] = state[f"{norm}stored_mean"]
            new[f"{ours}norm{n}.norm.running_var"] = state[f"{norm}stored_var"]
            for what, start in (("gain", 1.0), ("bias", 0.0)):
                table = state[_SHARED] @ _normalised(state, f"{norm}{what}").T + state[f"{norm}{what}.bias"]
                new[f"{ours}norm{n}.{what}.weight"] = start + table
    for theirs, ours in (("gain", "weight"), ("bias", "bias"), ("stored_mean", "running_mean"),
                         ("stored_var", "running_var")):  # fmt: skip
        new[f"norm.{ours}"] = state[f"out_layer.0.{theirs}"]
    weight = _normalised(state, "out_layer.2")
    new["out.weight"] = torch.cat([torch.zeros_like(weight), weight])  # background's logit is 0
    new["out.bias"] = torch.cat([torch.zeros(1), state["out_layer.2.bias"]])
    head.load_state_dict(new)
    return head


def _layout(head: PaperHead, embedding: Sequence[int]) -> dict[str, Sequence[int]]:
    """Key -> shape in the release's layout, for a head of these widths and blocks."""
    channels = {name: c for name, c, _ in head.config.blocks}
    low, mid, high = head.config.architecture.widths
    layout: dict[str, Sequence[int]] = {_SHARED: embedding}
    for (group, key), width in zip(PROJECTIONS.items(), (low, mid, high), strict=True):
        layout[f"{key}.weight"] = (width, sum(channels[block] for block in head.groups[group]), 1, 1)

    def spectral(key: str, *shape: int) -> None:
        layout.update({f"{key}.weight": shape, f"{key}.bias": shape[:1], f"{key}.u0": (1, shape[0])})

    for group, width in (("mid", low + mid), ("high", low + mid + high)):
        for n in ("1", "2"):
            spectral(f"{group}_feature_mix_conv.conv{n}", width, width, 3, 3)
            for what in ("gain", "bias"):
                spectral(f"{group}_feature_mix_conv.bn{n}.{what}", width, embedding[1])
            for what in ("stored_mean", "stored_var"):
                layout[f"{group}_feature_mix_conv.bn{n}.{what}"] = (width,)
    for what in ("gain", "bias", "stored_mean", "stored_var"):
        layout[f"out_layer.0.{what}"] = (low + mid + high,)
    spectral("out_layer.2", 1, low + mid + high, 3, 3)
    return layout


def _normalised(state: Mapping[str, Tensor], key: str) -> Tensor:
    return spectrally_normalized(state[f"{key}.weight"], state[f"{key}.u0"])
