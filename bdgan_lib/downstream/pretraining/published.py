"""Reads published ResNet checkpoints: their authors' layouts -> the names of `Backbone` (torchvision's).

Each layout is described from the code that writes or converts the file; none of that code is used. Convert a
file to safetensors first: `bdgan weights convert` executes nothing in a pickle.

- supervised: torchvision's plain names, `fc` the classifier
- supcon: SupContrast's `encoder` and `head`, within DataParallel
- simclr: sthalles/SimCLR, `backbone` with the projection as its `fc`; Spijkervet/SimCLR, `encoder`,
  `projector`; the authors' TensorFlow weights by simclr-converter, plain names
- moco-v2: facebookresearch/moco, `encoder_q`, in training files also `encoder_k` and the queue
- moco-v3: facebookresearch/moco-v3, `base_encoder`, `momentum_encoder`, `predictor`
- byol: the authors' JAX weights by byol-convert, plain names. Its network pads strided layers on one side
  only, so in torchvision's network the maps are shifted by half a pixel of the first layers
- densecl: WXinlong/DenseCL, the backbone alone, or `encoder_q.0` of a training file
- dino: facebookresearch/dino, the backbone alone, or `backbone` of a full file's teacher
- resim: Tete-Xiao/ReSim, as MoCo, in its FPN variant with `fpn` layers in the encoder; its files for
  detectron2 have other names and are not read
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bdgan_lib.checkpoints.state_dict import batch_norm_counters, meta_device, require_fit
from bdgan_lib.core.model_files import read_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import BACKBONES, Backbone, build_backbone

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Where a backbone lies in a state dict, and which other keys are dropped."""

    prefix: str
    dropped: tuple[str, ...] = ()  # key prefixes: heads, momentum encoders, queues
    standardised: bool = True  # images: by ImageNet's mean and deviation; else in [0, 1]


_Q, _BASE, _MOCO = "module.encoder_q.", "module.base_encoder.", ("module.encoder_k.", "module.queue")
_PLAIN = Layout("", ("fc.",))
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "supervised": (_PLAIN,),
    "supcon": (
        Layout("module.encoder.", ("module.head.",)),
        Layout("encoder.module.", ("head.",)),
        Layout("encoder.", ("head.",)),
    ),
    "simclr": (
        Layout("backbone.", ("backbone.fc.",), standardised=False),
        Layout("encoder.", ("encoder.fc.", "projector."), standardised=False),
        Layout("", ("fc.",), standardised=False),
    ),
    "moco-v2": (Layout(_Q, (f"{_Q}fc.", *_MOCO)),),
    "moco-v3": (Layout(_BASE, (f"{_BASE}fc.", "module.momentum_encoder.", "module.predictor.")),),
    "byol": (_PLAIN,),
    "densecl": (
        Layout("encoder_q.0.", ("encoder_q.1.", "encoder_k.", "backbone.", "queue")),
        Layout("backbone.", ("neck.", "head.")),
        Layout(""),
    ),
    "dino": (Layout("module.backbone.", ("module.head.",)), Layout("backbone.", ("head.",)), _PLAIN),
    "resim": (Layout(_Q, (f"{_Q}fc.", f"{_Q}fpn", *_MOCO)),),
}


def load_published(path: str | Path, method: str, backbone: str = "resnet50") -> Backbone:
    """A backbone with the weights of a published checkpoint, converted to safetensors beforehand.

    Raises:
        BdganError: the method has no layout, the file is missing or unreadable, or its architecture or keys
            do not fit; every key that is missing, surplus or of another shape is named.
    """
    hint = f"download the {method} checkpoint and run: bdgan weights convert CHECKPOINT --out FILE"
    state = read_tensors(Path(path), hint)
    network = build_backbone(backbone)
    layout = _layout(state, method, str(path))
    network.load_state_dict(backbone_state(state, method, backbone, str(path)))
    if not layout.standardised:
        network.standardise_by((0.0,) * 3, (1.0,) * 3)
    return network


def backbone_state(
    state: State, method: str, backbone: str = "resnet50", name: str = "the state dict"
) -> dict[str, Tensor]:
    """The backbone's tensors in float32 under torchvision's names; batch-norm counters may be absent.

    Args:
        state: a state dict in a layout of the method.
        method: a key of LAYOUTS.
        backbone: the expected architecture.
        name: of the file, for messages.

    Raises:
        BdganError: see `load_published`.
    """
    layout = _layout(state, method, name)
    renamed = {_renamed(key): x for key, x in state.items()}
    start = len(layout.prefix)
    actual = architecture({key[start:]: x for key, x in renamed.items() if key.startswith(layout.prefix)})
    if actual != backbone:
        raise BdganError(
            f"{name}: expected {backbone}, got {actual}; give another file, or name the other backbone"
        )
    with meta_device():
        backbone_tensors = build_backbone(backbone).state_dict()
    expected = {layout.prefix + key: x.shape for key, x in backbone_tensors.items()}
    kept = batch_norm_counters(expected)
    kept |= {key: x for key, x in renamed.items() if key in expected or not _dropped(key, layout)}
    kept = require_fit(expected, kept, f"{name}, read as {method}, does not fit {backbone}")
    return {key: kept[layout.prefix + key].to(x.dtype) for key, x in backbone_tensors.items()}


def architecture(state: State) -> str:
    """The network that a state dict with torchvision's names belongs to: "resnet50", or a description."""
    if any(key.startswith(("patch_embed.", "cls_token", "blocks.")) for key in state):
        return "a vision transformer"
    if "conv1.weight" not in state:
        return f"not a ResNet ({', '.join(sorted(state)[:3]) or 'nothing'} ...)"
    blocks = tuple(len({k.split(".")[1] for k in state if k.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4))
    kind = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    stem, inner = state["conv1.weight"].shape, state.get("layer1.0.conv2.weight")
    if inner is None or len(stem) != 4:
        return f"a ResNet-like network with blocks {blocks}"
    if stem[2] != 7 or stem[1] != 3:
        return f"a ResNet with a {stem[2]}x{stem[3]} first convolution on {stem[1]} channels"
    if inner.shape[0] != 64 or inner.shape[1] != 64:
        return f"a wider ResNet ({inner.shape[0]} channels in its first block, 64 in a plain one)"
    for name in ("resnet50", "resnet101", "resnet152"):
        if kind == "bottleneck" and blocks == BACKBONES[name]:
            return name
    return f"a ResNet of {kind} blocks {blocks}"


def _layout(state: State, method: str, name: str) -> Layout:
    """The layout of the method that a state dict has."""
    if method not in LAYOUTS:
        raise BdganError(f"expected a method of {', '.join(LAYOUTS)}, got {method!r}")
    for layout in LAYOUTS[method]:
        if _lies_at(layout.prefix, state):
            return layout
    others = [m for m, layouts in LAYOUTS.items() if any(_lies_at(x.prefix, state) for x in layouts)]
    hint = f"; it may be of {' or '.join(others)}" if others else ""
    prefixes = ", ".join(repr(layout.prefix) for layout in LAYOUTS[method])
    raise BdganError(
        f"{name} has no backbone of {method} (at {prefixes}); its keys start {sorted(state)[:3]}{hint}"
    )


def _lies_at(prefix: str, state: State) -> bool:
    return any(f"{prefix}{key}" in state for key in ("conv1.weight", "patch_embed.proj.weight"))


def _renamed(key: str) -> str:
    """SupContrast's ResNet calls `downsample` `shortcut`."""
    return key.replace(".shortcut.", ".downsample.")


def _dropped(key: str, layout: Layout) -> bool:
    return bool(layout.dropped) and key.startswith(layout.dropped)
