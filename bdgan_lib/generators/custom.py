"""Your own network behind the `Generator` protocol."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bdgan_lib.checkpoints.state_dict import weights_sha256
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.hooks import capture_features, group_blocks
from bdgan_lib.generators.latents import latents_from_seeds

_ROUNDING = 1e-2  # at most, between the same image in two batches; a different image differs by far more


class CustomGenerator(FeatureGenerator):
    """Any network whose call (z, class_ids) -> images is [B, z_dim], [B] -> [B, 3, S, S] in [-1, 1].

        CustomGenerator(network, "my GAN", ("cat", "dog"), z_dim=64, blocks=["up1", "up2", "up3", "up4"])

    The network is put into eval mode and frozen, in place. A network without classes ignores the ids. One
    that needs more noise takes it from a longer z. If a module runs several times, its last output is the
    feature. A setting that changes images but is not a weight (a number of steps) belongs in a buffer, since
    `sha256` covers weights and buffers.
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
            network: the network, see above.
            name: the generator's name, for people.
            classes: names of the class ids.
            z_dim: length of a latent.
            blocks: paths of modules whose outputs [B, C, side, side] are the features, as `named_modules`
                gives them. They need at least four different sides, the largest being the images'. A dot in a
                path becomes an underscore in the block's name.
            device: where the network runs.

        Raises:
            BdganError: images have another shape or range, an image depends on others of its batch or on
                chance, a block does not exist, does not run or gives no such map, or the blocks have fewer
                than four sides or none of the images'.
        """
        network.eval().to(device)
        shapes = _shapes(network, len(classes), z_dim, blocks, device)
        modules = {path.replace(".", "_"): (path, *shape) for path, shape in shapes.items()}
        group_blocks(
            {block: module[1:] for block, module in modules.items()}
        )  # refuses fewer than four sides
        super().__init__(network, name, classes, weights_sha256(network), device, z_dim, modules)

    def _images(self, z: Tensor, class_ids: Tensor, sampling: Sampling) -> Tensor:
        images: Tensor = self._model(z, class_ids)
        return images


@torch.inference_mode()
def _shapes(
    network: nn.Module, num_classes: int, z_dim: int, blocks: Sequence[str], device: str
) -> dict[str, tuple[int, int]]:
    """Path of a block -> (channels, side), coarse to fine."""
    z = latents_from_seeds(torch.arange(2), z_dim, Sampling()).to(device)
    ids = torch.tensor([0, num_classes - 1], device=device)
    with capture_features(network, blocks) as outputs:
        images = network(z, ids)
    side = images.shape[-1]
    if images.shape != (2, 3, side, side):
        raise BdganError(f"expected images [2, 3, side, side] of two latents, got {list(images.shape)}")
    if not images.abs().max() <= 1.001:  # NaN fails too
        raise BdganError(f"expected image values from -1 to 1, got values up to {images.abs().max():.3g}")
    if not (network(z[1:], ids[1:]) - images[1:]).abs().max() <= _ROUNDING:
        raise BdganError(
            "the same latent and class gave two images in two batches; normalise each image by itself, and "
            "take all noise from the latent"
        )
    _check_maps(outputs, blocks, side)
    shapes = {path: (outputs[path].shape[1], outputs[path].shape[3]) for path in blocks}
    return dict(sorted(shapes.items(), key=lambda item: item[1][1]))


def _check_maps(outputs: Mapping[str, Tensor], blocks: Sequence[str], side: int) -> None:
    for path in blocks:
        if path not in outputs:
            raise BdganError(f"block {path!r} took no part in the image; name modules that run")
        shape = outputs[path].shape
        if len(shape) != 4 or shape[2] != shape[3]:
            raise BdganError(f"block {path!r}: expected a map [B, C, side, side], got {list(shape)}")
    finest = max((outputs[path].shape[3] for path in blocks), default=0)
    if finest != side:
        raise BdganError(f"the finest block has side {finest}, the images {side}; name one of that side too")
