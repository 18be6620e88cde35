"""Recipe: the pocket VQGAN with its transformer, trained on rendered scenes.

    python -m bdgan_lib.recipes.pocket_vqgan [--run runs/pocket_vqgan] [--out assets/pocket/vqgan]

First encoder, codebook and decoder, then the transformer on the codes; about three quarters of an hour on two
CPU cores. Interrupted, the same command goes on from the last checkpoint.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork
from bdgan_lib.recipes.common import StepLog, cached_scenes, feature_network, options_of, write_half
from bdgan_lib.training.checkpoint import Checkpoint, Stateful
from bdgan_lib.training.loop import train
from bdgan_lib.training.supervised import seeded
from bdgan_lib.visualization.grids import grid

SCENES, FIRST_SEED = POCKET["VQGAN training"].count, POCKET["VQGAN training"].first
HELD_OUT = 240  # the last scenes
SAVE_EVERY = 500  # steps


@dataclass(frozen=True)
class Recipe:
    """Settings of both stages."""

    image_steps: int = 4_000
    image_batch: int = 32
    image_rate: float = 1e-3
    plain_steps: int = 300  # without a codebook, which is then drawn from what the encoder gives
    perceptual: float = 0.3  # weight of the feature loss beside L1 and squared error
    commitment: float = 0.25
    revive_every: int = 50  # steps; codes that none of them used are drawn anew ...
    revive_until: float = 0.8  # ... in this share of the steps
    code_steps: int = 4_000
    code_batch: int = 64
    code_rate: float = 1e-3
    code_noise: float = 0.1  # share of the codes the transformer sees replaced by others
    bf16: bool = True  # the networks; codebook and losses stay float32
    seed: int = 0


class Trainer:
    """Both stages over one network, with checkpoints that a resumed run takes up to the step."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self.recipe, self.run = recipe, run
        scenes = cached_scenes(run / "scenes.npz", SCENES, FIRST_SEED)
        self.images, self.class_ids = scenes.images, torch.from_numpy(scenes.class_ids).long()
        self.network = seeded(lambda: VQGANNetwork(VQGANConfig()), recipe.seed)
        self.feature_network = feature_network(run / "features.pt", scenes.images, scenes.class_ids)
        self.used = torch.zeros(self.network.config.codes, dtype=torch.int64)
        self.codes = torch.empty(0)
        self.figures: dict[str, float] = {}

    def state_dict(self) -> dict[str, object]:
        """The network and how often each code was used, for the checkpoint."""
        return {"network": self.network.state_dict(), "used": self.used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.used = state["used"]

    def train(self) -> None:
        """Take all steps of both stages that are not taken yet."""
        image_parts = [p for n, p in self.network.named_parameters() if not n.startswith("transformer.")]
        recipe = self.recipe
        self._stage("images", image_parts, recipe.image_steps, recipe.image_rate, self._image_loss)
        self.codes = self._all_codes()
        code_parts = list(self.network.transformer.parameters())
        self._stage("codes", code_parts, recipe.code_steps, recipe.code_rate, self._code_loss)

    def _stage(
        self,
        name: str,
        parameters: list[torch.nn.Parameter],
        steps: int,
        rate: float,
        loss_of: Callable[[int], Tensor],
    ) -> None:
        optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=1e-4)
        parts: dict[str, Stateful] = {"trainer": self, "optimizer": optimizer}
        checkpoint = Checkpoint(self.run / f"{name}.pt", json.dumps(asdict(self.recipe)), parts)
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
                write_atomic(self.run / f"{name}_{step:06d}.png", encode_png(self.sheet()))

        train(
            seeded_loss, optimizer, steps, max_norm=1.0,
            after_step=after_step, checkpoint=checkpoint, save_every=SAVE_EVERY, keep_checkpoint=True,
        )  # fmt: skip
        self.network.eval()

    def _precision(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16)

    def _chosen(self, step: int, size: int) -> Tensor:
        noise = np.random.default_rng([self.recipe.seed, step, size])
        return torch.from_numpy(noise.integers(len(self.images) - HELD_OUT, size=size))

    def _image_loss(self, step: int) -> Tensor:
        recipe, network = self.recipe, self.network
        x = from_uint8(self.images[self._chosen(step, recipe.image_batch).numpy()])
        with self._precision():
            vectors = network.embed(x)
        vectors = vectors.float()
        quantised, commitment = vectors, vectors.new_zeros(())
        if step == recipe.plain_steps:
            self._draw_codes(vectors, torch.arange(network.config.codes))
        if step >= recipe.plain_steps:
            codes = network.nearest(vectors.detach())
            self.used += torch.bincount(codes.flatten(), minlength=network.config.codes)
            entries = network.look_up(codes)
            to_entries = F.mse_loss(vectors, entries.detach())
            commitment = F.mse_loss(entries, vectors.detach()) + recipe.commitment * to_entries
            quantised = vectors + (entries - vectors).detach()  # straight through
            if step % recipe.revive_every == 0:
                unused = torch.nonzero(self.used == 0).flatten()
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
        return l1 + 2.0 * squared + recipe.perceptual * perceptual + commitment

    @torch.no_grad()
    def _draw_codes(self, vectors: Tensor, which: Tensor) -> None:
        """Give these entries of the codebook vectors that the encoder made in this batch."""
        flat = vectors.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randint(len(flat), (len(which),))
        noise = 0.01 * flat.std() * torch.randn(len(which), flat.shape[1])
        self.network.quantize.embedding.weight[which] = flat[chosen] + noise

    def _code_loss(self, step: int) -> Tensor:
        chosen = self._chosen(step, self.recipe.code_batch)
        codes = self.codes[chosen]
        replaced = torch.rand(codes.shape) < self.recipe.code_noise
        noisy = torch.where(replaced, torch.randint_like(codes, self.network.config.codes), codes)
        with self._precision():
            logits = self.network.code_logits(noisy, self.class_ids[chosen])
        loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
        self.figures = {"nats": loss.item()}
        return loss

    @torch.inference_mode()
    def _all_codes(self) -> Tensor:
        parts = [self.images[i : i + 200] for i in range(0, len(self.images), 200)]
        return torch.cat([self.network.nearest(self.network.embed(from_uint8(p))).flatten(1) for p in parts])

    @torch.inference_mode()
    def sheet(self) -> np.ndarray:
        """Held-out scenes and what codes keep of them."""
        self.network.eval()
        images = self.images[-48:]
        codes = self.network.nearest(self.network.embed(from_uint8(images)))
        remade = self.network.decode(self.network.look_up(codes))
        self.network.train()
        return grid([*images[:24], *to_uint8(remade.clamp(-1, 1))[:24]], columns=12)

    def export(self, out: Path) -> None:
        """Write the weights in float16, the configuration, the settings and the log."""
        state = {k: v for k, v in self.network.state_dict().items() if not k.endswith("attn.mask")}
        out.mkdir(parents=True, exist_ok=True)
        write_half(out / "model.safetensors", state)
        write_json(out / "config.json", asdict(self.network.config))
        settings = {**asdict(self.recipe), "scenes": SCENES, "first_seed": FIRST_SEED}
        write_json(out / "training.json", settings)
        (out / "training_log.csv").write_text((self.run / "log.csv").read_text("utf-8"), "utf-8")


def main() -> None:
    """Train and export."""
    options = options_of(__doc__, "vqgan")
    trainer = Trainer(Recipe(), options.run)
    trainer.train()
    trainer.export(options.out)


if __name__ == "__main__":
    main()
