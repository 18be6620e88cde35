"""BigGAN (Brock et al. 2019; not deep), the generator of the release: hierarchical z, one attention layer.

The network is ours; the names of its parameters are those of ajbrock/BigGAN-PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import load_strict, meta_device
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_tensors
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan_checkpoint import fuse_state_dict, is_ivclab
from bdgan_lib.generators.feature_generator import FeatureGenerator, ImagesOfWeights, log_once
from bdgan_lib.generators.upsampling import doubling

_CHANNELS = {  # of the first input and of every block's output, times the base width
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
_Z_DIM = {128: 120, 256: 140, 512: 128}
_ATTENTION = {128: 64, 256: 128, 512: 64}  # the side it works at
_BN_EPS = 1e-4  # as published


@dataclass(frozen=True)
class BigGANConfig:
    """The published sizes; a smaller `width` makes a small network of the same shape.

    Raises:
        BdganError: there is no BigGAN of this resolution, or another size or epsilon makes no network.
    """

    resolution: int = 512  # 128, 256 or 512
    num_classes: int = 1000
    width: int = 96  # base channels
    embedding: int = 128  # of a class, shared by all blocks
    bn_eps: float = _BN_EPS  # of the conditional norms
    output_eps: float = 1e-5  # of the output layer's norm; BigGAN-PyTorch leaves torch's default there

    def __post_init__(self) -> None:
        if self.resolution not in _CHANNELS:
            raise BdganError(f"expected a BigGAN of 128, 256 or 512 pixels, got {self.resolution}")
        if min(self.num_classes, self.width, self.embedding) < 1:
            raise BdganError(f"expected classes, width and embedding of 1 or more, got {self}")
        if not (0 < self.bn_eps < 1 and 0 < self.output_eps < 1):
            raise BdganError(f"expected an epsilon between 0 and 1, got {self}")


class ConditionalNorm(nn.Module):
    """Batch norm with stored statistics, gain and bias linear in the condition."""

    def __init__(self, channels: int, condition: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Linear(condition, channels, bias=False)
        self.bias = nn.Linear(condition, channels, bias=False)
        self.stored_mean: Tensor
        self.stored_var: Tensor
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise x [B, C, H, W] under the conditions [B, D]."""
        gain = (1 + self.gain(condition)) * torch.rsqrt(self.stored_var + self.eps)
        bias = self.bias(condition) - self.stored_mean * gain
        return torch.addcmul(bias[..., None, None].to(x.dtype), x, gain[..., None, None].to(x.dtype))


class Norm(nn.Module):
    """Batch norm with stored statistics, gain and bias."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.stored_mean: Tensor
        self.stored_var: Tensor
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, C, H, W]."""
        return F.batch_norm(x, self.stored_mean, self.stored_var, self.gain, self.bias, eps=self.eps)


class Block(nn.Module):
    """Norm, ReLU, upsampling, convolution, twice, with a residual: [B, I, H, W] -> [B, O, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, condition: int, eps: float) -> None:
        super().__init__()
        self.conv1: nn.Module = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_sc = nn.Conv2d(inputs, outputs, 1)
        self.up: nn.Module = nn.Upsample(scale_factor=2)
        self.bn1 = ConditionalNorm(inputs, condition, eps)
        self.bn2 = ConditionalNorm(outputs, condition, eps)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Inputs [B, I, H, W] and conditions [B, D] -> [B, O, 2H, 2W]."""
        h: Tensor = self.conv1(self.up(self.bn1(x, condition).relu_()))
        h = self.conv2(self.bn2(h, condition).relu_())
        return h.add_(F.interpolate(self.conv_sc(x), scale_factor=2))  # 1x1 commutes with upsampling


class Attention(nn.Module):
    """Self-attention as in SAGAN: keys and values at half the side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Attend over the pixels of x [B, C, H, W]; the condition is not read."""
        query = self.theta(x).flatten(2).mT
        key, value = (F.max_pool2d(layer(x), 2).flatten(2).mT for layer in (self.phi, self.g))
        if torch.compiler.is_compiling():  # exporters know attention with heads alone
            query, key, value = query[:, None], key[:, None], value[:, None]
            attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        else:
            attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        output: Tensor = self.o(torch.unflatten(attended.mT, 2, x.shape[2:]))
        return x + self.gamma * output


class BigGANNetwork(nn.Module):
    """Latents [B, z_dim] and class ids [B] -> images [B, 3, resolution, resolution] in [-1, 1]."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config, self.z_dim = config, _Z_DIM[config.resolution]
        channels = [config.width * factor for factor in _CHANNELS[config.resolution]]
        self.chunk = self.z_dim // len(channels)  # one part of z for the first layer and for each block
        condition = config.embedding + self.chunk
        self.shared = nn.Embedding(config.num_classes, config.embedding)
        self.linear = nn.Linear(self.chunk, channels[0] * 16)
        self.blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(pairwise(channels)):
            layers: list[nn.Module] = [Block(inputs, outputs, condition, config.bn_eps)]
            if 8 << i == _ATTENTION[config.resolution]:
                layers.append(Attention(outputs))
            self.blocks.append(nn.ModuleList(layers))
        self.output_layer = nn.Sequential(
            Norm(channels[-1], config.output_eps), nn.ReLU(), nn.Conv2d(channels[-1], 3, 3, padding=1)
        )

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Latents [B, z_dim] and class ids [B] -> images."""
        first, *rest = torch.split(z, self.chunk, 1)
        embedding = self.shared(class_ids)
        h = self.linear(first).view(z.shape[0], -1, 4, 4).contiguous(memory_format=torch.channels_last)
        h = h.to(self.output_layer[2].weight.dtype)
        for layers, part in zip(self.blocks, rest, strict=True):
            condition = torch.cat([embedding, part], 1)
            for layer in layers.children():
                h = layer(h, condition)
        return torch.tanh(self.output_layer(h).float())


class BigGAN(FeatureGenerator):
    """A frozen BigGAN; its features are block1, block2, ... and, after its block, `attention`.

    Batch norm has one set of statistics, those of untruncated latents. A smaller `truncation` truncates the
    latents alone; the first such sample logs that.
    """

    def __init__(
        self,
        model: BigGANNetwork,
        name: str,
        classes: Sequence[str],
        weights_sha256: str,
        device: str = "cpu",
        bf16: bool = False,
    ) -> None:
        blocks: dict[str, tuple[str, int, int]] = {}
        count = 0
        for path, layer in model.named_modules():
            if isinstance(layer, Block):
                count += 1
                channels, side = layer.conv2.out_channels, 4 << count
                blocks[f"block{count}"] = (path, channels, side)
            elif isinstance(layer, Attention):  # works on the block before it
                blocks["attention"] = (path, channels, side)
        for layer in model.modules():
            if isinstance(layer, Block) and isinstance(layer.conv1, nn.Conv2d):
                layer.conv1, layer.up = doubling(layer.conv1), nn.Identity()
        super().__init__(model, name, classes, weights_sha256, device, model.z_dim, blocks)
        if bf16:
            for layer in model.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    layer.to(torch.bfloat16)

    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        if sampling.truncation != 1.0:
            log_once(
                f"{self.name}: truncation {sampling.truncation} is applied to the latents alone; batch norm "
                "keeps the statistics of truncation 1 (ivclab's own code takes those of the truncation)"
            )
        images: Tensor = self._model(z, class_ids)
        return images

    @property
    def images_of_weights(self) -> ImagesOfWeights:
        """As `FeatureGenerator.images_of_weights`; the truncation is not read."""
        return lambda model, z, class_weights, _: model(z, class_weights)


def load_biggan(
    weights: str | Path,
    classes: Sequence[str],
    resolution: int = 512,
    device: str = "cpu",
    width: int = 96,
    bf16: bool = False,
    bn_eps: float = _BN_EPS,
) -> BigGAN:
    """Load a safetensors file in either layout of `biggan_checkpoint`.

    Args:
        weights: the file.
        classes: names of the class ids.
        resolution: 128, 256 or 512.
        device: where the network runs.
        width: base channels, see `BigGANConfig`.
        bf16: convolutions in bfloat16.
        bn_eps: epsilon of batch norm, BigGAN-PyTorch's `BN_eps`: 1e-4 in published weights, 1e-5 in most
            trained with that code. Its output layer always has 1e-5.

    Raises:
        BdganError: there is no BigGAN of this resolution, the file is missing or unreadable, or keys are
            missing, surplus or of another shape; each is named.
    """
    weights, name = Path(weights), f"BigGAN {resolution}"
    state = read_tensors(weights, "fetch it again, see `bdgan weights list`")
    output_eps = bn_eps if is_ivclab(state) else 1e-5
    with meta_device():
        config = BigGANConfig(resolution, len(classes), width, bn_eps=bn_eps, output_eps=output_eps)
        network = BigGANNetwork(config)
    what = f"{weights}, read as {name},"
    load_strict(network, fuse_state_dict(state, network.state_dict(), what), what)
    digest = sha256_of(weights)
    if bn_eps != _BN_EPS:  # other images, so another generator
        digest = sha256(f"{digest} bn_eps {bn_eps}".encode()).hexdigest()
    return BigGAN(network, name, classes, digest, device, bf16)
