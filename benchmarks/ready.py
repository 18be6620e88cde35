"""A stand-in for generator and head that computes nothing, to measure what is around them."""

import time
from typing import ClassVar

import numpy as np
import torch

from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.synthesis.spec import SynthesisSpec


class Ready:
    """A generator and a head in one that cost nothing: they return a batch that was made once.

    Args:
        side: of the images, in pixels.
        classes: how many it knows.
        batch_size: of the data sets that are made with it.
        speed: images per second, beyond which it sleeps; 0: as many as can be written.
    """

    name, sha256, labels = "ready", "0" * 64, ("background", "foreground")
    blocks: ClassVar[dict[str, tuple[int, int]]] = {}

    def __init__(
        self, side: int, classes: int, batch_size: int = SynthesisSpec.batch_size, speed: float = 0.0
    ) -> None:
        noise = torch.Generator().manual_seed(0)
        coarse = torch.randn(batch_size, 3, max(2, side // 16), max(2, side // 16), generator=noise)
        fine = torch.randn(batch_size, 3, side, side, generator=noise)
        images = torch.nn.functional.interpolate(coarse, side, mode="bicubic") / 2 + 0.02 * fine
        self.images, self.masks = images.clamp(-1, 1), (images.mean(1) > 0).to(torch.uint8).numpy()
        self.speed = speed
        self.image_size, self.classes = side, tuple(f"class {k}" for k in range(classes))

    def sample(
        self, class_ids: torch.Tensor, seeds: torch.Tensor, sampling: Sampling, features: bool = True
    ) -> Sample:
        if self.speed:
            time.sleep(len(seeds) / self.speed)
        return Sample(self.images, {}, class_ids, seeds, sampling)

    def predict_with_uncertainty(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        return self.masks, np.zeros(len(self.masks), np.float32)
