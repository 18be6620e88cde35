"""Reads DINOv2 and DINOv3 files: Hugging Face's and Facebook's names -> the network and names of timm.

The architecture is read from the tensors' shapes. Only the number of attention heads does not show there: it
is that of `config.json` beside the file or, as in all published ones, one head for 64 channels.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bdgan_lib.core.types import BdganError

State = Mapping[str, Tensor]
_RENAMED = (  # a pattern in Hugging Face's names -> Facebook's
    (r"^(dinov2\w*|dinov3_vit|model)\.(?=(embeddings|encoder|layernorm|layer|norm)\.)", ""),
    (r"^(encoder\.)?layer\.", "blocks."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"\.attention\.(attention\.)?", ".attn."),
    (r"\.attn\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
    (r"\.mlp\.gate_proj\.", ".mlp.w1."),
    (r"^layernorm\.", "norm."),
    (r"^blocks\.(\d+)\.(\d+)\.(?=norm|attn|mlp|ls)", r"blocks.\2."),  # in chunks, of a training
)  # fmt: skip
_PART = re.compile(r"\.attn\.(?:query|key|value|q_proj|k_proj|v_proj)\.")


@dataclass(frozen=True)
class Dino:
    """A DINO file as timm reads it."""

    name: str  # of timm's network
    settings: dict[str, Any] = field(default_factory=dict)  # of this one, beside
    state: dict[str, Tensor] = field(default_factory=dict)  # under Facebook's names


def read_dino(state: State, config: Mapping[str, Any], name: str) -> Dino | None:
    """The network of a DINO state dict; None if it is none.

    Args:
        state: tensors by name, in either layout.
        config: of `config.json` beside the file; empty if there is none.
        name: of the file, for messages.

    Raises:
        BdganError: it lacks a part of such a network.
    """
    renamed = {_renamed(key): x for key, x in state.items()}
    if "mask_token" not in renamed or "patch_embed.proj.weight" not in renamed:
        return None
    third = "pos_embed" not in renamed  # rotary positions
    registers = renamed.pop("embeddings.register_tokens", None)
    if registers is not None:
        renamed["storage_tokens" if third else "register_tokens"] = registers
    dim, _, patch, _ = renamed["patch_embed.proj.weight"].shape
    heads = config.get("num_attention_heads") or dim // 64
    if type(heads) is not int or heads < 1 or dim % heads:
        raise BdganError(
            f"{name}: the number of attention heads does not show in {dim} channels; put the network's "
            "config.json beside it"
        )
    depth = len({key.split(".")[1] for key in renamed if key.startswith("blocks.")})
    _join(renamed)
    gate = third and "blocks.0.mlp.w1.weight" in renamed
    built = {
        "hidden_act": "silu" if gate else "gelu",
        "layer_norm_eps": 1e-5 if third else 1e-6,
        "rope_theta": 100,
    }
    for key, value in built.items():
        if config.get(key, value) != value:
            raise BdganError(
                f"{name}: expected a published DINO's {key} {value}, got {config[key]} in config.json"
            )
    settings = {"patch_size": patch, "embed_dim": dim, "depth": depth, "num_heads": heads}
    return Dino(*(_third if third else _second)(renamed, settings, name))


def _renamed(key: str) -> str:
    for pattern, name in _RENAMED:
        key = re.sub(pattern, name, key)
    return key


def _join(state: dict[str, Tensor]) -> None:
    """Replace query, key and value, of which some may lack a bias, by one tensor; rename the MLP's parts."""
    for key in list(state):
        if key not in state or not (part := _PART.search(key)):
            continue
        stem, end = key[: part.start()], key[part.end() :]
        names = ("q_proj", "k_proj", "v_proj") if "_proj." in key else ("query", "key", "value")
        parts = [state.pop(f"{stem}.attn.{name}.{end}", None) for name in names]
        like = next(x for x in parts if x is not None)
        state[f"{stem}.attn.qkv.{end}"] = torch.cat(
            [torch.zeros_like(like) if x is None else x for x in parts]
        )
    gated = any(".mlp.w1." in key for key in state)
    for key in [key for key in state if re.search(r"\.mlp\.(up|down)_proj\.", key)]:
        up, down = ("w2", "w3") if gated else ("fc1", "fc2")
        state[key.replace("up_proj", up).replace("down_proj", down)] = state.pop(key)


def _second(
    state: dict[str, Tensor], settings: dict[str, Any], name: str
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Timm's name, settings and weights of a DINOv2."""
    state["mask_token"] = state["mask_token"].reshape(1, -1)
    packed = state.get("blocks.0.mlp.w12.weight")
    hidden = state.get("blocks.0.mlp.fc1.weight") if packed is None else packed
    grid = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    if hidden is None or grid * grid != state["pos_embed"].shape[1] - 1:
        raise BdganError(f"{name} is no whole DINOv2: expected blocks.0.mlp and a square grid of positions")
    settings |= {"mlp_ratio": len(hidden) / settings["embed_dim"], "img_size": grid * settings["patch_size"]}
    registers = state.get("register_tokens")
    if registers is not None:
        settings["reg_tokens"] = registers.shape[1]
    size = "small" if packed is None else "giant"
    return f"vit_{size}_patch14_{'' if registers is None else 'reg4_'}dinov2", settings, state


def _third(
    state: dict[str, Tensor], settings: dict[str, Any], name: str
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Timm's name, settings and weights of a DINOv3."""
    gated = state.get("blocks.0.mlp.w1.weight")
    hidden = state.get("blocks.0.mlp.fc1.weight") if gated is None else gated
    if hidden is None:
        raise BdganError(f"{name} is no whole DINOv3: expected blocks.0.mlp")
    biased = any(key.endswith(".attn.qkv.bias") for key in state)
    for key in [key for key in state if key.endswith(".attn.qkv.bias")]:
        if state[key].chunk(3)[1].any():
            raise BdganError(f"{name}: {key} has a bias of keys, which no published DINOv3 has")
    registers = state.setdefault("storage_tokens", state["cls_token"][:, :0])  # timm knows the layout by it
    settings |= {
        "mlp_ratio": len(hidden) / settings["embed_dim"],
        "qkv_bias": biased,
        "num_reg_tokens": registers.shape[1],
    }
    if not registers.shape[1]:
        raise BdganError(
            f"{name} has no register tokens, which every published DINOv3 has; timm does not read it"
        )
    if gated is not None:
        settings |= {"swiglu_mlp": True, "swiglu_align_to": 1}
    return "vit_small_patch16_dinov3", settings, state
