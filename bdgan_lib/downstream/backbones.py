"""ResNet backbones: torchvision's, and small ones for 64 x 64 images.

All use torchvision's layer names, so a published ResNet's state dict loads after its prefix is removed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from bdgan_lib.core.types import BdganError

BACKBONES = {  # name -> blocks per stage
    "pocket-10": (1, 1, 1, 1),
    "pocket-18": (2, 2, 2, 2),
    "pocket-34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
_POCKET_WIDTH = 24  # channels of the first stage; torchvision: 64
Channels = tuple[float, ...]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean, deviation of channels in [0, 1]


class Trunk(nn.Module):
    """A network without its classifier: images [B, 3, H, W] in [-1, 1] -> four feature maps, fine to coarse.

    Map k is [B, channels[k], H / strides[k], W / strides[k]]. `mean` and `deviation` standardise the images
    as the weights expect them; they are not in the state dict.
    """

    mean: Tensor  # [1, 3, 1, 1], as `deviation`: of channels in [-1, 1]
    deviation: Tensor
    kind: str  # of the network; a saved one says so
    name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple = 1  # the images' sides must be multiples of it

    def standardise_by(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        """Set the mean and deviation, of channels in [0, 1], by which images are standardised."""
        self._is_standard = set(mean + deviation) == {0.5}  # as [-1, 1] is: nothing to compute
        self.statistics = mean, deviation
        self.register_buffer("mean", 2 * torch.tensor(mean).view(1, 3, 1, 1) - 1, persistent=False)
        self.register_buffer("deviation", 2 * torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)

    def standardised(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] as the weights expect them."""
        return images if self._is_standard else (images - self.mean) / self.deviation

    def dilate(self, stride: int = 8) -> None:
        """Refine, in place, the maps that are coarser than 1/stride of the image."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What an untrained copy is built from, as JSON."""
        mean, deviation = self.statistics
        return {"kind": self.kind, "name": self.name, "mean": list(mean), "deviation": list(deviation)}


class Backbone(Trunk):
    """A ResNet without its classifier, see `Trunk`."""

    kind = "resnet"

    def __init__(self, name: str) -> None:
        super().__init__()
        small = name.startswith("pocket")
        block = BasicBlock if small else Bottleneck
        width = _POCKET_WIDTH if small else 64
        self.name = name
        self.channels = tuple(width * 2**k * block.expansion for k in range(4))
        self.strides = (2, 4, 8, 16) if small else (4, 8, 16, 32)
        side = 3 if small else 7
        self.conv1 = nn.Conv2d(3, width, side, stride=2, padding=side // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for k, (blocks, outputs) in enumerate(zip(BACKBONES[name], self.channels, strict=True)):
            self.add_module(f"layer{k + 1}", _stage(block, inputs, outputs, blocks, stride=2 if k else 1))
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.standardise_by(*(((0.5,) * 3, (0.5,) * 3) if small else IMAGENET))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four feature maps of images [B, 3, H, W] in [-1, 1], fine to coarse."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.standardised(images)))))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    @property
    def stages(self) -> list[nn.Module]:
        """The four residual stages."""
        return [self.get_submodule(f"layer{k}") for k in (1, 2, 3, 4)]

    def dilate(self, stride: int = 8) -> None:
        """Replace strides by dilation, in place, so that no map is coarser than 1/stride of the image.

        Weights do not change; the result equals torchvision's `replace_stride_with_dilation`.
        """
        rate = 1
        for k, stage in enumerate(self.stages):
            before, rate = rate, max(1, self.strides[k] // stride)
            if rate == 1:
                continue
            for convolution in (m for m in stage.modules() if isinstance(m, nn.Conv2d)):
                strided = convolution.stride != (1, 1)
                convolution.stride = (1, 1)
                if convolution.kernel_size == (3, 3):
                    spread = before if strided else rate
                    convolution.dilation = convolution.padding = (spread, spread)
        self.strides = tuple(min(s, stride) for s in self.strides)


def checked_statistics(mean: object, deviation: object, source: str) -> tuple[Channels, Channels]:
    """The mean and deviation of a record, of three channels in [0, 1].

    Args:
        mean: as JSON gave it.
        deviation: as JSON gave it.
        source: of the record, for messages.

    Raises:
        BdganError: they are not three numbers each, or a deviation is not positive.
    """
    for name, values, least in (("mean", mean, -1e6), ("deviation", deviation, 1e-6)):
        is_list = isinstance(values, list | tuple) and len(values) == 3
        if not is_list or not all(type(x) in (int, float) and least <= x <= 1e6 for x in values):  # type: ignore[attr-defined]
            kind = "numbers" if name == "mean" else "positive numbers"
            raise BdganError(f"{source}: expected a {name} of three {kind}, got {values!r:.100}; restore it")
    return tuple(map(float, mean)), tuple(map(float, deviation))  # type: ignore[call-overload, return-value]


def build_backbone(name: str) -> Backbone:
    """A backbone of that name, initialised from torch's global generator.

    Raises:
        BdganError: the name is unknown.
    """
    if name not in BACKBONES:
        raise BdganError(f"expected a backbone of {', '.join(BACKBONES)}, got {name!r}")
    return Backbone(name)


def _stage(
    block: Callable[..., nn.Module], inputs: int, outputs: int, blocks: int, stride: int
) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    planes = outputs // block.expansion  # type: ignore[attr-defined]
    first = block(inputs, planes, stride, shortcut)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(1, blocks)))
