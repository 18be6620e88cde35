"""What the pocket BigGAN trains with: its training form and a projection discriminator."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from types import MethodType
from typing import cast

import torch
import torch.nn.functional as F
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, GenBlock
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from tqdm import tqdm

from bdgan_lib.core.precision import autocast, fast_dtype


def _batch_statistics(
    self: BigGANBatchNorm, x: Tensor, truncation: float, condition: Tensor | None = None
) -> Tensor:
    """The package's batch norm reads stored tables only; in training it takes the batch's statistics."""
    if self.sums is not None:
        variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        self.sums += len(x) * torch.stack([mean, variance + mean.square(), torch.ones_like(mean)])
    normal = F.batch_norm(x, None, None, training=True, eps=self.eps)
    if condition is None:
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
    else:
        weight, bias = 1 + self.scale(condition)[..., None, None], self.offset(condition)[..., None, None]
    return torch.addcmul(bias.to(x.dtype), normal, weight.to(x.dtype))


class TrainingForm(nn.Module):
    """A BigGAN of the package as it trains: batch statistics, three RGB channels.

    Most of it computes in bfloat16 where that is fast. Parameters and buffers are those of the package, under
    the same names.
    """

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.model = BigGAN(config)
        for module in self.model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(getattr(module, "weight_orig", module.weight).data)
        nn.init.normal_(self.model.embeddings.weight)
        self.model.to(memory_format=torch.channels_last)
        final = self.model.generator.bn  # the package leaves these uninitialised
        nn.init.ones_(final.weight), nn.init.zeros_(final.bias)
        self.norms = [m for m in self.model.modules() if isinstance(m, BigGANBatchNorm)]
        for norm in self.norms:
            norm.sums = None
            norm.forward = MethodType(_batch_statistics, norm)

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Latents [B, z_dim], class ids [B] -> images [B, 3, H, W] in [-1, 1]."""
        generator, config = self.model.generator, self.model.config
        condition = torch.cat([z, self.model.embeddings.weight.T[class_ids]], 1)
        dtype = fast_dtype(z.device)
        with autocast(z.device):
            x = generator.gen_z(condition).view(-1, 4, 4, 16 * config.channel_width).permute(0, 3, 1, 2)
            for layer in generator.layers:
                small = isinstance(layer, GenBlock) and x.shape[-1] <= 4 and not layer.up_sample
                more = (condition, 1.0) if isinstance(layer, GenBlock) else ()
                narrow = torch.autocast(z.device.type, enabled=False) if small else nullcontext()
                with narrow:  # bfloat16 is slow at 4 x 4
                    x = layer(x.float() if small else x.to(dtype), *more)
            x = F.relu(generator.bn(x.to(dtype), 1.0))
            rgb = generator.conv_to_rgb
            for hook in rgb._forward_pre_hooks.values():  # spectral norm: computes `weight`
                hook(rgb, (x,))
            x = F.conv2d(x, rgb.weight[:16], rgb.bias[:16], padding=1)  # a 3-row bfloat16 backward is slow
        return torch.tanh(x[:, :3].float())

    @torch.no_grad()
    def fill_tables(self, class_ids: Tensor, z: Tensor, batch: int = 96) -> None:
        """Set the package's table of statistics: row i from latents `z` times i / (rows - 1)."""
        rows = self.model.config.n_stats
        for row in tqdm(range(rows), "batch statistics", leave=False):
            for norm in self.norms:
                norm.sums = norm.running_means.new_zeros(3, norm.num_features, dtype=torch.float64)
            for first in range(0, len(z), batch):
                part = slice(first, first + batch)
                self(z[part] * row / (rows - 1), class_ids[part])
            for norm in self.norms:
                mean, square = norm.sums[:2] / norm.sums[2]
                norm.running_means[row], norm.running_vars[row] = mean, (square - mean**2).clamp_min(0)
                norm.sums = None


class _Block(nn.Module):
    """Residual block that halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.avg_pool2d(self.conv1(F.leaky_relu(x, 0.2)), 2)
        return self.conv2(F.leaky_relu(h, 0.2)) + self.skip(F.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    """Images [B, 3, 64, 64] in [-1, 1], class ids [B] -> scores [B] (projection discriminator).

    The standard deviation over groups of four neighbours in the batch is one more feature: give it batches
    whose groups of four are of one class.
    """

    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = spectral_norm(nn.Conv2d(12, width, 3, padding=1))
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairwise(widths)))
        self.last = spectral_norm(nn.Conv2d(widths[-1], widths[-1], 3, padding=1))
        self.score = spectral_norm(nn.Linear(widths[-1] + 1, 1))
        self.embedding = spectral_norm(nn.Embedding(num_classes, widths[-1]))
        for module in self.modules():
            if hasattr(module, "weight_orig"):
                nn.init.orthogonal_(cast(Tensor, module.weight_orig).data)

    def forward(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Images [B, 3, 64, 64] in [-1, 1] and class ids [B] -> scores [B], higher for real ones."""
        with autocast(images.device):
            h = self.stem(F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last))
            h = F.leaky_relu(self.last(F.leaky_relu(self.blocks(h), 0.2)), 0.2)
        h = h.float().sum((2, 3))
        spread = ((h / 4).view(-1, 4, h.shape[1]).var(1) + 1e-8).sqrt().mean(1).repeat_interleave(4)[:, None]
        return self.score(torch.cat([h, spread], 1)).squeeze(1) + (self.embedding(class_ids) * h).sum(1)


def hinge_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    score: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
) -> Tensor:
    """Take the discriminator's step with the hinge loss and freeze it for the generator's; returns the loss.

    score: the discriminator's scores of real images and as many generated ones, in one batch.
    """
    discriminator.requires_grad_(True)
    on_real, on_fake = score(torch.cat([real, fake.detach()])).chunk(2)
    loss = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    discriminator.requires_grad_(False)
    return loss.detach()


class PatchDiscriminator(nn.Module):
    """Images [B, 3, S, S] in [-1, 1] -> a score for each patch, [B, 1, S / 8, S / 8], higher for real ones.

    The patches overlap and are 30 pixels wide: the discriminator sees textures and edges, not whole objects
    (Isola et al. 2017; VQGAN trains its decoder with one).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the patches."""
        scores: Tensor = self.layers(images)
        return scores
