"""What the BigGANs have in common: seeds to latents, images with the outputs of the blocks on the way."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import check_class_ids
from bdgan_lib.generators.hooks import capture_features, module_of
from bdgan_lib.generators.latents import latents_from_seeds

# network, latents [B, z_dim], class weights [B, K], truncation [1] -> images
ImagesOfWeights = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


@cache
def log_once(message: str) -> None:
    """Log a warning, once per process."""
    logging.getLogger(__name__).warning(message)


class FeatureGenerator(ABC):
    """A frozen network behind the `Generator` protocol; its features are the outputs of chosen modules."""

    reads_truncation = False  # whether batch norm has statistics for each truncation

    def __init__(
        self,
        model: nn.Module,
        name: str,
        classes: Sequence[str],
        sha256: str,
        device: str,
        z_dim: int,
        blocks: Mapping[str, tuple[str, int, int]],  # block -> (path of its module, channels, side)
    ) -> None:
        self.name, self.classes, self.sha256, self.device = name, tuple(classes), sha256, device
        self.blocks = {block: (channels, side) for block, (_, channels, side) in blocks.items()}
        self.image_size = max(side for _, side in self.blocks.values())
        self._paths = {block: path for block, (path, _, _) in blocks.items()}
        self.z_dim = z_dim
        self._model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def weight_bytes(self) -> int:
        """Bytes that the weights take in memory."""
        return sum(x.numel() * x.element_size() for x in self._model.state_dict().values())

    def module(self, block: str) -> nn.Module:
        """The module whose output is a block's feature, for hooks.

        Raises:
            BdganError: there is no such block.
        """
        return module_of(self._model, self._paths, block)

    @abstractmethod
    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        """Latents [B, z_dim] and classes [B] on the device -> images [B, 3, H, W] in [-1, 1]."""

    @property
    def images_of_weights(self) -> ImagesOfWeights | None:
        """`_images` in tensors alone, for exporters (see `traceable`); None if the network is unknown."""
        return None

    @torch.inference_mode()
    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen, so one default can be shared)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """As `Generator.sample`; imported annotations have latents of their own, which come in as `z`.

        Raises:
            BdganError: the generator does not have a class, seeds and classes differ in number, a seed is
                negative, the settings are those of codes, or `z` has another shape.
        """
        check_class_ids(class_ids, self, seeds)
        if z is None:
            z = latents_from_seeds(seeds, self.z_dim, sampling)
        elif z.shape != (len(seeds), self.z_dim):
            raise BdganError(f"expected latents {[len(seeds), self.z_dim]}, got {list(z.shape)}")
        with capture_features(self._model, list(self._paths.values()) if features else []) as outputs:
            images = self._images(z.to(self.device), class_ids.to(self.device), sampling)
        return Sample(
            images=images.float().contiguous(),
            features={block: outputs[path] for block, path in self._paths.items() if features},
            class_ids=class_ids,
            seeds=seeds,
            sampling=sampling,
        )

    def trace(self, class_ids: Tensor) -> None:
        """Run the arithmetic of one image per class [B], without its result, to count operations."""
        self.sample(class_ids, torch.zeros_like(class_ids), features=False)
