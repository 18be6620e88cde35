"""Third stage of a VQGAN's training: its decoder meets samples."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.generators.code_sampling import CodeSampler
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.recipes.discriminator import Discriminator, hinge_step
from bdgan_lib.training.checkpoint import Stateful
from bdgan_lib.training.supervised import seeded

_GROUP = 4  # the discriminator's images of one class


class DecoderStage:
    """Trains the decoder on images' codes and, against a discriminator, on codes that the transformer drew.

    Args:
        network: the VQGAN after the other stages; its decoder is trained.
        images: [N, S, S, 3].
        class_ids: [N].
        codes: of the images, [N, side * side].
        drawn: codes of samples, [M, side * side]; row i is of class i % classes, and M a multiple of them.
        image_loss: of decoded images and the real ones, each [B, 3, S, S].
        decode: codes [B, side, side] -> images [B, 3, S, S], as the network decodes them.
        weight: of the discriminator's loss beside it.
        averaging: the decoder's weights are averaged over the steps with this factor.
        seed: of the discriminator's weights and the batches.
    """

    def __init__(
        self,
        network: VQGANNetwork,
        images: NDArray[np.uint8],
        class_ids: Tensor,
        codes: Tensor,
        drawn: Tensor,
        image_loss: Callable[[Tensor, Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        weight: float,
        averaging: float,
        seed: int,
    ) -> None:
        self.network, self.images, self.codes, self.drawn = network, images, codes, drawn
        self.image_loss, self.decode = image_loss, decode
        self.weight, self.averaging, self.seed = weight, averaging, seed
        self.classes, self.device = network.config.num_classes, network.quantize.embedding.weight.device
        self.members = [np.flatnonzero(class_ids.numpy() == k) for k in range(self.classes)]
        self.trained = nn.ModuleList([network.post_quant_conv, network.decoder])
        self.average = deepcopy(self.trained).requires_grad_(False)
        discriminator = seeded(lambda: Discriminator(self.classes), seed + 2).to(self.device)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.trained.parameters(), betas=(0.0, 0.99), eps=1e-6)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), betas=(0.0, 0.99), eps=1e-6
        )
        self.figures: dict[str, float] = {}

    def parts(self) -> Mapping[str, Stateful]:
        """What a checkpoint holds beside the network and its optimizer."""
        return {
            "average": self.average,
            "discriminator": self.discriminator,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def loss(self, step: int, batch: int) -> Tensor:
        """The decoder's loss on half a batch of images and half a batch of samples, of the same classes.

        The discriminator takes its step before, at three times the decoder's rate.
        """
        half, side = batch // 2, self.network.config.side
        noise = np.random.default_rng([self.seed, step, half])
        classes = np.repeat(noise.integers(self.classes, size=half // _GROUP), _GROUP)
        chosen = np.array([noise.choice(self.members[k]) for k in classes])
        samples = classes + self.classes * noise.integers(len(self.drawn) // self.classes, size=half)
        codes = torch.cat([self.codes[chosen], self.drawn[samples]]).view(-1, side, side).to(self.device)
        real = from_uint8(self.images[chosen]).to(self.device)
        ids = torch.from_numpy(classes).to(self.device)
        remade, fake = self.decode(codes).chunk(2)
        for group in self.discriminator_optimizer.param_groups:
            group["lr"] = 3 * self.optimizer.param_groups[0]["lr"]
        loss_d = hinge_step(
            self.discriminator, self.discriminator_optimizer,
            lambda images: self.discriminator(images, torch.cat([ids, ids])), real, fake,
        )  # fmt: skip
        loss_g = -self.discriminator(fake, ids).mean()
        self.figures = {"discriminator": loss_d.item(), "generator": loss_g.item()}
        return self.image_loss(remade, real) + self.weight * loss_g

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Take the weights after this step, 1 for the first, into the average."""
        keep = min(self.averaging, 1 - 1 / (1 + 0.1 * step))
        pairs = zip(self.average.parameters(), self.trained.parameters(), strict=True)
        for mean, weight in pairs:
            mean.lerp_(weight, 1 - keep)

    def finish(self) -> None:
        """Give the network the averaged weights."""
        self.trained.load_state_dict(self.average.state_dict())


@torch.inference_mode()
def drawn_codes(network: VQGANNetwork, count: int, batch: int = 200) -> Tensor:
    """Codes of `count` samples or a few more, [M, side * side]; row i is of class i % classes."""
    classes = network.config.num_classes
    numbers = torch.arange(-(-count // classes) * classes)
    device = network.quantize.embedding.weight.device
    sampler, first = CodeSampler(network.transformer), GENERATOR["VQGAN training, samples"].first
    parts = [
        sampler.sample((part % classes).to(device), part + first, Sampling())[0].cpu()
        for part in numbers.split(batch)
    ]
    return torch.cat(parts)
