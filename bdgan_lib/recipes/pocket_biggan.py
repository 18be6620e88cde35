"""Recipe: the pocket BigGAN.

    python -m bdgan_lib.recipes.pocket_biggan [--run runs/pocket_biggan] [--out assets/pocket/biggan]

1. Pairs: a latent drives the renderer, so (z, class) -> image pairs exist without end; PAIRS are rendered.
2. The generator is trained on them, see `bdgan_lib.recipes.biggan`.
3. The averaged generator's table of batch-norm statistics is filled in, per truncation; it is written out.

Checkpoints are resumed: the same command goes on where it was. CPU or GPU.
"""

from pathlib import Path

import torch

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.recipes.biggan import BigGANTrainer, Recipe, small_config
from bdgan_lib.recipes.common import cached_scenes, feature_network, options_of
from bdgan_lib.worlds.pocket import CLASSES, LATENT_DIM

PAIRS = POCKET["BigGAN training"].count  # from seed 0; the last 192 are held out
HELD_OUT = 192
CONFIG = small_config(64, len(CLASSES), LATENT_DIM)


def trainer_of(recipe: Recipe, run: Path, device: str) -> BigGANTrainer:
    """A trainer on rendered pairs, which are kept in the run's folder as the feature network is."""
    pairs = cached_scenes(run / "pairs.npz", PAIRS, 0)
    features = feature_network(run / "perceptual.pt", pairs.images[:24_000], pairs.class_ids[:24_000])
    latents = torch.from_numpy(pairs.latents)
    return BigGANTrainer(
        pairs.images, pairs.class_ids, latents, HELD_OUT, features, CONFIG, recipe, run, device
    )


def main() -> None:
    """Train and export."""
    steps = {"warm_steps": Recipe.warm_steps, "adversarial_steps": Recipe.adversarial_steps}
    options = options_of(__doc__, "biggan", **steps)
    recipe = Recipe(warm_steps=options.warm_steps, adversarial_steps=options.adversarial_steps)
    trainer = trainer_of(recipe, options.run, "cuda" if torch.cuda.is_available() else "cpu")
    trainer.train()
    trainer.export(options.out, pairs=PAIRS)
    write_atomic(options.out / "samples.png", encode_png(trainer.sample_grid()))


if __name__ == "__main__":
    main()
