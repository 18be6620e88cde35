"""BigGAN-deep on the classes of pytorch_pretrained_biggan, from safetensors, with its features by block."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import MethodType

import torch
import torch.nn.functional as F
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from bdgan_lib.generators.recorded import RecordedGenerator, misfits
from bdgan_lib.types import BdganError, Sampling


class BigGANDeep(RecordedGenerator):
    """A frozen BigGAN-deep generator in inference mode (Brock et al. 2019).

    Features are the outputs of its blocks, named block1, block2, ... from coarse to fine.
    """

    def __init__(
        self, model: BigGAN, name: str, classes: Sequence[str], weights_sha256: str, device: str = "cpu"
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

    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        one_hot = F.one_hot(class_ids, len(self.classes)).float()
        return self._model(z, one_hot, sampling.truncation)


def load_biggan_deep(folder: str | Path, classes: Sequence[str], device: str = "cpu") -> BigGANDeep:
    """Load `config.json` and `model.safetensors`.

    BdganError names a missing or unreadable file, and every key that is missing, surplus or of another shape.
    """
    folder = Path(folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    for path in (config, weights):
        if not path.is_file():
            raise BdganError(
                f"{path} is missing; a generator's folder holds config.json and model.safetensors"
            )
    try:
        settings = json.loads(config.read_text("utf-8"))
        num_classes = int(settings["num_classes"])
        model = BigGAN(BigGANConfig.from_dict(settings))
    except Exception as error:  # whatever the package makes of a wrong setting
        raise BdganError(f"{config} describes no BigGAN-deep ({error}); restore it") from error
    if num_classes != len(classes):
        raise BdganError(f"{config} has {num_classes} classes, {len(classes)} names came; wanted as many")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise BdganError(f"{weights} is no readable safetensors file ({error}); restore it") from error
    wrong = misfits(
        {key: value.shape for key, value in model.state_dict().items()},
        {key: value.shape for key, value in state.items()},
    )
    if wrong:
        raise BdganError(f"{weights} does not fit {config}: {wrong}; use the two files of one generator")
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return BigGANDeep(model, folder.name, classes, sha256(weights.read_bytes()).hexdigest(), device)


def _prepared(model: BigGAN) -> BigGAN:
    """The same function in its inference form: spectral norm fused, three RGB channels instead of all."""
    model.eval().requires_grad_(False)
    rgb = model.generator.conv_to_rgb
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)  # leaves the weight that the stored vectors give
        if isinstance(module, BigGANBatchNorm):
            module.forward = MethodType(_normalise, module)
    rgb.weight, rgb.bias = nn.Parameter(rgb.weight[:3], False), nn.Parameter(rgb.bias[:3], False)
    return model


def _normalise(
    self: BigGANBatchNorm, x: Tensor, truncation: float, condition: Tensor | None = None
) -> Tensor:
    """Batch norm with the stored row of statistics nearest to the truncation.

    The package finds the row by a float division, which takes a neighbour for some grid values (0.58 / 0.02 =
    28.999...), and between rows it interpolates with the weights swapped; rounding to the grid avoids both.
    """
    row = round(truncation / self.step_size)
    inverse = torch.rsqrt(self.running_vars[row] + self.eps)
    mean = self.running_means[row]
    if condition is None:
        weight, bias = (self.weight * inverse)[None], self.bias[None]
    else:
        weight, bias = (1 + self.scale(condition)) * inverse, self.offset(condition)
    return torch.addcmul((bias - mean * weight)[..., None, None], x, weight[..., None, None])
