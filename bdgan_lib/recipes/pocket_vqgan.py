"""Recipe: the pocket VQGAN with its transformer, trained on rendered scenes.

    python -m bdgan_lib.recipes.pocket_vqgan [--run runs/pocket_vqgan] [--out assets/pocket/vqgan]

First encoder, codebook and decoder, then the transformer on the codes; about three quarters of an hour on two
CPU cores. Interrupted, the same command goes on from the last checkpoint.
"""

import argparse
import csv
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import write_atomic
from bdgan_lib.generators.vqgan_network import VQGANConfig, VQGANNetwork
from bdgan_lib.training.supervised import FitConfig, fit, seeded
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.pocket import SceneSet, render_set

SCENES, FIRST_SEED = 48_000, 6_000_000
HELD_OUT = 240  # the last scenes


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
        scenes = _scenes(run)
        self.images, self.class_ids = scenes["images"], torch.from_numpy(scenes["class_ids"]).long()
        self.network = seeded(lambda: VQGANNetwork(VQGANConfig()), recipe.seed)
        self.feature_network = _feature_network(run, scenes)
        self.used = torch.zeros(self.network.config.codes, dtype=torch.int64)
        self.codes = torch.empty(0)

    def train(self) -> None:
        image_parts = [p for n, p in self.network.named_parameters() if not n.startswith("transformer.")]
        recipe = self.recipe
        self._stage("images", image_parts, recipe.image_steps, recipe.image_rate, self._image_loss)
        self.codes = self._all_codes()
        self._stage(
            "codes", list(self.network.transformer.parameters()), recipe.code_steps, recipe.code_rate,
            self._code_loss,
        )  # fmt: skip

    def _stage(
        self,
        name: str,
        parameters: list[torch.nn.Parameter],
        steps: int,
        rate: float,
        loss_of: Callable[[int], tuple[Tensor, dict[str, float]]],
    ) -> None:
        optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=1e-4)
        path = self.run / f"{name}.pt"
        step = 0
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            self.used, step = state["used"], state["step"]
        self.network.train()
        figures: dict[str, float] = {}
        start = time.time()
        while step < steps:
            torch.manual_seed(step)  # so that a resumed run draws as one that was not cut off
            for group in optimizer.param_groups:
                fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
                group["lr"] = rate * fall * min(1.0, (step + 1) / 100)
            loss, came = loss_of(step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
            figures = {k: figures.get(k, 0.0) + v / 100 for k, v in came.items()}
            if step % 100 == 0:
                self._log(name, step, (time.time() - start) / 100, figures)
                figures, start = {}, time.time()
            if step % 500 == 0 or step == steps:
                state = {"network": self.network.state_dict(), "optimizer": optimizer.state_dict(),
                         "used": self.used, "step": step}  # fmt: skip
                torch.save(state, path.with_suffix(".tmp"))
                path.with_suffix(".tmp").replace(path)
                write_atomic(self.run / f"{name}_{step:06d}.png", encode_png(self.sheet()))
        self.network.eval()

    def _precision(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16)

    def _chosen(self, step: int, size: int) -> Tensor:
        noise = np.random.default_rng([self.recipe.seed, step, size])
        return torch.from_numpy(noise.integers(len(self.images) - HELD_OUT, size=size))

    def _image_loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
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
            found = network.look_up(codes)
            commitment = F.mse_loss(found, vectors.detach()) + recipe.commitment * F.mse_loss(
                vectors, found.detach()
            )
            quantised = vectors + (found - vectors).detach()  # straight through
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
        loss = l1 + 2.0 * squared + recipe.perceptual * perceptual + commitment
        return loss, {
            "l1": l1.item(), "squared": squared.item(), "perceptual": perceptual.item(),
            "commitment": commitment.item(),
        }  # fmt: skip

    @torch.no_grad()
    def _draw_codes(self, vectors: Tensor, which: Tensor) -> None:
        """Give these entries of the codebook vectors that the encoder made in this batch."""
        flat = vectors.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randint(len(flat), (len(which),))
        noise = 0.01 * flat.std() * torch.randn(len(which), flat.shape[1])
        self.network.quantize.embedding.weight[which] = flat[chosen] + noise

    def _code_loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        chosen = self._chosen(step, self.recipe.code_batch)
        codes = self.codes[chosen]
        noisy = torch.where(
            torch.rand(codes.shape) < self.recipe.code_noise,
            torch.randint_like(codes, self.network.config.codes),
            codes,
        )
        with self._precision():
            logits = self.network.code_logits(noisy, self.class_ids[chosen])
        loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
        return loss, {"nats": loss.item()}

    @torch.inference_mode()
    def _all_codes(self) -> Tensor:
        parts = [self.images[i : i + 200] for i in range(0, len(self.images), 200)]
        return torch.cat([self.network.nearest(self.network.embed(from_uint8(p))).flatten(1) for p in parts])

    @torch.inference_mode()
    def sheet(self) -> np.ndarray:
        """Held-out scenes and what codes keep of them."""
        self.network.eval()
        images = self.images[-48:]
        remade = self.network.decode(
            self.network.look_up(self.network.nearest(self.network.embed(from_uint8(images))))
        )
        self.network.train()
        return grid([*images[:24], *to_uint8(remade.clamp(-1, 1))[:24]], columns=12)

    def _log(self, stage: str, step: int, seconds: float, figures: dict[str, float]) -> None:
        text = {k: f"{v:.4f}" for k, v in figures.items()}
        with (self.run / "log.csv").open("a", newline="") as file:
            csv.writer(file).writerow([stage, step, f"{seconds:.3f}", *text.values()])
        print(stage, step, f"{seconds:.3f} s/step", text, flush=True)

    def export(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        state = self.network.state_dict()
        halves = {k: v.half().contiguous() for k, v in state.items() if not k.endswith("attn.mask")}
        write_atomic(out / "model.safetensors", save(halves))
        (out / "config.json").write_text(json.dumps(asdict(self.network.config), indent=1) + "\n")
        about = {**asdict(self.recipe), "scenes": SCENES, "first_seed": FIRST_SEED}
        (out / "training.json").write_text(json.dumps(about, indent=1) + "\n")
        (out / "training_log.csv").write_text((self.run / "log.csv").read_text())


def _scenes(run: Path) -> dict[str, np.ndarray]:
    path = run / "scenes.npz"
    if not path.exists():
        scenes: SceneSet = render_set(SCENES, FIRST_SEED, workers=os.cpu_count() or 1, progress=True)
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, images=scenes.images, class_ids=scenes.class_ids)
        temporary.replace(path)
    return dict(np.load(path))


def _feature_network(run: Path, scenes: dict[str, np.ndarray]) -> Classifier:
    """A classifier for the feature loss alone; samples are judged by another one (train_judges)."""
    path, classifier = run / "features.pt", seeded(Classifier, 1)
    if path.exists():
        classifier.load_state_dict(torch.load(path, weights_only=True))
    else:
        config = FitConfig(steps=700, batch_size=48, seed=1)
        fit(classifier, scenes["images"], scenes["class_ids"], config, progress="feature loss")
        torch.save(classifier.state_dict(), path)
    return classifier.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--run", type=Path, default=Path("runs/pocket_vqgan"))
    arguments.add_argument("--out", type=Path, default=Path("assets/pocket/vqgan"))
    options = arguments.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(Recipe(), options.run)
    trainer.train()
    trainer.export(options.out)


if __name__ == "__main__":
    main()
