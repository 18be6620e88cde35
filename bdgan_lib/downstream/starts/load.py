"""One text -> what a segmentation network starts from: a network of ours, of timm, or a file.

| text | start |
|---|---|
| `pocket-10`, `resnet50` | one of BACKBONES, untrained |
| `timm:NAME` | a network of timm with its published weights |
| `timm:NAME@random` | the same, untrained |
| `timm:NAME@FILE` | the same with the weights of a file |
| FILE | DINOv2, DINOv3, a torchvision ResNet, or a file with timm's `config.json` beside it |
| `METHOD:FILE` | a ResNet as the authors of a method published it (`pretraining.published.LAYOUTS`) |
| FOLDER | a backbone that was pre-trained here, or a folder of the Hub: `model.safetensors`, `config.json` |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from bdgan_lib.checkpoints.state_dict import batch_norm_counters, load_strict
from bdgan_lib.checkpoints.unpickle import convert_checkpoint
from bdgan_lib.core.model_files import read_json, read_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import BACKBONES, IMAGENET, Trunk, build_backbone, checked_statistics
from bdgan_lib.downstream.pretraining.files import RECORD, load_pretrained
from bdgan_lib.downstream.pretraining.published import LAYOUTS, architecture, load_published
from bdgan_lib.downstream.starts.dino import read_dino
from bdgan_lib.downstream.starts.timm_networks import TimmTrunk, timm_config

State = dict[str, Tensor]
_HUB_WEIGHTS, _CONFIG, _RANDOM = ("model.safetensors", "pytorch_model.bin"), "config.json", "random"
_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
_CONVERT = "convert a pickled checkpoint with: bdgan weights convert CHECKPOINT --out FILE"
_SMALL_RESNETS = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}  # torchvision's names are timm's


@dataclass(frozen=True)
class Start:
    """A network to start from, and what a user should know of how it was read."""

    trunk: Trunk
    note: str = ""  # which weights of a file were left out; "" if none


def load_start(text: str) -> Start:
    """The start that a text names, see the table in this module's docstring.

    Raises:
        BdganError: there is none of that name, a file or package is missing, or weights cannot be fetched or
            do not fit; every key that is missing, surplus or of another shape is named.
    """
    if text in BACKBONES:
        return Start(build_backbone(text))
    kind, colon, rest = text.partition(":")
    if colon and kind == "timm":
        name, _, weights = rest.partition("@")
        if weights in ("", _RANDOM):
            return Start(TimmTrunk(name, pretrained=not weights))
        return _timm_file(name, _read(Path(weights)), weights)
    if colon and kind in LAYOUTS:
        return Start(load_published(rest, kind, _resnet_in(read_tensors(Path(rest), _CONVERT))))
    path = Path(text)
    if not path.exists():
        raise BdganError(
            f"no start {text!r}: expected timm:NAME, a file, a folder, or one of {', '.join(BACKBONES)}"
        )
    if path.is_dir():
        if (path / RECORD).exists():
            return Start(load_pretrained(path).backbone())
        files = [path / name for name in _HUB_WEIGHTS]
        path = next((file for file in files if file.exists()), files[0])
    return _file(path)


def _read(path: Path) -> State:
    """The tensors of a file; of a pickle by the restricted converter, which runs nothing in it."""
    if path.suffix.lower() not in _PICKLES:
        return read_tensors(path, "give the file of the weights")
    with TemporaryDirectory() as folder:
        converted = Path(folder) / "weights.safetensors"
        convert_checkpoint(path, converted)
        return {key: x.clone() for key, x in read_tensors(converted).items()}  # the file is mapped


def _file(path: Path) -> Start:
    state = _read(path)
    beside = path.with_name(_CONFIG)
    config: Mapping[str, Any] = read_json(beside) if beside.is_file() else {}
    if dino := read_dino(state, config, str(path)):
        trunk = TimmTrunk(dino.name, settings=dino.settings)
        trunk.standardise_by(*IMAGENET)
        return _loaded(trunk, dino.state, str(path))
    if name := config.get("architecture"):
        return _timm_file(str(name), state, str(path), config)
    kind = architecture(state)
    if kind in BACKBONES:
        return _loaded(build_backbone(kind), state, str(path), "fc")
    blocks = tuple(len({k.split(".")[1] for k in state if k.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4))
    if blocks in _SMALL_RESNETS and "layer1.0.conv3.weight" not in state and "layer1.0.conv2.weight" in state:
        trunk = TimmTrunk(_SMALL_RESNETS[blocks])
        trunk.standardise_by(*IMAGENET)
        return _loaded(trunk, state, str(path), "fc")
    raise BdganError(
        f"{path} does not say which network it is: {kind}; expected DINOv2, DINOv3 or a torchvision ResNet; "
        f"name the network with timm:NAME@{path}"
    )


def _timm_file(name: str, state: State, file: str, config: Mapping[str, Any] | None = None) -> Start:
    """A network of timm with the weights of a file that timm wrote, or that timm converts."""
    theirs = {key: (config or {}).get(key) or {} for key in ("pretrained_cfg", "model_args")}
    for key, value in theirs.items():
        if not isinstance(value, dict):
            raise BdganError(f"{file}: expected {key} of config.json to be an object, got {value!r:.100}")
    published, settings = {**timm_config(name), **theirs["pretrained_cfg"]}, theirs["model_args"]
    trunk = TimmTrunk(name, settings=settings)
    if side := _trained_side(trunk, state):
        trunk = TimmTrunk(name, settings={**settings, "img_size": side})
    if published.get("mean"):
        trunk.standardise_by(*checked_statistics(published["mean"], published.get("std"), file))
    classifier = published.get("classifier") or ()
    names = list(classifier) if isinstance(classifier, list | tuple) else [classifier]
    return _loaded(trunk, state, file, *map(str, names))


def _trained_side(trunk: TimmTrunk, state: State) -> int | None:
    """The side of the images whose positions a transformer's file knows, if the network's is another."""
    theirs, ours = state.get("pos_embed"), getattr(trunk.model, "pos_embed", None)
    if theirs is None or ours is None or theirs.ndim != 3 or theirs.shape[1] == ours.shape[1]:
        return None
    height, width = trunk.model.patch_embed.grid_size
    side = (theirs.shape[1] - ours.shape[1] + height * width) ** 0.5
    return round(side) * trunk.multiple // 2 if side == round(side) else None


def _loaded(trunk: Trunk, state: State, file: str, *classifiers: str) -> Start:
    """A trunk with these weights; those of classifiers, by the beginnings of their names, are left out."""
    network = trunk.model if isinstance(trunk, TimmTrunk) else trunk
    if isinstance(trunk, TimmTrunk):
        convert = getattr(import_module(type(network).__module__), "checkpoint_filter_fn", None)
        state = convert(state, network) if convert else state
    left_out = sorted(k for k in state if k.startswith(tuple(f"{name}." for name in classifiers)))
    kept = {key: x for key, x in state.items() if key not in left_out}
    load_strict(network, batch_norm_counters(network.state_dict()) | kept, f"{file} (read as {trunk.name})")
    return Start(trunk, f"{file}: left out the classifier, {', '.join(left_out)}" if left_out else "")


def _resnet_in(state: State) -> str:
    """Which ResNet a file of a method holds, wherever in it."""
    for key in state:
        prefix, stem, _ = key.partition("layer4.2.conv3.weight")
        if stem:
            kind = architecture({k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)})
            if kind in BACKBONES:
                return kind
    return "resnet50"  # whatever does not fit it is named
