"""Checkpoints of taming-transformers: the class-conditional transformer with its VQGAN, and their yaml.

Both are read as data: class names in the yaml are never imported, and interpolations are refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

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


def read_config(path: str | Path) -> VQGANConfig:
    """The sizes in a `*-project.yaml` of taming.

    Raises:
        BdganError: the file is missing or unreadable, could run code, or lacks a size; the key is named.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text("utf-8")
        settings = None if "${" in text else yaml.safe_load(text)  # which refuses tags that make objects
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BdganError(f"{path} is not a readable configuration ({error})") from error
    if settings is None:
        raise BdganError(
            f"{path} is empty or holds an interpolation (${{...}}), which could run code; write values"
        )
    gpt = "model.params.transformer_config.params"
    first = "model.params.first_stage_config.params"
    classes = "model.params.cond_stage_config.params.n_classes"

    def integer(key: str) -> int:
        value = _look_up(settings, key, path)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BdganError(f"{path}: {key}: expected a whole number of 1 or more, got {value!r}")
        return value

    def integers(key: str) -> tuple[int, ...]:
        value = _look_up(settings, key, path)
        if not isinstance(value, list) or not all(isinstance(x, int) for x in value):
            raise BdganError(f"{path}: {key}: expected a list of whole numbers, got {value!r}")
        return tuple(value)

    config = VQGANConfig(
        resolution=integer(f"{first}.ddconfig.resolution"),
        num_classes=integer(classes),
        codes=integer(f"{first}.n_embed"),
        code_dim=integer(f"{first}.embed_dim"),
        z_channels=integer(f"{first}.ddconfig.z_channels"),
        ch=integer(f"{first}.ddconfig.ch"),
        ch_mult=integers(f"{first}.ddconfig.ch_mult"),
        res_blocks=integer(f"{first}.ddconfig.num_res_blocks"),
        attention=integers(f"{first}.ddconfig.attn_resolutions"),
        layers=integer(f"{gpt}.n_layer"),
        heads=integer(f"{gpt}.n_head"),
        width=integer(f"{gpt}.n_embd"),
    )
    sizes = {f"{gpt}.vocab_size": config.codes, f"{gpt}.block_size": config.side**2}
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


def _look_up(settings: object, key: str, path: Path) -> object:
    for part in key.split("."):
        if not isinstance(settings, Mapping) or part not in settings:
            raise BdganError(f"{path}: {key} is missing")
        settings = settings[part]
    return settings
