"""Training of a BigGAN-deep on images with latents (Brock et al. 2019), in two phases.

1. Warm start: the generator regresses the images from their latents (L1 at full and quarter resolution, and
   on feature maps of a classifier).
2. Adversarial training with a projection discriminator (hinge loss), the regression kept in.

Purely adversarial training on a laptop's budget leaves poses nearly fixed within a class; the warm start
gives varied ones.
"""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_pretrained_biggan import BigGANConfig
from torch import Tensor

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.precision import autocast
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.recipes.common import StepLog, write_half
from bdgan_lib.recipes.diff_augment import diff_augment
from bdgan_lib.recipes.discriminator import Discriminator, TrainingForm, hinge_step
from bdgan_lib.training.checkpoint import Checkpoint
from bdgan_lib.training.logs import Logger, TrainingLog
from bdgan_lib.training.loop import train
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier

FIGURES = ("l1", "perceptual", "discriminator", "generator")
SAVE_EVERY = 500  # steps
BLOCKS = {  # (upsamples, width before, width after), in base widths
    64: (
        (False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4),
        (False, 4, 4), (True, 4, 4), (True, 4, 2), (False, 2, 1),
    ),
    128: (
        (False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4),
        (False, 4, 4), (True, 4, 4), (True, 4, 2), (True, 2, 1),
    ),
}  # fmt: skip


def small_config(side: int, classes: int, z_dim: int) -> BigGANConfig:
    """A BigGAN-deep of 64 or 128 pixels that trains without a GPU: base width 32, attention at 16 pixels."""
    return BigGANConfig(
        output_dim=side, z_dim=z_dim, class_embed_dim=z_dim, channel_width=32, num_classes=classes,
        layers=[*BLOCKS[side]], attention_layer_position=5, eps=1e-4, n_stats=51,
    )  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Settings of the two training phases; a step is one batch."""

    warm_steps: int = 9_000
    adversarial_steps: int = 8_000
    batch_size: int = 32  # a multiple of 8: groups of four of one class
    warm_rate: float = 1.5e-3  # Adam(0.9, 0.99), cosine to a twentieth
    generator_rate: float = 2e-4  # Adam(0, 0.99), cosine to a tenth
    discriminator_rate: float = 6e-4
    adversarial_weight: float = 0.06  # against 1.0 for the regression
    feature_weight: float = 0.5
    random_latents: bool = False  # half of an adversarial batch has latents that belong to no image
    augment: bool = False  # the discriminator sees images through DiffAugment
    averaging: float = 0.999
    seed: int = 0


class BigGANTrainer:
    """The two phases over one set of images and latents; its whole state fits one checkpoint."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        class_ids: NDArray[np.integer],
        latents: Tensor,
        held_out: int,
        features: Classifier,
        config: BigGANConfig,
        recipe: Recipe,
        run: Path,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            images: [N, S, S, 3].
            class_ids: [N].
            latents: [N, z_dim].
            held_out: so many of the last images are not trained on.
            features: for the feature loss; frozen.
            config: sizes of the network.
            recipe: the settings.
            run: folder of the checkpoint, pictures and log.
            device: where to train.
            logger: receives figures and pictures of the training; None for none.
        """
        torch.manual_seed(recipe.seed)
        self.recipe, self.run, self.device, self.config = recipe, run, device, config
        self.images, self.class_ids, self.latents = images, np.asarray(class_ids, np.int64), latents
        self.trained = len(images) - held_out
        ids = self.class_ids[: self.trained]
        self.members = [np.flatnonzero(ids == k) for k in range(config.num_classes)]
        self.generator = TrainingForm(config).to(device).train()
        self.average = deepcopy(self.generator).eval().requires_grad_(False)
        discriminator = Discriminator(config.num_classes).to(device)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        adam = partial(torch.optim.Adam, eps=1e-6, foreach=True)
        self.optimizer = adam(self.generator.parameters(), 1e-3, (0.9, 0.99))
        self.discriminator_optimizer = adam(self.discriminator.parameters(), 1e-3, (0.0, 0.99))
        self.feature_network = features.to(device)
        self.figures, log = dict.fromkeys(FIGURES, 0.0), TrainingLog.of(logger)
        self.metrics = log and log.at("images", log.first)

    def train(self) -> None:
        """Take all steps that are not taken yet."""
        parts = ("generator", "average", "discriminator", "optimizer", "discriminator_optimizer")
        state = {part: getattr(self, part) for part in parts}
        checkpoint = Checkpoint(self.run / "checkpoint.pt", self._fingerprint(), state)
        self.log = StepLog(self.run / "log.csv", header=["step", "seconds_per_step", *FIGURES])
        self.log.drop_after(len(checkpoint.resume()))
        train(
            self.loss, self.optimizer, self.recipe.warm_steps + self.recipe.adversarial_steps,
            after_step=self._after_step, checkpoint=checkpoint, save_every=SAVE_EVERY, keep_checkpoint=True,
            logger=self.metrics, figures=lambda: self.figures,
        )  # fmt: skip

    def stages(self) -> list[tuple[int, Callable[[], Tensor]]]:
        """The steps of each phase and its loss, to see how long a step takes."""
        recipe = self.recipe
        return [
            (recipe.warm_steps, lambda: self.loss(0)),
            (recipe.adversarial_steps, lambda: self.loss(recipe.warm_steps)),
        ]

    def _fingerprint(self) -> str:
        """What the checkpoint depends on: the settings and the images."""
        data = sha256(np.ascontiguousarray(self.images).data)
        data.update(self.class_ids.data)
        return json.dumps({**asdict(self.recipe), "images": data.hexdigest()})

    def _after_step(self, step: int) -> None:
        self._update_average(step)
        self.log.add(step, self.figures)
        if step % SAVE_EVERY == 0:
            sheet = self.sample_grid()
            write_atomic(self.run / f"samples_{step:06d}.png", encode_png(sheet))
            if self.metrics:
                self.metrics.image("samples", step - 1, sheet)

    def loss(self, step: int) -> Tensor:
        """The generator's loss; in the adversarial phase the discriminator has taken its step before."""
        torch.manual_seed(step)  # so that a resumed run draws as one that was not cut off
        adversarial = step >= self.recipe.warm_steps
        self._set_rates(step, adversarial)
        chosen = self._batch(step, adversarial)
        y = torch.from_numpy(self.class_ids[chosen]).to(self.device)
        z = self.latents[chosen].to(self.device)
        real = from_uint8(self.images[chosen]).to(self.device, memory_format=torch.channels_last)
        paired = len(z)
        if adversarial and self.recipe.random_latents:
            paired //= 2
            torch.nn.init.trunc_normal_(z[paired:], a=-2, b=2)
        fake = self.generator(z, y)
        loss_d = loss_g = torch.zeros((), device=self.device)
        if adversarial:
            loss_d, loss_g = self._adversarial_losses(real, fake, y)
        real, made = real[:paired], fake[:paired]
        l1 = (made - real).abs().mean()
        coarse = (F.avg_pool2d(made, 4) - F.avg_pool2d(real, 4)).abs().mean()
        with autocast(real.device):
            with torch.no_grad():
                real_maps = self.feature_network.maps(real)[:3]
            made_maps = self.feature_network.maps(made.contiguous(memory_format=torch.channels_last))[:3]
        pairs = zip(made_maps, real_maps, strict=True)
        perceptual = torch.stack([(a.float() - b.float()).abs().mean() for a, b in pairs]).sum()
        losses = torch.stack([l1, perceptual, loss_d, loss_g]).detach().tolist()
        self.figures = dict(zip(FIGURES, losses, strict=True))
        return l1 + coarse + self.recipe.feature_weight * perceptual + self.recipe.adversarial_weight * loss_g

    def _adversarial_losses(self, real: Tensor, fake: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The hinge losses of discriminator and generator; the discriminator takes a step between them."""
        seen = diff_augment if self.recipe.augment else lambda images: images
        score = lambda images: self.discriminator(seen(images), torch.cat([y, y]))
        loss_d = hinge_step(self.discriminator, self.discriminator_optimizer, score, real, fake)
        return loss_d, -self.discriminator(seen(fake), y).mean()

    def _batch(self, step: int, adversarial: bool) -> NDArray[np.int64]:
        """Indices of images, by seed and step; the discriminator's in groups of four of a class."""
        noise, count = np.random.default_rng([self.recipe.seed, step]), len(self.members)
        group = 4 if adversarial else 1
        classes = np.repeat(noise.integers(count, size=self.recipe.batch_size // group), group)
        return np.array([noise.choice(self.members[k]) for k in classes])

    def _set_rates(self, step: int, adversarial: bool) -> None:
        recipe = self.recipe
        if adversarial:
            share = (step - recipe.warm_steps) / recipe.adversarial_steps
            rate, momentum, floor = recipe.generator_rate, 0.0, 0.1
        else:
            share, rate, momentum, floor = step / recipe.warm_steps, recipe.warm_rate, 0.9, 0.05
        fall = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        ramp = min(1.0, (step + 1 - recipe.warm_steps * adversarial) / 200)
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = rate * fall * ramp, (momentum, 0.99)
        for group in self.discriminator_optimizer.param_groups:
            group["lr"] = recipe.discriminator_rate * fall

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        keep = min(self.recipe.averaging, 1 - 1 / (1 + 0.1 * step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), 1 - keep)
        for mine, theirs in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """The last images, what the generator makes of their latents, then fresh samples of each class."""
        columns = min(len(self.members), 12)
        self.average.train()  # batch statistics, running power iteration
        class_ids = torch.from_numpy(self.class_ids[-192:]).to(self.device)
        remade = to_uint8(self.average(self.latents[-192:].to(self.device), class_ids))[-columns:]
        seeds = torch.tensor(GENERATOR["BigGAN training, pictures"].seeds)
        new_latents = latents_from_seeds(seeds, self.config.z_dim, Sampling()).to(self.device)
        classes = torch.arange(len(seeds)).remainder(len(self.members)).to(self.device)
        samples = to_uint8(self.average(new_latents, classes))
        self.average.eval()
        return grid([*self.images[-columns:], *remade, *samples], columns=columns)

    def export(self, out: Path, **about: object) -> None:
        """Write the averaged generator in float16 with filled tables, the log, the settings with `about`."""
        for parameter in self.average.parameters():
            parameter.data = parameter.data.half().float()
        self.average.train()
        seeds = torch.tensor(GENERATOR["BigGAN training, batch statistics"].seeds)
        z = latents_from_seeds(seeds, self.config.z_dim, Sampling()).to(self.device)
        classes = torch.arange(len(seeds), device=self.device) % len(self.members)
        for _ in range(20):  # the power iteration of the averaged weights
            self.average(z[:12], classes[:12])
        self.average.eval()  # freezes the power iteration
        self.average.fill_tables(classes, z)
        out.mkdir(parents=True, exist_ok=True)
        write_half(out / "model.safetensors", self.average.model.state_dict())
        write_json(out / "config.json", self.config.to_dict())
        write_json(out / "training.json", {**asdict(self.recipe), **about})
        (out / "training_log.csv").write_text((self.run / "log.csv").read_text("utf-8"), "utf-8")
