"""VQGAN behind the `Generator` protocol: images to codes, codes to features and images, new codes."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import mismatches
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.code_sampling import CodeSampler
from bdgan_lib.generators.feature_generator import float32_copy
from bdgan_lib.generators.hooks import capture_features, module_of
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork

_LAYERS = 3  # of the transformer whose outputs are features, evenly spread; the last is one of them


class VQGAN:
    """A frozen VQGAN with a class-conditional transformer over its codes (Esser et al. 2021).

    Features are the outputs of three transformer layers (transformer2, ...), as maps of one vector per code,
    and of the decoder at every resolution (decoder1, ...), coarse to fine.
    """

    def __init__(
        self,
        network: VQGANNetwork,
        name: str,
        classes: Sequence[str],
        weights_sha256: str,
        device: str = "cpu",
        bf16: bool = False,
    ) -> None:
        if len(classes) != network.config.num_classes:
            raise BdganError(f"{len(classes)} class names came; {name} has {network.config.num_classes}")
        self.name, self.classes, self.sha256, self.device = name, tuple(classes), weights_sha256, device
        self.config, self.bf16 = network.config, bf16
        self.image_size = self.config.resolution
        layers = self.config.layers
        self._layers = sorted({-(-layers * k // _LAYERS) - 1 for k in range(1, _LAYERS + 1)})
        decoder = dict(_decoder_blocks(self.config))
        self._paths = {block: path for block, (path, _, _) in decoder.items()}
        self.blocks = {f"transformer{i + 1}": (self.config.width, self.config.side) for i in self._layers}
        self.blocks |= {block: (channels, side) for block, (_, channels, side) in decoder.items()}
        self._network = network.eval().requires_grad_(False).to(device)
        self._sampler: CodeSampler | None = None  # made at the first sample

    def __getstate__(self) -> dict[str, object]:
        """For other processes: the sampler's packed weights stay here, each makes its own."""
        return {**self.__dict__, "_sampler": None}

    @property
    def weight_bytes(self) -> int:
        """Of the weights as they lie in memory, with those that the sampler holds a second time."""
        again = sum(x.numel() for x in self._network.transformer.blocks.parameters())
        own = sum(x.numel() * x.element_size() for x in self._network.parameters())
        return own + again * (2 if self.bf16 else 4)

    def module(self, block: str) -> nn.Module:
        """As `RecordedGenerator.module`, of the decoder alone: no hook reaches the sampler of codes."""
        return module_of(self._network, self._paths, block)

    @property
    def codebook(self) -> Tensor:
        """Its vectors, [codes, code_dim]."""
        return self._network.quantize.embedding.weight

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> codes [B, side, side] int64; else BdganError."""
        size = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size) or not images.is_floating_point():
            raise BdganError(
                f"images came as {images.dtype} {list(images.shape)}; wanted floats [B, 3, {size}, {size}]"
            )
        if len(images) and not (images.min() >= -1.001 and images.max() <= 1.001):  # NaN is not in range
            raise BdganError(
                f"images came with values from {images.min():.3g} to {images.max():.3g}; wanted -1 to 1"
            )
        with self._precision():
            vectors = self._network.embed(images.to(self.device))
        return self._network.nearest(vectors.float())

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, side, side] -> images [B, 3, H, W] in [-1, 1]; BdganError for codes there are none of."""
        self._check_codes(codes)
        with self._precision():
            images = self._network.decode(self._network.look_up(codes.to(self.device)))
        return images.float().clamp(-1, 1).contiguous()

    def features(self, codes: Tensor, class_ids: Tensor) -> dict[str, Tensor]:
        """Codes [B, side, side] and classes [B] -> every block's output, {block: [B, C, H, W]} float32.

        A transformer layer's map at a code knows the class and the codes before it, as when it is sampled.
        """
        self._check_classes(class_ids)
        if len(codes) != len(class_ids):
            raise BdganError(
                f"codes of {len(codes)} images and {len(class_ids)} classes came; wanted as many"
            )
        found = self._decoded(codes)[1]
        layers = [f"transformer.blocks.{layer}" for layer in self._layers]
        with torch.inference_mode(), capture_features(self._network, layers) as outputs, self._precision():
            self._network.code_logits(codes.flatten(1).to(self.device), class_ids.to(self.device))
        return {**self._maps(torch.stack([outputs[layer] for layer in layers])), **found}

    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen, so one default can be shared)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """As `Generator.sample`; of sampling, top_k, top_p and temperature hold, others are refused."""
        if z is not None or sampling.truncation != 1.0 or sampling.z_std is not None:
            raise BdganError(f"{self.name} samples codes: it takes top_k, top_p and temperature, no latents")
        if len(class_ids) != len(seeds):
            raise BdganError(f"{len(class_ids)} classes and {len(seeds)} seeds came; wanted as many of both")
        codes, states = self._sampled(class_ids, seeds, sampling, self._layers if features else ())
        images, found = self._decoded(codes, features)
        return Sample(images, {**self._maps(states), **found}, class_ids, seeds, sampling)

    def sample_codes(self, class_ids: Tensor, seeds: Tensor, sampling: Sampling = Sampling()) -> Tensor:  # noqa: B008
        """Codes [B, side, side] int64 of classes [B] from seeds [B]; see `CodeSampler.sample`."""
        return self._sampled(class_ids, seeds, sampling, ())[0]

    def _sampled(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling, keep: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        self._check_classes(class_ids)
        if self._sampler is None:
            dtype = torch.bfloat16 if self.bf16 else torch.float32
            self._sampler = CodeSampler(self._network.transformer, dtype)
        codes, states = self._sampler.sample(class_ids, seeds, sampling, keep)
        return codes.unflatten(1, (self.config.side, self.config.side)), states

    @torch.inference_mode()
    def _decoded(self, codes: Tensor, features: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Images, and the decoder's features."""
        with capture_features(self._network, list(self._paths.values()) if features else []) as outputs:
            images = self.decode(codes)
        return images, {block: outputs[path].float() for block, path in self._paths.items() if features}

    def _maps(self, states: Tensor) -> dict[str, Tensor]:
        """Outputs of the chosen layers [layers, B, T, C] -> {block: [B, C, side, side]}; {} of none."""
        side = self.config.side
        maps = states.float().mT.unflatten(3, (side, side)).contiguous()
        return {f"transformer{layer + 1}": x for layer, x in zip(self._layers, maps, strict=False)}

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16) if self.bf16 else nullcontext()

    def _check_classes(self, class_ids: Tensor) -> None:
        if class_ids.numel() and not 0 <= int(class_ids.min()) <= int(class_ids.max()) < len(self.classes):
            raise BdganError(
                f"class ids {class_ids.unique().tolist()} came; {self.name} has 0 to {len(self.classes) - 1}"
            )

    def _check_codes(self, codes: Tensor) -> None:
        side, most = self.config.side, self.config.codes
        if codes.dtype != torch.int64 or tuple(codes.shape[1:]) != (side, side):
            raise BdganError(
                f"codes came as {codes.dtype} {list(codes.shape)}; wanted int64 [B, {side}, {side}]"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < most:
            raise BdganError(f"codes {int(codes.min())} to {int(codes.max())} came; wanted 0 to {most - 1}")


def load_vqgan(folder: str | Path, classes: Sequence[str], device: str = "cpu", bf16: bool = False) -> VQGAN:
    """Read `config.json` and `model.safetensors`; BdganError says which keys or shapes do not fit."""
    folder = Path(folder)
    try:
        record = json.loads((folder / "config.json").read_text("utf-8"))
        sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        config = VQGANConfig(**sizes)
        raw = (folder / "model.safetensors").read_bytes()
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise BdganError(f"{folder}: no readable VQGAN ({error})") from error
    name = f"pocket VQGAN {config.resolution}"
    return VQGAN(fill_network(config, state, name), name, classes, sha256(raw).hexdigest(), device, bf16)


def fill_network(config: VQGANConfig, state: dict[str, Tensor], name: str) -> VQGANNetwork:
    """A network of this configuration with these weights; BdganError names every key that does not fit."""
    with torch.device("meta"):
        network = VQGANNetwork(config)
    wanted = {k: v.shape for k, v in network.state_dict().items() if not k.endswith(".attn.mask")}
    wrong = mismatches(wanted, {k: v.shape for k, v in state.items()})
    if wrong:
        raise BdganError(f"{name} does not fit its configuration: {wrong}")
    network.load_state_dict({k: float32_copy(v) for k, v in state.items()}, strict=False, assign=True)
    return network.restore_masks()


def _decoder_blocks(config: VQGANConfig) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """(block, (path of its module, channels, side)), coarse to fine."""
    for k, level in enumerate(reversed(range(len(config.ch_mult)))):
        side = config.side << k
        part = "attn" if side in config.attention else "block"
        path = f"decoder.up.{level}.{part}.{config.res_blocks}"
        yield f"decoder{k + 1}", (path, config.ch * config.ch_mult[level], side)
