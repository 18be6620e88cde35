"""Training of a VQGAN with its transformer on any images (Esser et al. 2021), in two stages.

1. Encoder, codebook and decoder: L1, squared error and a feature loss, then a patch discriminator as well.
2. The transformer on the codes of all images.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.precision import bf16_is_fast
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.generators.code_sampling import CodeSampler
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork
from bdgan_lib.recipes.common import StepLog, write_half
from bdgan_lib.recipes.discriminator import PatchDiscriminator
from bdgan_lib.training.checkpoint import Checkpoint, Stateful
from bdgan_lib.training.logs import Logger, TrainingLog
from bdgan_lib.training.loop import train
from bdgan_lib.training.supervised import seeded
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier

SAVE_EVERY = 500  # steps


@dataclass(frozen=True)
class Recipe:
    """Settings of both stages."""

    image_steps: int = 4_000
    image_batch: int = 32
    image_rate: float = 1e-3
    plain_steps: int = (
        300  # without a codebook, which is then drawn from what the encoder gives; a quarter at most
    )
    perceptual: float = 0.3  # weight of the feature loss beside L1 and squared error
    commitment: float = 0.25
    revive_every: int = 50  # steps; codes that none of them used are drawn anew ...
    revive_until: float = 0.8  # ... in this share of the steps
    adversarial: float = (
        0.0  # the adversary's gradient at the image over that of the other losses; 0: no adversary
    )
    adversarial_from: float = 0.5  # it takes part after this share of the steps
    discriminator_rate: float = 5e-4
    code_steps: int = 4_000
    code_batch: int = 64
    code_rate: float = 1e-3
    code_noise: float = 0.1  # share of the codes the transformer sees replaced by others
    bf16: bool = True  # the networks, where the device is fast with it; codebook and losses stay float32
    seed: int = 0

    def settings(self) -> dict[str, object]:
        """As a JSON object; without an adversary, its settings are left out."""
        settings = asdict(self)
        if not self.adversarial:
            for name in ("adversarial", "adversarial_from", "discriminator_rate"):
                del settings[name]
        return settings


class VQGANTrainer:
    """Both stages over one network, with checkpoints that a resumed run takes up to the step."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        class_ids: NDArray[np.integer],
        held_out: int,
        features: Classifier,
        config: VQGANConfig,
        recipe: Recipe,
        run: Path,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            images: [N, S, S, 3].
            class_ids: [N].
            held_out: so many of the last images are not trained on.
            features: for the feature loss; frozen.
            config: sizes of the network; its resolution is S.
            recipe: the settings.
            run: folder of checkpoints, pictures and log.
            device: where to train.
            logger: receives figures and pictures of the training; None for none.
        """
        self.recipe, self.run, self.device, self.held_out = recipe, run, torch.device(device), held_out
        self.images, self.class_ids = images, torch.from_numpy(np.asarray(class_ids, np.int64))
        self.network = seeded(lambda: VQGANNetwork(config), recipe.seed).to(self.device)
        self.feature_network = features.to(self.device)
        self.plain_steps = min(recipe.plain_steps, recipe.image_steps // 4)
        self.used = torch.zeros(config.codes, dtype=torch.int64, device=self.device)
        self.codes, self.log = torch.empty(0), TrainingLog.of(logger)
        self.figures: dict[str, float] = {}
        self.discriminator, self.discriminator_optimizer = None, None
        if recipe.adversarial:
            self.discriminator = seeded(PatchDiscriminator, recipe.seed + 1).to(self.device)
            self.discriminator_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), recipe.discriminator_rate, betas=(0.5, 0.9)
            )

    def state_dict(self) -> dict[str, object]:
        """The network and how often each code was used, for the checkpoint."""
        return {"network": self.network.state_dict(), "used": self.used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.used = state["used"].to(self.device)

    def train(self) -> None:
        """Take all steps of both stages that are not taken yet."""
        image_parts = [p for n, p in self.network.named_parameters() if not n.startswith("transformer.")]
        recipe, more = self.recipe, dict[str, Stateful]()
        if self.discriminator and self.discriminator_optimizer:
            more = {
                "discriminator": self.discriminator,
                "discriminator_optimizer": self.discriminator_optimizer,
            }
        self._stage("images", image_parts, recipe.image_steps, recipe.image_rate, self._image_loss, more)
        self.codes = self._all_codes()
        code_parts = list(self.network.transformer.parameters())
        self._stage("codes", code_parts, recipe.code_steps, recipe.code_rate, self._code_loss, {})

    def stages(self) -> list[tuple[int, Callable[[], Tensor]]]:
        """The steps of each stage and a loss as of its last ones, to see how long a step takes."""
        self.codes = torch.zeros(len(self.images), self.network.config.side**2, dtype=torch.int64)
        recipe = self.recipe
        last = max(self.plain_steps + 1, recipe.image_steps)
        return [
            (recipe.image_steps, lambda: self._image_loss(last)),
            (recipe.code_steps, lambda: self._code_loss(0)),
        ]

    def _stage(
        self,
        name: str,
        parameters: list[torch.nn.Parameter],
        steps: int,
        rate: float,
        loss_of: Callable[[int], Tensor],
        more: dict[str, Stateful],
    ) -> None:
        optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=1e-4)
        parts: dict[str, Stateful] = {"trainer": self, "optimizer": optimizer, **more}
        checkpoint = Checkpoint(self.run / f"{name}.pt", self._fingerprint(), parts)
        first = self.log.first + (self.recipe.image_steps if name == "codes" else 0) if self.log else 0
        logger = self.log and self.log.at(name, first)
        log = StepLog(self.run / "log.csv", [name])
        log.drop_after(len(checkpoint.resume()))
        self.network.train()

        def seeded_loss(step: int) -> Tensor:
            torch.manual_seed(step)  # so that a resumed run draws as one that was not cut off
            for group in optimizer.param_groups:
                fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
                group["lr"] = rate * fall * min(1.0, (step + 1) / 100)
            return loss_of(step)

        def after_step(step: int) -> None:
            log.add(step, self.figures)
            if step % SAVE_EVERY == 0 or step == steps:
                sheet = self.samples() if name == "codes" else self.reconstructions()
                write_atomic(self.run / f"{name}_{step:06d}.png", encode_png(sheet))
                if logger:
                    logger.image("samples" if name == "codes" else "reconstructions", step - 1, sheet)

        train(
            seeded_loss, optimizer, steps, max_norm=1.0,
            after_step=after_step, checkpoint=checkpoint, save_every=SAVE_EVERY, keep_checkpoint=True,
            logger=logger, figures=lambda: self.figures,
        )  # fmt: skip
        self.network.eval()

    def _fingerprint(self) -> str:
        """What the checkpoints depend on: the settings and the images."""
        data = sha256(np.ascontiguousarray(self.images).data)
        data.update(self.class_ids.numpy().data)
        settings = {**self.recipe.settings(), **asdict(self.network.config)}
        return json.dumps({**settings, "images": data.hexdigest()})

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.recipe.bf16 and bf16_is_fast(self.device)
        )

    def _chosen(self, step: int, size: int) -> Tensor:
        noise = np.random.default_rng([self.recipe.seed, step, size])
        return torch.from_numpy(noise.integers(len(self.images) - self.held_out, size=size))

    def _image_loss(self, step: int) -> Tensor:
        recipe, network = self.recipe, self.network
        x = from_uint8(self.images[self._chosen(step, recipe.image_batch).numpy()]).to(self.device)
        with self._precision():
            vectors = network.embed(x)
        vectors = vectors.float()
        quantised, commitment = vectors, vectors.new_zeros(())
        if step == self.plain_steps:
            self._draw_codes(vectors, torch.arange(network.config.codes))
        if step >= self.plain_steps:
            codes = network.nearest(vectors.detach())
            self.used += torch.bincount(codes.flatten(), minlength=network.config.codes)
            entries = network.look_up(codes)
            to_entries = F.mse_loss(vectors, entries.detach())
            commitment = F.mse_loss(entries, vectors.detach()) + recipe.commitment * to_entries
            quantised = vectors + (entries - vectors).detach()  # straight through
            if step % recipe.revive_every == 0:
                unused = torch.nonzero(self.used == 0).flatten().cpu()
                if step < recipe.revive_until * recipe.image_steps:
                    self._draw_codes(vectors, unused)
                self.used.zero_()
        with self._precision():
            y = network.decode(quantised)
        y = y.float()
        l1, squared = F.l1_loss(y, x), F.mse_loss(y, x)
        maps = zip(self.feature_network.maps(y), self.feature_network.maps(x), strict=True)
        perceptual = torch.stack([F.mse_loss(a, b) / b.square().mean() for a, b in maps]).mean()
        self.figures = {
            "l1": l1.item(), "squared": squared.item(), "perceptual": perceptual.item(),
            "commitment": commitment.item(),
        }  # fmt: skip
        loss = l1 + 2.0 * squared + recipe.perceptual * perceptual
        if self.discriminator:
            begun = step >= recipe.adversarial_from * recipe.image_steps
            loss = self._with_adversary(loss, x, y) if begun else loss
            self.figures = {"discriminator": 0.0, "generator": 0.0} | self.figures
        return loss + commitment

    def _with_adversary(self, loss: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """The loss and the adversary's, balanced where they meet, after a step of the discriminator.

        The paper balances their gradients at the decoder's last layer (eq. 7); at the image it is free.
        """
        discriminator, optimizer = self.discriminator, self.discriminator_optimizer
        assert discriminator and optimizer
        discriminator.requires_grad_(True)
        with self._precision():
            on_real, on_fake = discriminator(torch.cat([real, fake.detach()])).float().chunk(2)
        loss_d = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()  # hinge
        optimizer.zero_grad(set_to_none=True)
        loss_d.backward()
        optimizer.step()
        discriminator.requires_grad_(False)
        with self._precision():
            loss_g = -discriminator(fake).float().mean()
        (mine,) = torch.autograd.grad(loss, fake)
        (theirs,) = torch.autograd.grad(loss_g, fake)
        weight = self.recipe.adversarial * mine.norm() / (theirs.norm() + 1e-8)
        self.figures |= {"discriminator": loss_d.item(), "generator": loss_g.item()}
        gradient = mine + weight * theirs
        surrogate = (fake * gradient).sum()  # has this gradient at the image
        return loss.detach() + surrogate - surrogate.detach()

    @torch.no_grad()
    def _draw_codes(self, vectors: Tensor, which: Tensor) -> None:
        """Give these entries of the codebook vectors that the encoder made in this batch."""
        flat = vectors.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randint(len(flat), (len(which),))
        noise = 0.01 * flat.std() * torch.randn(len(which), flat.shape[1]).to(flat)
        self.network.quantize.embedding.weight[which.to(self.device)] = flat[chosen.to(self.device)] + noise

    def _code_loss(self, step: int) -> Tensor:
        chosen = self._chosen(step, self.recipe.code_batch)
        codes = self.codes[chosen]
        replaced = torch.rand(codes.shape) < self.recipe.code_noise
        noisy = torch.where(replaced, torch.randint_like(codes, self.network.config.codes), codes)
        class_ids = self.class_ids[chosen].to(self.device)
        with self._precision():
            logits = self.network.code_logits(noisy.to(self.device), class_ids)
        loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten().to(self.device))
        self.figures = {"nats": loss.item()}
        return loss

    @torch.inference_mode()
    def _all_codes(self) -> Tensor:
        parts = (self.images[i : i + 200] for i in range(0, len(self.images), 200))
        embed = lambda part: self.network.embed(from_uint8(part).to(self.device))
        return torch.cat([self.network.nearest(embed(part)).flatten(1).cpu() for part in parts])

    @torch.inference_mode()
    def reconstructions(self) -> NDArray[np.uint8]:
        """Held-out images (any, if none are), evenly spaced, and what codes keep of them."""
        others = np.arange(len(self.images))[-self.held_out :]
        images = self.images[others[np.linspace(0, len(others) - 1, 24).astype(int)]]
        self.network.eval()
        codes = self.network.nearest(self.network.embed(from_uint8(images).to(self.device)))
        remade = self.network.decode(self.network.look_up(codes)).cpu()
        self.network.train()
        return grid([*images, *to_uint8(remade.clamp(-1, 1))], columns=12)

    @torch.inference_mode()
    def samples(self) -> NDArray[np.uint8]:
        """Six seeds of each class, of the first eight."""
        network = self.network.eval()
        classes = min(network.config.num_classes, 8)
        ids, seeds = torch.arange(classes).repeat_interleave(6), torch.arange(6).repeat(classes)
        codes, _ = CodeSampler(network.transformer).sample(ids.to(self.device), seeds, Sampling())
        side = network.config.side
        images = network.decode(network.look_up(codes.view(-1, side, side))).cpu()
        network.train()
        return grid([*to_uint8(images.clamp(-1, 1))], columns=12)

    def export(self, out: Path, **about: object) -> None:
        """Write the weights in float16, the configuration, the log, and the settings with `about`."""
        state = {k: v for k, v in self.network.state_dict().items() if not k.endswith("attn.mask")}
        out.mkdir(parents=True, exist_ok=True)
        write_half(out / "model.safetensors", state)
        write_json(out / "config.json", asdict(self.network.config))
        write_json(out / "training.json", {**self.recipe.settings(), **about})
        (out / "training_log.csv").write_text((self.run / "log.csv").read_text("utf-8"), "utf-8")
