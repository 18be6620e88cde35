"""What every generator offers, whatever network stands behind it."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError


class Generator(Protocol):
    """A frozen class-conditional generator. It is passed as an object, never looked up by name."""

    @property
    def name(self) -> str:
        """A name for people, such as "pocket BigGAN-deep 64"."""

    @property
    def sha256(self) -> str:
        """The sha256 of the weights. It ties annotations, heads and data sets to this generator."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a class id is an index into them."""

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
        """Generate one image per (class, seed) pair, without gradients.

        Image i depends on class_ids[i], seeds[i] and sampling alone.

        Args:
            class_ids: [B] int64, below len(classes).
            seeds: [B] int64, from 0.
            sampling: how latents or codes are drawn, see `generators.latents`.
            features: False leaves `Sample.features` empty, which is cheaper.
            z: latents [B, z_dim] to use instead of those that the seeds give.

        Raises:
            BdganError: the generator does not have a class, the seeds do not fit, or the settings are of
                another kind of generator.
        """


@runtime_checkable
class ImageEncoder(Generator, Protocol):
    """A generator that can also read images, as VQGAN does."""

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> codes [B, side, side] int64."""

    def features(self, codes: Tensor, class_ids: Tensor) -> dict[str, Tensor]:
        """Codes [B, side, side] and class ids [B] -> features of every block, {block: [B, C, H, W]}."""


def check_class_ids(class_ids: Tensor, generator: Generator, seeds: Tensor | None = None) -> None:
    """Check that a generator has these classes [B] and, if seeds are given, that there are as many.

    Raises:
        BdganError: a class id is out of range, or the lengths differ.
    """
    if seeds is not None and len(class_ids) != len(seeds):
        raise BdganError(
            f"expected as many seeds as classes, got {len(class_ids)} classes and {len(seeds)} seeds"
        )
    last = len(generator.classes) - 1
    if class_ids.numel() and not 0 <= int(class_ids.min()) <= int(class_ids.max()) <= last:
        raise BdganError(
            f"expected class ids 0 to {last} for {generator.name}, got {sorted(set(class_ids.tolist()))}"
        )
