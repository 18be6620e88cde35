"""Pictures in a generator's place: the sample of a seed is the picture of that number."""

from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import Generator

FIRST_PICTURE = 2**40  # seed of the first picture; those below belong to samples of a generator


class PictureSource:
    """N pictures as the samples of seeds FIRST_PICTURE to FIRST_PICTURE + N - 1; it has no features.

    Seen by an image encoder (`ReencodedGenerator`), real pictures train a head as samples do.

    Args:
        images: [N, S, S, 3] uint8.
        classes: names of the class ids.
        samples: a generator of images of side S whose samples are there as well, under their own seeds.
    """

    def __init__(
        self, images: NDArray[np.uint8], classes: tuple[str, ...], samples: Generator | None = None
    ) -> None:
        self.images, self.classes, self.samples = images, classes, samples
        self.name, self.image_size = "pictures", images.shape[1]
        self.sha256 = sha256(images.tobytes() + (samples.sha256.encode() if samples else b"")).hexdigest()
        self.blocks: dict[str, tuple[int, int]] = {}
        if samples and samples.image_size != self.image_size:
            raise BdganError(f"expected samples of {self.image_size} pixels, got {samples.image_size}")

    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """As `Generator.sample`, without features; BdganError for a seed that is no picture and no sample."""
        numbers = seeds.cpu() - FIRST_PICTURE
        if bool((numbers >= len(self.images)).any()) or (self.samples is None and bool((numbers < 0).any())):
            raise BdganError(f"expected seeds {FIRST_PICTURE} to {FIRST_PICTURE + len(self.images) - 1}")
        images = torch.empty(len(seeds), 3, self.image_size, self.image_size)
        pictures = numbers >= 0
        images[pictures] = from_uint8(self.images[numbers[pictures].numpy()])
        if self.samples and bool((~pictures).any()):
            latent = {} if z is None else {"z": z[~pictures]}
            drawn = self.samples.sample(
                class_ids[~pictures], seeds[~pictures], sampling, features=False, **latent
            )
            images[~pictures] = drawn.images.float().cpu()
        return Sample(images, {}, class_ids, seeds, sampling)
