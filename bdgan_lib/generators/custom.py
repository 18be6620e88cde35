"""A network of one's own behind the `Generator` protocol."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import weights_sha256
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.hooks import capture_features, group_blocks
from bdgan_lib.generators.latents import latents

_ROUNDING = 1e-2  # at most, between the same image in two batches; one that is another differs by far more


class CustomGenerator(FeatureGenerator):
    """Any network whose call (z, class_ids) -> images is [B, z_dim], [B] -> [B, 3, S, S] in [-1, 1].

        OwnGenerator(network, "my GAN", ("cat", "dog"), z_dim=64, blocks=["up1", "up2", "up3", "up4"])

    It is put into eval mode and frozen, in place. A network without classes ignores the ids. One that needs
    noise on its way takes it from a longer z; of a module that runs several times the last output is the
    feature. What changes images and is no weight (a number of steps) belongs into a buffer: `sha256` is that
    of weights and buffers.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        classes: Sequence[str],
        z_dim: int,
        blocks: Sequence[str],
        device: str = "cpu",
    ) -> None:
        """Measure the blocks on two samples.

        Args:
            blocks: paths of modules whose outputs [B, C, side, side] are the features, as `named_modules`
                gives them: of four sides or more, the largest that of the images. A dot in a path is an
                underscore in the block's name.

        BdganError for images of another shape or range, for an image that depends on others of its batch or
        on chance, and for a block that does not exist, does not run or gives no such map.
        """
        network.eval().to(device)
        shapes = _shapes(network, len(classes), z_dim, blocks, device)
        places = {path.replace(".", "_"): (path, *shapes[path]) for path in shapes}
        group_blocks({block: place[1:] for block, place in places.items()})  # refuses fewer than four sides
        super().__init__(network, name, classes, weights_sha256(network), device, z_dim, places)

    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        return self._model(z, class_ids)


@torch.inference_mode()
def _shapes(
    network: nn.Module, num_classes: int, z_dim: int, blocks: Sequence[str], device: str
) -> dict[str, tuple[int, int]]:
    """Path of a block -> (channels, side), coarse to fine."""
    z = latents(torch.arange(2), z_dim, Sampling()).to(device)
    ids = torch.tensor([0, num_classes - 1], device=device)
    with capture_features(network, blocks) as found:
        images = network(z, ids)
    side = images.shape[-1]
    if images.shape != (2, 3, side, side):
        raise BdganError(f"images of two latents came as {list(images.shape)}; wanted [2, 3, side, side]")
    if not images.abs().max() <= 1.001:  # NaN is not either
        raise BdganError(f"images came with values up to {images.abs().max():.3g}; wanted -1 to 1")
    if not (network(z[1:], ids[1:]) - images[1:]).abs().max() <= _ROUNDING:
        raise BdganError(
            "the same latent and class gave two images in two batches; normalise each image by itself, and "
            "take all noise from the latent"
        )
    _check_maps(found, blocks, side)
    shapes = {path: (found[path].shape[1], found[path].shape[3]) for path in blocks}
    return dict(sorted(shapes.items(), key=lambda item: item[1][1]))


def _check_maps(found: Mapping[str, Tensor], blocks: Sequence[str], side: int) -> None:
    for path in blocks:
        if path not in found:
            raise BdganError(f"block {path!r} took no part in the image; name modules that run")
        shape = found[path].shape
        if len(shape) != 4 or shape[2] != shape[3]:
            raise BdganError(f"block {path!r} gave {list(shape)}; wanted a map [B, C, side, side]")
    finest = max((found[path].shape[3] for path in blocks), default=0)
    if finest != side:
        raise BdganError(f"the finest block has side {finest}, the images {side}; name one of that side too")
