"""Networks of timm as trunks: any that gives feature maps, convolutional or a vision transformer."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Trunk

_SIZES = (8, 4, 2, 1)  # of the four maps / of the coarsest
_ANY_SIZE: tuple[dict[str, Any], ...] = (  # how networks are asked to take images of any size
    {"dynamic_img_size": True},
    {"strict_img_size": False, "dynamic_mask": True},
    {"strict_img_size": False},
    {},
)
_SETTINGS = {  # that a file may give: of the architecture alone; others of `create_model` read files
    "img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size", "patch_size", "window_size",
    "embed_dim", "depth", "depths", "dims", "num_heads", "mlp_ratio", "qkv_bias", "init_values",
    "class_token", "reg_tokens", "num_reg_tokens", "no_embed_class", "pre_norm", "swiglu_mlp",
    "swiglu_align_to", "global_pool", "act_layer", "norm_layer", "drop_rate", "drop_path_rate", "in_chans",
}  # fmt: skip
_MOST = 100_000  # of a number among them


class TimmTrunk(Trunk):
    """A timm network: of a convolutional one the four coarsest maps, of a transformer those of four blocks.

    A transformer's blocks are evenly spaced and end with the last; their maps pass its final norm, as in
    DINOv2. They have one size, so they are resized to a pyramid: 4, 2, 1 and 1/2 times the grid of patches.

    Args:
        name: of timm, with or without the tag of its weights: "resnet18", "resnet18.a1_in1k".
        pretrained: fetch the published weights; timm keeps them in its cache.
        settings: of the architecture, such as img_size, which may come from a file of others.

    Raises:
        BdganError: timm is missing or has no such network, a setting is none of an architecture, the network
            gives no four maps, or its weights cannot be fetched.
    """

    kind = "timm"

    def __init__(
        self, name: str, pretrained: bool = False, settings: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.name, self.settings = name, _checked(name, settings or {})
        self.model = _timm_model(name, pretrained, self.settings)
        info = self.model.feature_info
        stages = [(int(i["num_chs"]), int(i["reduction"])) for i in getattr(info, "info", info)]
        steps = [step for _, step in stages]
        self.is_grid = len(set(steps)) == 1  # of patches
        if self.is_grid:
            self.levels = [max(0, math.ceil(len(steps) * k / 4) - 1) for k in (1, 2, 3, 4)]
            self.multiple = 2 * steps[0]
            self.strides = tuple(round(self.multiple / size) for size in _SIZES)
        else:
            self.levels, self.multiple = [*range(len(steps))][-4:], steps[-1]
            self.strides = tuple(steps[-4:])
            if self.strides != tuple(self.multiple // size for size in _SIZES):
                raise BdganError(
                    f"timm:{name} gives maps at 1/{', 1/'.join(map(str, steps))} of the image; "
                    "expected four, each of half the size; choose another network"
                )
        self.sizes: tuple[int, ...] = _SIZES
        self.channels = tuple(stages[k][0] for k in self.levels)
        published = self.model.pretrained_cfg
        self.standardise_by(tuple(map(float, published["mean"])), tuple(map(float, published["std"])))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four feature maps of images [B, 3, H, W] in [-1, 1]; H and W are multiples of `multiple`."""
        levels = sorted(set(self.levels))
        try:
            outputs = self.model.forward_intermediates(
                self.standardised(images), levels, norm=self.is_grid, intermediates_only=True
            )
        except AssertionError as error:  # timm's, of images of another size
            height, width = images.shape[-2:]
            raise BdganError(
                f"timm:{self.name} does not take images of {width} × {height} ({error!s:.100}); resize "
                "them, or choose a network that takes any size, such as a resnet or a vit"
            ) from error
        coarsest = [side // self.multiple for side in images.shape[-2:]]
        return [
            _resized(outputs[levels.index(k)], [size * side for side in coarsest])
            for k, size in zip(self.levels, self.sizes, strict=True)
        ]

    def dilate(self, stride: int = 8) -> None:
        """Resize, in place, the maps that are coarser than 1/stride of the image to that size."""
        self.sizes = tuple(max(size, self.multiple // stride) for size in self.sizes)
        self.strides = tuple(min(s, stride) for s in self.strides)

    def record(self) -> dict[str, Any]:
        """As `Trunk.record`, with timm's settings."""
        return {**super().record(), "settings": self.settings}


def timm_config(name: str) -> dict[str, Any]:
    """Timm's record of a network: mean, deviation, the prefix of its classifier's weights.

    Raises:
        BdganError: timm is missing or has no such network.
    """
    timm = require_timm()
    if not timm.is_model(name):
        alike = get_close_matches(name, timm.list_models(), 3, 0.5)
        hint = f"; names like it: {', '.join(alike)}" if alike else "; timm.list_models() names them"
        raise BdganError(f"timm has no network {name!r}{hint}")
    config = timm.get_pretrained_cfg(name)
    return config.to_dict() if config else {}


def require_timm() -> Any:
    """The package timm.

    Raises:
        BdganError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise BdganError("timm is not installed; pip install 'bdgan-lib[timm]'") from error
    return timm


def _checked(name: str, settings: object) -> dict[str, Any]:
    """The settings without the number of classes, if each is one of an architecture."""
    if not isinstance(settings, Mapping):
        raise BdganError(f"timm:{name}: expected settings by name, got {settings!r:.100}; restore them")
    settings = {key: value for key, value in settings.items() if key != "num_classes"}
    if strange := [key for key in settings if key not in _SETTINGS]:
        raise BdganError(
            f"timm:{name} is not built with the setting {strange[0]!r:.60}: expected settings of its "
            "architecture alone, such as img_size; remove it from the file, or give timm:NAME@FILE"
        )
    for key, value in settings.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is None or isinstance(each, bool) or (isinstance(each, str) and len(each) <= 30):
                continue
            if not isinstance(each, int | float) or not abs(each) <= _MOST:
                raise BdganError(f"timm:{name}: expected a plain {key}, got {value!r:.100}; restore it")
    return settings


def _timm_model(name: str, pretrained: bool, settings: Mapping[str, Any]) -> Any:
    """The network without its classifier, asked to take images of any size."""
    timm = require_timm()
    config = timm_config(name)
    if pretrained and not (config.get("url") or config.get("hf_hub_id")):
        raise BdganError(
            f"timm has no weights of {name}; give a file, timm:{name}@FILE, or begin untrained, "
            f"timm:{name}@random"
        )
    for any_size in _ANY_SIZE:
        try:
            with _quiet():
                given = {**any_size, **settings, "num_classes": 0}
                model = timm.create_model(name, pretrained=pretrained, **given)
        except TypeError as error:
            if any(key in str(error) for key in any_size):  # the network has no such argument
                continue
            raise BdganError(f"timm does not build {name} with {dict(settings)} ({_line(error)})") from error
        except Exception as error:
            if not pretrained:
                raise BdganError(
                    f"timm does not build {name} with {dict(settings)} ({_line(error)}); restore its settings"
                ) from error
            raise BdganError(  # of the network, the Hub, the disk
                f"the weights of timm:{name} could not be fetched ({_line(error)}); give a file of them, "
                f"timm:{name}@FILE, or begin untrained, timm:{name}@random"
            ) from error
        if not hasattr(model, "forward_intermediates"):
            raise BdganError(f"timm:{name} gives no feature maps; choose another network")
        return model
    raise AssertionError


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without timm's and the Hub's messages, which repeat the error."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _resized(x: Tensor, size: list[int]) -> Tensor:
    """A map [B, C, H, W] at another size, bilinearly."""
    if list(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
