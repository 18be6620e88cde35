"""Recipe: the pocket BigGAN.

    python -m bdgan_lib.recipes.pocket_biggan [--run runs/pocket_biggan] [--out assets/pocket/biggan]

1. Pairs: a latent drives the renderer, so (z, class) -> image pairs exist without end; PAIRS are rendered.
2. Warm start: the generator regresses the pairs (L1 at full and quarter resolution, and on feature maps
   of a classifier that serves nothing else).
3. Adversarial training with a projection discriminator (hinge loss), the regression kept in.
4. The averaged generator's table of batch-norm statistics is filled in, per truncation; it is written out.

Purely adversarial training on this budget leaves poses nearly fixed within a class; the warm start gives
varied ones.
Checkpoints are resumed: the same command goes on where it was. CPU or GPU.
"""

import json
import math
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
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
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR, POCKET
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.recipes.common import StepLog, cached_scenes, feature_network, options_of, write_half
from bdgan_lib.recipes.discriminator import Discriminator, TrainingForm
from bdgan_lib.training.checkpoint import Checkpoint
from bdgan_lib.training.loop import train
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.pocket import CLASSES, LATENT_DIM

FIGURES = ("l1", "perceptual", "discriminator", "generator")
SAVE_EVERY = 500  # steps
PAIRS = POCKET["BigGAN training"].count  # from seed 0; the last 192 are held out
HELD_OUT = 192
_LAYERS = [(False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4)]
_LAYERS += [(False, 4, 4), (True, 4, 4), (True, 4, 2), (False, 2, 1)]
_SIZES = {"output_dim": 64, "z_dim": LATENT_DIM, "class_embed_dim": LATENT_DIM, "channel_width": 32}
CONFIG = BigGANConfig(
    **_SIZES, num_classes=len(CLASSES), layers=_LAYERS, attention_layer_position=5, eps=1e-4, n_stats=51
)


@dataclass(frozen=True)
class Recipe:
    """Settings of the two training phases; a step is one batch."""

    warm_steps: int = 9_000
    adversarial_steps: int = 8_000
    batch_size: int = 32  # a multiple of 4: groups of four of one class
    warm_rate: float = 1.5e-3  # Adam(0.9, 0.99), cosine to a twentieth
    generator_rate: float = 2e-4  # Adam(0, 0.99), cosine to a tenth
    discriminator_rate: float = 6e-4
    adversarial_weight: float = 0.06  # against 1.0 for the regression
    feature_weight: float = 0.5
    averaging: float = 0.999
    seed: int = 0


class Trainer:
    """The two phases over one set of pairs; its whole state fits one checkpoint."""

    def __init__(self, recipe: Recipe, run: Path, device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run, self.device = recipe, run, device
        self.generator = TrainingForm(CONFIG).to(device).train()
        self.average = deepcopy(self.generator).eval().requires_grad_(False)
        self.discriminator = Discriminator(len(CLASSES)).to(device).to(memory_format=torch.channels_last)
        adam = partial(torch.optim.Adam, eps=1e-6, foreach=True)
        self.optimizer = adam(self.generator.parameters(), 1e-3, (0.9, 0.99))
        self.discriminator_optimizer = adam(self.discriminator.parameters(), 1e-3, (0.0, 0.99))
        pairs = cached_scenes(run / "pairs.npz", PAIRS, 0)
        self.images, self.class_ids = pairs.images, pairs.class_ids
        self.latents = torch.from_numpy(pairs.latents)
        features = feature_network(run / "perceptual.pt", self.images[:24_000], self.class_ids[:24_000])
        self.feature_network = features.to(device)
        header = ["step", "seconds_per_step", *FIGURES]
        self.log, self.figures = StepLog(run / "log.csv", header=header), dict.fromkeys(FIGURES, 0.0)

    def train(self) -> None:
        """Take all steps that are not taken yet."""
        parts = ("generator", "average", "discriminator", "optimizer", "discriminator_optimizer")
        state, training = {part: getattr(self, part) for part in parts}, json.dumps(asdict(self.recipe))
        checkpoint = Checkpoint(self.run / "checkpoint.pt", training, state)
        self.log.drop_after(len(checkpoint.resume()))
        train(
            self._loss, self.optimizer, self.recipe.warm_steps + self.recipe.adversarial_steps,
            after_step=self._after_step, checkpoint=checkpoint, save_every=SAVE_EVERY, keep_checkpoint=True,
        )  # fmt: skip

    def _after_step(self, step: int) -> None:
        self._update_average(step)
        self.log.add(step, self.figures)
        if step % SAVE_EVERY == 0:
            write_atomic(self.run / f"samples_{step:06d}.png", encode_png(self.sample_grid()))

    def _loss(self, step: int) -> Tensor:
        """The generator's loss; in the adversarial phase the discriminator has taken its step before."""
        adversarial = step >= self.recipe.warm_steps
        self._set_rates(step, adversarial)
        self.discriminator.requires_grad_(True)
        chosen = self._batch(step, adversarial)
        y = torch.from_numpy(self.class_ids[chosen]).to(self.device)
        z = self.latents[chosen].to(self.device)
        real = from_uint8(self.images[chosen]).to(self.device, memory_format=torch.channels_last)
        fake = self.generator(z, y)
        loss_d = loss_g = torch.zeros((), device=self.device)
        if adversarial:
            scores = self.discriminator(torch.cat([real, fake.detach()]), torch.cat([y, y]))
            on_real, on_fake = scores.chunk(2)
            loss_d = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            loss_d.backward()
            self.discriminator_optimizer.step()
            self.discriminator.requires_grad_(False)
            loss_g = -self.discriminator(fake, y).mean()
        l1 = (fake - real).abs().mean()
        coarse = (F.avg_pool2d(fake, 4) - F.avg_pool2d(real, 4)).abs().mean()
        with torch.autocast(real.device.type, torch.bfloat16):
            with torch.no_grad():
                real_maps = self.feature_network.maps(real)[:3]
            fake_maps = self.feature_network.maps(fake.contiguous(memory_format=torch.channels_last))[:3]
        pairs = zip(fake_maps, real_maps, strict=True)
        perceptual = torch.stack([(a.float() - b.float()).abs().mean() for a, b in pairs]).sum()
        losses = torch.stack([l1, perceptual, loss_d, loss_g]).detach().tolist()
        self.figures = dict(zip(FIGURES, losses, strict=True))
        return l1 + coarse + self.recipe.feature_weight * perceptual + self.recipe.adversarial_weight * loss_g

    def _batch(self, step: int, adversarial: bool) -> NDArray[np.int64]:
        """Indices of pairs, a function of seed and step; the discriminator's in groups of four of a class."""
        noise, count = np.random.default_rng([self.recipe.seed, step]), len(CLASSES)
        group = 4 if adversarial else 1
        classes = np.repeat(noise.integers(count, size=self.recipe.batch_size // group), group)
        return classes + count * noise.integers((len(self.images) - HELD_OUT) // count, size=len(classes))

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
    def sample_grid(self) -> np.ndarray:
        """Held-out renders, what the generator makes of their latents, then fresh samples of each class."""
        last = slice(len(self.images) - 12, len(self.images))
        self.average.train()  # batch statistics, running power iteration
        z = self.latents[-HELD_OUT:].to(self.device)
        class_ids = torch.from_numpy(self.class_ids[-HELD_OUT:]).to(self.device)
        remade = to_uint8(self.average(z, class_ids))[-12:]
        classes = torch.arange(96).remainder(12)
        seeds = torch.tensor(GENERATOR["BigGAN training, pictures"].seeds)
        new_latents = latents_from_seeds(seeds, LATENT_DIM, Sampling()).to(self.device)
        samples = to_uint8(self.average(new_latents, classes.to(self.device)))
        self.average.eval()
        return grid([*self.images[last], *remade, *samples], columns=12)

    def export(self, out: Path) -> None:
        """Write the averaged generator, rounded to float16, with its tables filled."""
        for parameter in self.average.parameters():
            parameter.data = parameter.data.half().float()
        self.average.train()
        seeds = torch.tensor(GENERATOR["BigGAN training, batch statistics"].seeds)
        z = latents_from_seeds(seeds, LATENT_DIM, Sampling()).to(self.device)
        classes = torch.arange(768, device=self.device) % len(CLASSES)
        for _ in range(20):  # the power iteration of the averaged weights
            self.average(z[:12], classes[:12])
        self.average.eval()  # freezes the power iteration
        self.average.fill_tables(classes, z)
        out.mkdir(parents=True, exist_ok=True)
        write_half(out / "model.safetensors", self.average.model.state_dict())
        write_json(out / "config.json", CONFIG.to_dict())
        write_json(out / "training.json", {**asdict(self.recipe), "pairs": PAIRS})
        (out / "training_log.csv").write_text((self.run / "log.csv").read_text("utf-8"), "utf-8")
        write_atomic(out / "samples.png", encode_png(self.sample_grid()))


def main() -> None:
    """Train and export."""
    steps = {"warm_steps": Recipe.warm_steps, "adversarial_steps": Recipe.adversarial_steps}
    options = options_of(__doc__, "biggan", **steps)
    recipe = Recipe(warm_steps=options.warm_steps, adversarial_steps=options.adversarial_steps)
    trainer = Trainer(recipe, options.run, "cuda" if torch.cuda.is_available() else "cpu")
    trainer.train()
    trainer.export(options.out)


if __name__ == "__main__":
    main()
