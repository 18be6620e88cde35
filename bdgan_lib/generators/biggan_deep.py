"""BigGAN-deep on the classes of pytorch_pretrained_biggan, from safetensors, with its features by block."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock, SelfAttn
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from bdgan_lib.checkpoints.state_dict import load_strict, meta_device
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_json, read_tensors
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator, ImagesOfWeights, log_once
from bdgan_lib.generators.sizes import check_sizes
from bdgan_lib.generators.upsampling import doubling

_WIDTHS = {  # of the blocks at 4, 8, 16 ... pixels, times the base width
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
_MOST = {
    "output_dim": 4096, "z_dim": 16384, "class_embed_dim": 16384, "channel_width": 16384,
    "num_classes": 1 << 20, "n_stats": 1 << 16,
}  # fmt: skip


class BigGANDeep(FeatureGenerator):
    """A frozen BigGAN-deep generator in inference mode (Brock et al. 2019).

    Features are the outputs of its blocks, named block1, block2, ... from coarse to fine. Batch norm reads
    the stored statistics nearest to the truncation; where pytorch_pretrained_biggan reads others (see
    `_normalise`), the first such sample logs that. With `z_std` it reads those of truncation 1.
    """

    reads_truncation = True

    def __init__(
        self,
        model: BigGAN,
        name: str,
        classes: Sequence[str],
        weights_sha256: str,
        device: str = "cpu",
        bf16: bool = False,
    ) -> None:
        blocks: dict[str, tuple[str, int, int]] = {}
        side = 4
        for i, layer in enumerate(model.generator.layers):
            if isinstance(layer, GenBlock):
                side *= 2 if layer.up_sample else 1
                path = f"generator.layers.{i}"
                blocks[f"block{len(blocks) + 1}"] = (path, layer.conv_3.out_channels, side)
        z_dim = model.config.z_dim
        super().__init__(_prepared(model), name, classes, weights_sha256, device, z_dim, blocks)
        if bf16:
            _in_bf16(model)

    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        step = self._model.generator.bn.step_size
        if math.modf(sampling.truncation / step)[0]:
            log_once(
                f"{self.name}: truncation {sampling.truncation} reads the batch-norm statistics of "
                f"{round(sampling.truncation / step) * step:.2f}, pytorch_pretrained_biggan others"
            )
        one_hot = F.one_hot(class_ids, len(self.classes)).float()
        images: Tensor = self._model(z, one_hot, sampling.truncation)
        return images

    @property
    def images_of_weights(self) -> ImagesOfWeights:
        """As `FeatureGenerator.images_of_weights`."""
        return _images_of_weights


def deep_config(resolution: int) -> BigGANConfig:
    """The published BigGAN-deep of 128, 256 or 512 pixels: 1,000 classes, base width 128.

    Raises:
        BdganError: there is none of this resolution.
    """
    if resolution not in _WIDTHS:
        raise BdganError(f"expected a BigGAN-deep of 128, 256 or 512 pixels, got {resolution}")
    layers = []  # (upsamples, width before, width after)
    for before, after in pairwise(_WIDTHS[resolution]):
        layers += [(False, before, before), (True, before, after)]
    return BigGANConfig(output_dim=resolution, layers=layers)


def load_biggan_deep(
    folder: str | Path, classes: Sequence[str], device: str = "cpu", bf16: bool = False
) -> BigGANDeep:
    """Load the folder of a BigGAN-deep: `config.json` and `model.safetensors`.

    Args:
        folder: where both files are.
        classes: names of the class ids.
        device: where the network runs.
        bf16: convolutions in bfloat16.

    Raises:
        BdganError: `config.json` describes no BigGAN-deep, or as for `read_biggan_deep`.
    """
    folder = Path(folder)
    config = read_deep_config(folder)
    try:
        with meta_device():
            BigGAN(config)
    except Exception as error:  # the package raises whatever a wrong setting leads to
        path = folder / "config.json"
        raise BdganError(f"{path} describes no BigGAN-deep ({error}); restore it") from error
    return read_biggan_deep(folder / "model.safetensors", config, folder.name, classes, device, bf16)


def read_deep_config(folder: str | Path) -> BigGANConfig:
    """The sizes in `config.json` of a BigGAN-deep's folder.

    Raises:
        BdganError: the file is missing or unreadable, or a size is no whole number from 1 on or larger than
            any BigGAN-deep needs.
    """
    path = Path(folder) / "config.json"
    record = read_json(path, "a generator's folder holds config.json and model.safetensors")
    config = BigGANConfig.from_dict(record)
    try:
        check_sizes(vars(config), _MOST)
        layers = config.layers
        if not isinstance(layers, list) or len(layers) > 64:
            raise BdganError(f"expected a list of up to 64 layers, got {layers!r:.60}")
        for layer in layers:
            if not isinstance(layer, list | tuple) or len(layer) != 3 or not isinstance(layer[0], bool):
                raise BdganError(f"expected layers of (doubles, width, width), got {layer!r:.60}")
            check_sizes({"a layer's widths": [*layer[1:]]}, {"a layer's widths": 1024})
    except BdganError as error:
        raise BdganError(f"{path} describes no BigGAN-deep ({error}); restore it") from error
    return config


def read_biggan_deep(
    weights: Path,
    config: BigGANConfig,
    name: str,
    classes: Sequence[str],
    device: str = "cpu",
    bf16: bool = False,
) -> BigGANDeep:
    """Load a safetensors file with the keys of pytorch_pretrained_biggan.

    Args:
        weights: the file.
        config: the network's shapes.
        name: the generator's name.
        classes: names of the class ids.
        device: where the network runs.
        bf16: convolutions in bfloat16.

    Raises:
        BdganError: the file is missing or unreadable, there are more or fewer class names than classes, or
            keys are missing, surplus or of another shape; each is named.
    """
    if config.num_classes != len(classes):
        raise BdganError(f"expected {config.num_classes} class names for {name}, got {len(classes)}")
    state = read_tensors(weights)
    with meta_device():
        model = BigGAN(config)
    load_strict(model, state, f"{weights}, read as {name},")
    return BigGANDeep(model, name, classes, sha256_of(weights), device, bf16)


def _images_of_weights(model: nn.Module, z: Tensor, class_weights: Tensor, truncation: Tensor) -> Tensor:
    """BigGAN.forward, which compares the truncation with numbers, in tensors alone."""
    network = cast(BigGAN, model)
    condition = torch.cat([z, network.embeddings(class_weights)], 1)
    decimals = (truncation.double() * 1e6).round() / 1e6  # float32's 0.05 is 0.0500000007
    step = torch.tensor(network.generator.bn.step_size, dtype=torch.float64)  # a number becomes float32
    row = (decimals / step).round().long()
    images: Tensor = network.generator(condition, row)
    return images


def _prepared(model: BigGAN) -> BigGAN:
    """The same function in its inference form: spectral norm fused, three RGB channels, folded norms."""
    model.eval().requires_grad_(False)
    rgb = model.generator.conv_to_rgb
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            matrix = module.weight_orig.flatten(1)
            module.fused_norm = module.weight_u @ (matrix @ module.weight_v)
            remove_spectral_norm(module)  # leaves the weight that the stored vectors give
        if isinstance(module, BigGANBatchNorm):
            module.forward = partial(_normalise, module)
    for module in list(model.modules()):
        if isinstance(module, GenBlock):
            if module.up_sample:
                module.conv_1 = doubling(module.conv_1)
            module.forward = partial(_block, module)
    rgb.weight, rgb.bias = nn.Parameter(rgb.weight[:3], False), nn.Parameter(rgb.bias[:3], False)
    return model


def _in_bf16(model: BigGAN) -> None:
    """Everything between the first layer and tanh in bfloat16; conditions and statistics stay float32."""
    for module in model.modules():
        if isinstance(module, SelfAttn | nn.Conv2d | nn.ConvTranspose2d):
            module.to(torch.bfloat16)
    model.generator.gen_z.register_forward_hook(_to_bf16)
    model.generator.conv_to_rgb.register_forward_hook(_to_float)


def _to_bf16(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return output.bfloat16()


def _to_float(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return output.float()


def _block(self: GenBlock, x: Tensor, condition: Tensor, truncation: float | Tensor) -> Tensor:
    """A bottleneck with a residual, which loses half its channels where the block narrows."""
    h = self.conv_0(self.bn_0(x, truncation, condition).relu_())
    h = self.conv_1(self.bn_1(h, truncation, condition).relu_())  # doubles the side where the block does
    h = self.conv_2(self.bn_2(h, truncation, condition).relu_())
    h = self.conv_3(self.bn_3(h, truncation, condition).relu_())
    if self.drop_channels:
        x = x[:, : x.shape[1] // 2]
    output: Tensor = h.add_(F.interpolate(x, scale_factor=2) if self.up_sample else x)
    return output


def _normalise(
    self: BigGANBatchNorm, x: Tensor, truncation: float | Tensor, condition: Tensor | None = None
) -> Tensor:
    """Batch norm with the stored row of statistics nearest to the truncation; a tensor [1] is that row.

    The package finds the row by a float division, which takes a neighbour for some grid values (0.58 / 0.02 =
    28.999...), and between rows it interpolates with the weights swapped; rounding to the grid avoids both.
    """
    row = truncation if isinstance(truncation, Tensor) else round(truncation / self.step_size)
    inverse = torch.rsqrt(self.running_vars[row] + self.eps)
    if condition is None:
        weight, bias = (self.weight * inverse).view(1, -1), self.bias[None]
    else:
        weight, bias = (1 + self.scale(condition)) * inverse, self.offset(condition)
    bias = bias - self.running_means[row] * weight
    return torch.addcmul(bias[..., None, None].to(x.dtype), x, weight[..., None, None].to(x.dtype))
