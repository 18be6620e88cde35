"""Checkpoints of taming-transformers: the class-conditional transformer with its VQGAN, and their yaml.

Both are read as data. Class names in the yaml are never imported, and interpolations are refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.vqgan import VQGAN, fill_network
from bdgan_lib.generators.vqgan_network import VQGANConfig

IMAGENET = VQGANConfig(  # of the published class-conditional model, 1.4 billion parameters in its transformer
    resolution=256, num_classes=1000, codes=16384, code_dim=256, z_channels=256, ch=128,
    ch_mult=(1, 1, 2, 2, 4), res_blocks=2, attention=(16,), layers=48, heads=24, width=1536,
)  # fmt: skip
_FIRST_STAGE = "first_stage_model."
_UNREAD = (_FIRST_STAGE + "loss.", "cond_stage_model.")  # of training alone; class labels need no weights


def read_config(path: str | Path) -> VQGANConfig:
    """The sizes in a `*-project.yaml` of taming; BdganError names what is missing, odd or could run."""
    import yaml

    path = Path(path)
    try:
        text = path.read_text("utf-8")
        found = None if "${" in text else yaml.safe_load(text)  # which refuses every tag that makes an object
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BdganError(f"{path}: no readable configuration ({error})") from error
    if found is None:
        raise BdganError(
            f"{path} is empty or holds an interpolation (${{...}}), which could run; write values"
        )
    gpt = "model.params.transformer_config.params"
    first = "model.params.first_stage_config.params"
    classes = "model.params.cond_stage_config.params.n_classes"

    def whole(key: str) -> int:
        value = _look_up(found, key, path)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BdganError(f"{path}: {key} came as {value!r}; wanted a whole number, 1 or more")
        return value

    def several(key: str) -> tuple[int, ...]:
        value = _look_up(found, key, path)
        if not isinstance(value, list) or not all(isinstance(x, int) for x in value):
            raise BdganError(f"{path}: {key} came as {value!r}; wanted a list of whole numbers")
        return tuple(value)

    config = VQGANConfig(
        resolution=whole(f"{first}.ddconfig.resolution"),
        num_classes=whole(classes),
        codes=whole(f"{first}.n_embed"),
        code_dim=whole(f"{first}.embed_dim"),
        z_channels=whole(f"{first}.ddconfig.z_channels"),
        ch=whole(f"{first}.ddconfig.ch"),
        ch_mult=several(f"{first}.ddconfig.ch_mult"),
        res_blocks=whole(f"{first}.ddconfig.num_res_blocks"),
        attention=several(f"{first}.ddconfig.attn_resolutions"),
        layers=whole(f"{gpt}.n_layer"),
        heads=whole(f"{gpt}.n_head"),
        width=whole(f"{gpt}.n_embd"),
    )
    for key, wanted in ((f"{gpt}.vocab_size", config.codes), (f"{gpt}.block_size", config.side**2)):
        if whole(key) != wanted:
            raise BdganError(f"{path}: {key} is {whole(key)}; its VQGAN asks for {wanted}")
    return config


def read_vqgan(
    weights: str | Path,
    config: VQGANConfig,
    name: str,
    classes: Sequence[str],
    device: str = "cpu",
    bf16: bool = False,
) -> VQGAN:
    """A converted checkpoint (safetensors, taming's own keys) -> the generator.

    BdganError for a file that is missing or unreadable, and naming every key that does not fit `config`.
    """
    weights = Path(weights)
    if not weights.is_file():
        raise BdganError(f"{weights} is missing; see `bdgan weights list`")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise BdganError(f"{weights} is no readable safetensors file ({error}); convert it anew") from error
    network = fill_network(config, _renamed(state), f"{weights}, read as {name},")
    return VQGAN(network, name, classes, sha256_of(weights), device, bf16)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of taming's Net2NetTransformer -> ours, without what sampling never reads."""
    return {
        key.removeprefix(_FIRST_STAGE): value
        for key, value in state.items()
        if not key.startswith(_UNREAD) and not key.endswith(".attn.mask")
    }


def _look_up(found: Any, key: str, path: Path) -> Any:
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise BdganError(f"{path}: {key} is missing")
        found = found[part]
    return found
