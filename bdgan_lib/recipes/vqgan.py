"""Training of a VQGAN with its transformer on any images (Esser et al. 2021), in two stages or three.

1. Encoder, codebook and decoder: L1, squared error and a feature loss, then a patch discriminator as well.
2. The transformer on the codes of all images.
3. The decoder alone, against a discriminator that compares real images with samples. Codes that the
   transformer drew fit one another less well than codes of images, and only here does the decoder meet them.
   The paper has no such stage; codes and transformer stay as they are.
"""

import json
import math
from collections.abc import Callable, Mapping
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
from bdgan_lib.recipes.discriminator import PatchDiscriminator, hinge_step
from bdgan_lib.recipes.vqgan_decoder import DecoderStage, drawn_codes
from bdgan_lib.training.checkpoint import Checkpoint, Stateful
from bdgan_lib.training.logs import Logger, TrainingLog
from bdgan_lib.training.loop import train
from bdgan_lib.training.supervised import seeded
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier

SAVE_EVERY = 500  # steps
STAGES = {"images": "image", "codes": "code", "decoder": "decoder"}  # with how their settings begin


def _adamw(parameters: list[torch.nn.Parameter]) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=1e-4)


@dataclass(frozen=True)
class Recipe:
    """Settings of all stages."""

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
    code_dropout: float = 0.1  # in the transformer; both are for few images, which it would learn by heart
    decoder_steps: int = 0  # of the third stage; 0: none
    decoder_batch: int = 32  # a multiple of 8: images and as many samples, in groups of four of one class
    decoder_rate: float = 2e-4  # and three times that of its discriminator
    decoder_adversarial: float = 0.03  # weight of the discriminator's loss beside those of the first stage
    decoder_samples: int = 12_000  # drawn before
    decoder_averaging: float = 0.995
    bf16: bool = True  # the networks, where the device is fast with it; codebook and losses stay float32
    seed: int = 0

    def settings(self) -> dict[str, object]:
        """As a JSON object; without an adversary or a third stage, their settings are left out."""
        settings = asdict(self)
        if not self.adversarial:
            for name in ("adversarial", "adversarial_from", "discriminator_rate"):
                del settings[name]
        if not self.decoder_steps:
            settings = {name: value for name, value in settings.items() if not name.startswith("decoder_")}
        return settings


class VQGANTrainer:
    """All stages over one network, with checkpoints that a resumed run takes up to the step."""

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
        for module in self.network.transformer.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = recipe.code_dropout
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
        """Take all steps of all stages that are not taken yet."""
        image_parts = [p for n, p in self.network.named_parameters() if not n.startswith("transformer.")]
        recipe, more = self.recipe, dict[str, Stateful]()
        if self.discriminator and self.discriminator_optimizer:
            more = {
                "discriminator": self.discriminator,
                "discriminator_optimizer": self.discriminator_optimizer,
            }
        optimizer = _adamw(image_parts)
        self._stage("images", optimizer, recipe.image_steps, recipe.image_rate, self._image_loss, more)
        self.codes = self._all_codes()
        optimizer = _adamw(list(self.network.transformer.parameters()))
        self._stage("codes", optimizer, recipe.code_steps, recipe.code_rate, self._code_loss, {})
        if recipe.decoder_steps:
            self._train_decoder()

    def stages(self) -> list[tuple[int, Callable[[], Tensor]]]:
        """The steps of each stage and a loss as of its last ones, to see how long a step takes."""
        side, recipe = self.network.config.side, self.recipe
        self.codes = torch.zeros(len(self.images), side**2, dtype=torch.int64)
        last = max(self.plain_steps + 1, recipe.image_steps)
        stages = [
            (recipe.image_steps, lambda: self._image_loss(last)),
            (recipe.code_steps, lambda: self._code_loss(0)),
        ]
        if recipe.decoder_steps:
            drawn = torch.zeros(self.network.config.num_classes, side**2, dtype=torch.int64)
            decoder = self._decoder_stage(drawn)
            stages.append((recipe.decoder_steps, lambda: decoder.loss(0, recipe.decoder_batch)))
        return stages

    def _stage(
        self,
        name: str,
        optimizer: torch.optim.Optimizer,
        steps: int,
        rate: float,
        loss_of: Callable[[int], Tensor],
        more: Mapping[str, Stateful],
        after: Callable[[int], object] = lambda step: None,
    ) -> None:
        parts: dict[str, Stateful] = {"trainer": self, "optimizer": optimizer, **more}
        checkpoint = Checkpoint(self.run / f"{name}.pt", self._fingerprint(name), parts)
        before = [f"{setting}_steps" for setting in STAGES.values()][: [*STAGES].index(name)]
        first = self.log.first + sum(getattr(self.recipe, steps) for steps in before) if self.log else 0
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
            after(step)
            if step % SAVE_EVERY == 0 or step == steps:
                sheet = self.reconstructions() if name == "images" else self.samples()
                write_atomic(self.run / f"{name}_{step:06d}.png", encode_png(sheet))
                if logger:
                    logger.image("reconstructions" if name == "images" else "samples", step - 1, sheet)

        train(
            seeded_loss, optimizer, steps, max_norm=1.0,
            after_step=after_step, checkpoint=checkpoint, save_every=SAVE_EVERY, keep_checkpoint=True,
            logger=logger, figures=lambda: self.figures,
        )  # fmt: skip
        self.network.eval()

    def _train_decoder(self) -> None:
        """The third stage; codes are drawn anew by a run that goes on."""
        recipe = self.recipe
        stage = self._decoder_stage(drawn_codes(self.network, recipe.decoder_samples))

        def loss(step: int) -> Tensor:
            value = stage.loss(step, recipe.decoder_batch)
            self.figures |= stage.figures
            return value

        rate, after = recipe.decoder_rate, stage.update_average
        self._stage("decoder", stage.optimizer, recipe.decoder_steps, rate, loss, stage.parts(), after)
        stage.finish()

    def _decoder_stage(self, drawn: Tensor) -> DecoderStage:
        trained = len(self.images) - self.held_out
        return DecoderStage(
            self.network, self.images, self.class_ids[:trained], self.codes, drawn, self._distance,
            self._decoded, self.recipe.decoder_adversarial, self.recipe.decoder_averaging, self.recipe.seed,
        )  # fmt: skip

    def _fingerprint(self, stage: str) -> str:
        """What a stage's checkpoint depends on: images, and settings without those of later stages."""
        later = tuple(f"{setting}_" for setting in [*STAGES.values()][[*STAGES].index(stage) + 1 :])
        data = sha256(np.ascontiguousarray(self.images).data)
        data.update(self.class_ids.numpy().data)
        settings = {k: v for k, v in self.recipe.settings().items() if not k.startswith(later)}
        return json.dumps({**settings, **asdict(self.network.config), "images": data.hexdigest()})

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
        loss = self._distance(y, x)
        self.figures["commitment"] = commitment.item()
        if self.discriminator:
            begun = step >= recipe.adversarial_from * recipe.image_steps
            loss = self._with_adversary(loss, x, y) if begun else loss
            self.figures = {"discriminator": 0.0, "generator": 0.0} | self.figures
        return loss + commitment

    def _distance(self, y: Tensor, x: Tensor) -> Tensor:
        """How far decoded images [B, 3, S, S] are from the real ones, in pixels and features."""
        l1, squared = F.l1_loss(y, x), F.mse_loss(y, x)
        maps = zip(self.feature_network.maps(y), self.feature_network.maps(x), strict=True)
        perceptual = torch.stack([F.mse_loss(a, b) / b.square().mean() for a, b in maps]).mean()
        self.figures = {"l1": l1.item(), "squared": squared.item(), "perceptual": perceptual.item()}
        return l1 + 2.0 * squared + self.recipe.perceptual * perceptual

    def _decoded(self, codes: Tensor) -> Tensor:
        with self._precision():
            images = self.network.decode(self.network.look_up(codes))
        return images.float()

    def _with_adversary(self, loss: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """The loss and the adversary's, balanced where they meet, after a step of the discriminator.

        The paper balances their gradients at the decoder's last layer (eq. 7); at the image it is free.
        """
        discriminator, optimizer = self.discriminator, self.discriminator_optimizer
        assert discriminator and optimizer

        def score(images: Tensor) -> Tensor:
            with self._precision():
                scores: Tensor = discriminator(images).float()
            return scores

        loss_d = hinge_step(discriminator, optimizer, score, real, fake)
        loss_g = -score(fake).mean()
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
