"""Label transfer: samples of one generator with the features that another network has of the same images."""

import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.generators.base import Generator, ImageEncoder


class ReencodedGenerator:
    """The source's samples, encoded by the target: its features, the source's seeds and sha256.

    A head is trained on it as on any generator, so one image's label serves both (paper section 3.2). Images
    are resized to the target's side; for masks see `datasets.annotation_store.resize_annotations`.
    """

    def __init__(self, source: Generator, target: ImageEncoder) -> None:
        self.source, self.target = source, target
        self.name = f"{source.name} seen by {target.name} {target.sha256[:12]}"
        self.sha256, self.classes = source.sha256, source.classes
        self.blocks, self.image_size = target.blocks, target.image_size

    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """As `Generator.sample`, of the source; the features are the target's."""
        latent = {} if z is None else {"z": z}
        images = self.source.sample(class_ids, seeds, sampling, features=False, **latent).images
        if images.shape[-1] != self.image_size:
            images = F.interpolate(images, size=self.image_size, mode="bilinear", antialias=True)
        images = images.clamp(-1, 1)
        encoded = self.target.features(self.target.encode(images), class_ids) if features else {}
        return Sample(images, encoded, class_ids, seeds, sampling)
