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
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from bdgan_lib.features import record
from bdgan_lib.generators.latents import latents
from bdgan_lib.types import BdganError, Sample, Sampling


class BigGANDeep:
    """A frozen BigGAN-deep generator in inference mode (Brock et al. 2019).

    Features are the outputs of its blocks, named block1, block2, ... from coarse to fine.
    """

    def __init__(
        self, model: BigGAN, name: str, classes: Sequence[str], weights_sha256: str, device: str = "cpu"
    ) -> None:
        self.name, self.classes, self.sha256, self.device = name, tuple(classes), weights_sha256, device
        self.image_size: int = model.config.output_dim
        self._model = _prepared(model).to(device, memory_format=torch.channels_last)
        self._paths: dict[str, str] = {}
        self.blocks: dict[str, tuple[int, int]] = {}
        side = 4
        for i, layer in enumerate(model.generator.layers):
            if isinstance(layer, GenBlock):
                side *= 2 if layer.up_sample else 1
                block = f"block{len(self.blocks) + 1}"
                self.blocks[block] = (layer.conv_3.out_channels, side)
                self._paths[block] = f"generator.layers.{i}"

    @torch.inference_mode()
    def sample(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling = Sampling(), features: bool = True
    ) -> Sample:  # noqa: B008
        """Images of classes [B] int64 from seeds [B] int64; with `features`, every block's output, float32.

        BdganError for a class the generator does not have.
        """
        if len(class_ids) != len(seeds):
            raise BdganError(f"{len(class_ids)} classes and {len(seeds)} seeds came; wanted as many of both")
        if class_ids.numel() and not 0 <= int(class_ids.min()) <= int(class_ids.max()) < len(self.classes):
            raise BdganError(
                f"class ids {class_ids.unique().tolist()} came; {self.name} has 0 to {len(self.classes) - 1}"
            )
        z = latents(seeds, self._model.config.z_dim, sampling).to(self.device)
        one_hot = F.one_hot(class_ids.to(self.device), len(self.classes)).float()
        with record(self._model, list(self._paths.values()) if features else []) as found:
            images = self._model(z, one_hot, sampling.truncation)
        return Sample(
            images=images.contiguous(),
            features={block: found[path] for block, path in self._paths.items()} if features else {},
            class_ids=class_ids,
            seeds=seeds,
            sampling=sampling,
        )


def load_biggan_deep(folder: str | Path, classes: Sequence[str], device: str = "cpu") -> BigGANDeep:
    """Load `config.json` and `model.safetensors`; BdganError names a missing file and every key that does not fit."""
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise BdganError(
                f"{folder / name} is missing; a generator's folder holds config.json and model.safetensors"
            )
    settings = json.loads((folder / "config.json").read_text())
    if settings["num_classes"] != len(classes):
        raise BdganError(
            f"{folder / 'config.json'} has {settings['num_classes']} classes, {len(classes)} names came"
        )
    model = BigGAN(BigGANConfig.from_dict(settings))
    weights = folder / "model.safetensors"
    state, wanted = load_file(weights), model.state_dict()
    wrong = sorted(wanted.keys() ^ state.keys()) + [
        k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape
    ]
    if wrong:
        raise BdganError(
            f"{weights} does not fit its config.json: {', '.join(wrong[:5])} missing, surplus or of another shape"
        )
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return BigGANDeep(model, folder.name, classes, sha256(weights.read_bytes()).hexdigest(), device)


def _prepared(model: BigGAN) -> BigGAN:
    """The same function in its inference form: spectral norm fused, three RGB channels instead of all."""
    model.eval().requires_grad_(False)
    rgb = model.generator.conv_to_rgb
    for module in model.modules():
        if hasattr(module, "weight_orig"):
            module(torch.zeros(_input_shape(module)))  # computes `weight` from the stored vectors
            remove_spectral_norm(module)
        if isinstance(module, BigGANBatchNorm):
            module.forward = MethodType(_normalise, module)
    rgb.weight, rgb.bias = nn.Parameter(rgb.weight[:3], False), nn.Parameter(rgb.bias[:3], False)
    return model


def _input_shape(module: nn.Module) -> tuple[int, ...]:
    return (1, module.in_channels, 3, 3) if isinstance(module, nn.Conv2d) else (1, module.in_features)


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
