"""Checkpoints of taming-transformers: the class-conditional transformer with its VQGAN, and their yaml.

Both are read as data: class names in the yaml are never imported, and interpolations are refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

from torch import Tensor

from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.vqgan import VQGAN, fill_network
from bdgan_lib.generators.vqgan_network import VQGANConfig

IMAGENET = VQGANConfig(  # of the published class-conditional model, 1.4 billion parameters in its transformer
    resolution=256, num_classes=1000, codes=16384, code_dim=256, z_channels=256, ch=128,
    ch_mult=(1, 1, 2, 2, 4), res_blocks=2, attention=(16,), layers=48, heads=24, width=1536,
)  # fmt: skip
_FIRST_STAGE = "first_stage_model."
_UNREAD = (_FIRST_STAGE + "loss.", "cond_stage_model.")  # of training alone; class labels need no weights

_NET = "model.params"
_GPT, _VQ, _LABELS = f"{_NET}.transformer_config", f"{_NET}.first_stage_config", f"{_NET}.cond_stage_config"
_DD = f"{_VQ}.params.ddconfig"
_SIZES = {  # of VQGANConfig, by the setting that holds it
    f"{_DD}.resolution": "resolution", f"{_LABELS}.params.n_classes": "num_classes",
    f"{_VQ}.params.n_embed": "codes", f"{_VQ}.params.embed_dim": "code_dim",
    f"{_DD}.z_channels": "z_channels", f"{_DD}.ch": "ch", f"{_DD}.ch_mult": "ch_mult",
    f"{_DD}.num_res_blocks": "res_blocks", f"{_DD}.attn_resolutions": "attention",
    f"{_GPT}.params.n_layer": "layers", f"{_GPT}.params.n_head": "heads", f"{_GPT}.params.n_embd": "width",
}  # fmt: skip
_SECTIONS = (_NET, "model", _GPT, f"{_GPT}.params", _VQ, f"{_VQ}.params", _DD, _LABELS, f"{_LABELS}.params")
_FIXED: dict[str, tuple[object, ...]] = {  # what our network is; taming builds or samples another otherwise
    "model.target": ("taming.models.cond_transformer.Net2NetTransformer",),
    f"{_NET}.permuter_config": (None, {"target": "taming.modules.transformer.permuter.Identity"}),
    f"{_NET}.downsample_cond_size": (-1,),
    f"{_NET}.unconditional": (False,),
    f"{_GPT}.target": ("taming.modules.transformer.mingpt.GPT",),
    f"{_GPT}.params.n_unmasked": (0, 1),  # 1: the class alone, which sees itself anyway
    f"{_VQ}.target": ("taming.models.vqgan.VQModel",),
    f"{_VQ}.params.remap": (None,),
    f"{_VQ}.params.colorize_nlabels": (None,),
    f"{_DD}.double_z": (False,),
    f"{_DD}.in_channels": (3,),
    f"{_DD}.out_ch": (3,),
    f"{_DD}.resamp_with_conv": (True,),
    f"{_DD}.give_pre_end": (False,),
    f"{_LABELS}.target": ("taming.modules.util.Labelator",),
    f"{_LABELS}.params.quantize_interface": (True,),
}
_OF_TRAINING = {  # no setting of these changes a sample
    "model": ("base_learning_rate",),
    _NET: ("ckpt_path", "ignore_keys", "first_stage_key", "cond_stage_key", "pkeep", "sos_token", "monitor",
           "scheduler_config"),
    f"{_GPT}.params": ("embd_pdrop", "resid_pdrop", "attn_pdrop", "vocab_size", "block_size"),
    f"{_VQ}.params": ("ckpt_path", "ignore_keys", "image_key", "monitor", "lossconfig", "sane_index_shape"),
    _DD: ("dropout",),
}  # fmt: skip


def read_config(path: str | Path) -> VQGANConfig:
    """The sizes in a `*-project.yaml` of taming.

    Raises:
        BdganError: the file is missing or unreadable, could run code, lacks a size, or has a setting that we
            do not know or whose value needs another network; the key is named. Sections other than `model`
            are of training and not read.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text("utf-8")
        settings = None if "${" in text else yaml.safe_load(text)  # which refuses tags that make objects
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BdganError(f"{path} is not a readable configuration ({error})") from error
    if settings is None:
        raise BdganError(
            f"{path} is empty or holds an interpolation (${{...}}), which could run code; write values"
        )
    given = _given(settings, path)
    for section, name, value in given:
        allowed = _FIXED.get(f"{section}.{name}")
        if allowed and value not in allowed:
            expected = " or ".join(str(x) for x in allowed)
            raise BdganError(f"{path}: {section}.{name}: expected {expected}, got {short(value)}")
        if name == "pkeep" and not (isinstance(value, int | float) and value > 0):
            raise BdganError(f"{path}: {section}.pkeep: expected a number above 0, got {short(value)}")

    def integer(key: str) -> int:
        value = _look_up(settings, key, path)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BdganError(f"{path}: {key}: expected a whole number of 1 or more, got {short(value)}")
        return value

    def integers(key: str) -> tuple[int, ...]:
        value = _look_up(settings, key, path)
        if not isinstance(value, list) or not all(type(x) is int and x > 0 for x in value):
            raise BdganError(f"{path}: {key}: expected a list of whole numbers, got {short(value)}")
        return tuple(value)

    sizes: dict[str, Any] = {
        size: (integers if size in ("ch_mult", "attention") else integer)(key) for key, size in _SIZES.items()
    }
    for section, name, value in given:
        known = {*_FIXED, *_SIZES, *_SECTIONS, *(f"{section}.{x}" for x in _OF_TRAINING.get(section, ()))}
        if f"{section}.{name}" not in known:
            raise BdganError(f"{path}: {section}.{name}: expected no such setting, got {short(value)}")
    if not sizes["ch_mult"]:
        raise BdganError(f"{path}: {_DD}.ch_mult: expected one number or more, got none")
    try:
        config = VQGANConfig(**sizes)
    except BdganError as error:
        raise BdganError(f"{path} describes no VQGAN: {error}") from error
    sizes = {f"{_GPT}.params.vocab_size": config.codes, f"{_GPT}.params.block_size": config.side**2}
    for key, expected in sizes.items():
        if integer(key) != expected:
            raise BdganError(f"{path}: {key}: expected {expected} as in its VQGAN, got {integer(key)}")
    return config


def read_vqgan(
    weights: str | Path,
    config: VQGANConfig,
    name: str,
    classes: Sequence[str],
    device: str = "cpu",
    bf16: bool = False,
) -> VQGAN:
    """Load a converted checkpoint (safetensors, with taming's keys).

    Args:
        weights: the file.
        config: the network's sizes, see `read_config`.
        name: the generator's name.
        classes: names of the class ids.
        device: where the network runs.
        bf16: networks in bfloat16.

    Raises:
        BdganError: the file is missing or unreadable, or keys do not fit `config`; each is named.
    """
    weights = Path(weights)
    state = read_tensors(weights, "fetch it again, see `bdgan weights list`")
    network = fill_network(config, _renamed(state), f"{weights}, read as {name},")
    return VQGAN(network, name, classes, sha256_of(weights), device, bf16)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of taming's Net2NetTransformer -> ours, without those that sampling never reads."""
    return {
        key.removeprefix(_FIRST_STAGE): value
        for key, value in state.items()
        if not key.startswith(_UNREAD) and not key.endswith(".attn.mask")
    }


def _given(settings: object, path: Path) -> list[tuple[str, str, object]]:
    """The model's settings, as (section, name, value)."""
    given = []
    for section in _SECTIONS:
        values = _look_up(settings, section, path)
        if not isinstance(values, Mapping):
            raise BdganError(f"{path}: {section}: expected settings, got {short(values)}")
        given += [(section, str(name), value) for name, value in values.items()]
    return given


def _look_up(settings: object, key: str, path: Path) -> object:
    for part in key.split("."):
        if not isinstance(settings, Mapping) or part not in settings:
            raise BdganError(f"{path}: {key} is missing")
        settings = settings[part]
    return settings
