"""What every generator offers, whatever stands behind it."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from bdgan_lib.core.sampling import Sample, Sampling


class Generator(Protocol):
    """A frozen class-conditional generator. It is passed as an object, never looked up by name."""

    @property
    def name(self) -> str:
        """For people: "pocket BigGAN-deep 64"."""

    @property
    def sha256(self) -> str:
        """Of the weights; it ties annotations, heads and data sets to this generator."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a class id is an index into it."""

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""

    @property
    def blocks(self) -> dict[str, tuple[int, int]]:
        """Block name -> (channels, size), coarse to fine: the shapes of `Sample.features`."""

    def sample(
        self,
        class_ids: Tensor,
        seeds: Tensor,
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen, so one default can be shared)
        features: bool = True,
        z: Tensor | None = None,
    ) -> Sample:
        """Images of B (class, seed) pairs: [B] int64 each, class ids below len(classes), seeds from 0.

        Runs without gradients, on latents from `generators.latents`: image i depends on class_ids[i],
        seeds[i] and sampling alone. features=False leaves `Sample.features` empty and is cheaper.
        z: latents [B, z_dim] instead of those the seeds give.
        BdganError on an unknown class.
        """


@runtime_checkable
class ImageEncoder(Protocol):
    """A generator that can also read images, as VQGAN does."""

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> codes [B, side, side] int64."""

    def features(self, codes: Tensor, class_ids: Tensor) -> dict[str, Tensor]:
        """Codes [B, side, side] and class ids [B] -> features of every block, {block: [B, C, H, W]}."""
