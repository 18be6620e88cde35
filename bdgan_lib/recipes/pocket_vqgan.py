"""Recipe: the pocket VQGAN with its transformer, trained on rendered scenes.

    python -m bdgan_lib.recipes.pocket_vqgan [--run runs/pocket_vqgan] [--out assets/pocket/vqgan]

First encoder, codebook and decoder, then the transformer on the codes; about three quarters of an hour on two
CPU cores. Interrupted, the same command goes on from the last checkpoint.
"""

import torch

from bdgan_lib.core.seeds import POCKET
from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.recipes.common import cached_scenes, feature_network, options_of
from bdgan_lib.recipes.vqgan import Recipe, VQGANTrainer

SCENES, FIRST_SEED = POCKET["VQGAN training"].count, POCKET["VQGAN training"].first
HELD_OUT = 240  # the last scenes


def main() -> None:
    """Train and export."""
    options = options_of(__doc__, "vqgan")
    scenes = cached_scenes(options.run / "scenes.npz", SCENES, FIRST_SEED)
    features = feature_network(options.run / "features.pt", scenes.images, scenes.class_ids)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = scenes.images, scenes.class_ids, HELD_OUT
    trainer = VQGANTrainer(*data, features, VQGANConfig(), Recipe(), options.run, device)
    trainer.train()
    trainer.export(options.out, scenes=SCENES, first_seed=FIRST_SEED)


if __name__ == "__main__":
    main()
