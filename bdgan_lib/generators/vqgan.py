"""VQGAN behind the `Generator` protocol: images to codes, codes to features and images, new codes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import load_strict, meta_device
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_json, read_tensors
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import check_class_ids
from bdgan_lib.generators.code_sampling import CodeSampler
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
            raise BdganError(
                f"expected {network.config.num_classes} class names for {name}, got {len(classes)}"
            )
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
        """Leave out the sampler's packed weights; every process packs its own."""
        return {**self.__dict__, "_sampler": None}

    @property
    def weight_bytes(self) -> int:
        """Bytes that the weights take in memory, with the sampler's second copy of the transformer."""
        blocks: nn.Module = self._network.transformer.blocks
        network_bytes = sum(x.numel() * x.element_size() for x in self._network.parameters())
        return network_bytes + sum(x.numel() for x in blocks.parameters()) * (2 if self.bf16 else 4)

    def module(self, block: str) -> nn.Module:
        """As `FeatureGenerator.module`, for decoder blocks only: hooks do not reach the code sampler."""
        return module_of(self._network, self._paths, block)

    @property
    def codebook(self) -> Tensor:
        """The codebook's vectors, [codes, code_dim]."""
        weight: Tensor = self._network.quantize.embedding.weight
        return weight

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> codes [B, side, side] int64.

        Raises:
            BdganError: the images have another shape, type or range.
        """
        size = self.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, size, size) or not images.is_floating_point():
            raise BdganError(
                f"expected float images [B, 3, {size}, {size}], got {images.dtype} {list(images.shape)}"
            )
        if len(images) and not (images.min() >= -1.001 and images.max() <= 1.001):  # NaN is not in range
            raise BdganError(
                f"expected image values from -1 to 1, got {images.min():.3g} to {images.max():.3g}"
            )
        with self._precision():
            vectors = self._network.embed(images.to(self.device))
        return self._network.nearest(vectors.float())

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, side, side] -> images [B, 3, H, W] in [-1, 1].

        Raises:
            BdganError: the codes have another shape or type, or are not in the codebook.
        """
        side, last = self.config.side, self.config.codes - 1
        if codes.dtype != torch.int64 or tuple(codes.shape[1:]) != (side, side):
            raise BdganError(
                f"expected codes as int64 [B, {side}, {side}], got {codes.dtype} {list(codes.shape)}"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) <= last:
            raise BdganError(f"expected codes 0 to {last}, got {int(codes.min())} to {int(codes.max())}")
        with self._precision():
            images = self._network.decode(self._network.look_up(codes.to(self.device)))
        return images.float().clamp(-1, 1).contiguous()

    def features(self, codes: Tensor, class_ids: Tensor) -> dict[str, Tensor]:
        """Codes [B, side, side] and classes [B] -> every block's output, {block: [B, C, H, W]} float32.

        A transformer layer's map at a code depends on the class and the codes before it, as in sampling.

        Raises:
            BdganError: the generator does not have a class, there are not as many classes as images, or as
                for `decode`.
        """
        check_class_ids(class_ids, self)
        if len(codes) != len(class_ids):
            raise BdganError(
                f"expected one class per image, got {len(class_ids)} classes and {len(codes)} images"
            )
        decoded = self._decoded(codes)[1]
        layers = [f"transformer.blocks.{layer}" for layer in self._layers]
        with torch.inference_mode(), capture_features(self._network, layers) as outputs, self._precision():
            self._network.code_logits(codes.flatten(1).to(self.device), class_ids.to(self.device))
        return {**self._maps(torch.stack([outputs[layer] for layer in layers])), **decoded}

    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen, so one default can be shared)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """As `Generator.sample`.

        Raises:
            BdganError: latents or settings other than top_k, top_p and temperature are given, or the
                generator does not have a class.
        """
        if z is not None or sampling.truncation != 1.0 or sampling.z_std is not None:
            raise BdganError(f"{self.name} samples codes: it takes top_k, top_p and temperature, not latents")
        codes, states = self._sampled(class_ids, seeds, sampling, self._layers if features else ())
        images, decoded = self._decoded(codes, features)
        return Sample(images, {**self._maps(states), **decoded}, class_ids, seeds, sampling)

    def trace(self, class_ids: Tensor) -> None:
        """As `FeatureGenerator.trace`: one pass over all codes costs what sampling them one by one does."""
        self.features(class_ids.new_zeros(len(class_ids), self.config.side, self.config.side), class_ids)

    def sample_codes(self, class_ids: Tensor, seeds: Tensor, sampling: Sampling = Sampling()) -> Tensor:  # noqa: B008
        """Sample codes [B, side, side] int64 of classes [B] from seeds [B]; see `CodeSampler.sample`."""
        return self._sampled(class_ids, seeds, sampling, ())[0]

    def _sampled(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling, keep: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        check_class_ids(class_ids, self, seeds)
        if self._sampler is None:
            dtype = torch.bfloat16 if self.bf16 else torch.float32
            self._sampler = CodeSampler(self._network.transformer, dtype)
        codes, states = self._sampler.sample(class_ids, seeds, sampling, keep)
        return torch.unflatten(codes, 1, (self.config.side, self.config.side)), states

    @torch.inference_mode()
    def _decoded(self, codes: Tensor, features: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Images, and the decoder's features."""
        with capture_features(self._network, list(self._paths.values()) if features else []) as outputs:
            images = self.decode(codes)
        return images, {block: outputs[path].float() for block, path in self._paths.items() if features}

    def _maps(self, states: Tensor) -> dict[str, Tensor]:
        """Outputs of the chosen layers [layers, B, T, C] -> {block: [B, C, side, side]}; {} of none."""
        side = self.config.side
        maps = torch.unflatten(states.float().mT, 3, (side, side)).contiguous()
        return {f"transformer{layer + 1}": x for layer, x in zip(self._layers, maps, strict=False)}

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16) if self.bf16 else nullcontext()


def load_vqgan(
    folder: str | Path, classes: Sequence[str], device: str = "cpu", bf16: bool = False, name: str = ""
) -> VQGAN:
    """Load the folder of a VQGAN: `config.json` and `model.safetensors`.

    Args:
        folder: where both files are.
        classes: names of the class ids.
        device: where the network runs.
        bf16: networks in bfloat16.
        name: of the generator; the pocket's if empty.

    Raises:
        BdganError: a file is missing or unreadable, or keys are missing, surplus or of another shape; each is
            named.
    """
    config, weights = read_vqgan_config(folder), Path(folder) / "model.safetensors"
    name = name or f"pocket VQGAN {config.resolution}"
    network = fill_network(config, read_tensors(weights), f"{weights}, read as {name},")
    return VQGAN(network, name, classes, sha256_of(weights), device, bf16)


def read_vqgan_config(folder: str | Path) -> VQGANConfig:
    """The sizes in `config.json` of a VQGAN's folder.

    Raises:
        BdganError: the file is missing or unreadable, or describes no VQGAN.
    """
    path = Path(folder) / "config.json"
    record: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in read_json(path).items()}
    try:
        return VQGANConfig(**record)
    except (TypeError, BdganError) as error:
        raise BdganError(f"{path} describes no VQGAN ({error}); restore it") from error


def fill_network(config: VQGANConfig, tensors: Mapping[str, Tensor], what: str) -> VQGANNetwork:
    """A network of this configuration with these weights.

    Args:
        config: the network's sizes.
        tensors: its state dict.
        what: what messages call the weights.

    Raises:
        BdganError: no network has these sizes, or keys are missing, surplus or of another shape; each is
            named.
    """
    try:
        with meta_device():
            network = VQGANNetwork(config)
    except Exception as error:  # taming and torch raise whatever a wrong size leads to
        raise BdganError(f"{what} has sizes that make no VQGAN: {config} ({error!r})") from error
    load_strict(network, tensors, what)
    return network.restore_masks()


def _decoder_blocks(config: VQGANConfig) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """(block, (path of its module, channels, side)), coarse to fine."""
    for k, level in enumerate(reversed(range(len(config.ch_mult)))):
        side = config.side << k
        part = "attn" if side in config.attention else "block"
        path = f"decoder.up.{level}.{part}.{config.res_blocks}"
        yield f"decoder{k + 1}", (path, config.ch * config.ch_mult[level], side)
