"""A generator of one's own pictures."""

from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.cli.options import MOST, Device, Seed, app


@app.command("train-generator")
def train_generator(
    pictures: Annotated[Path, typer.Argument(help="A folder with one folder per class, or a zip.")],
    out: Annotated[Path, typer.Option(help="The model folder to write; --profile takes it.")],
    side: Annotated[int, typer.Option(min=64, max=128, help="Of the images, in pixels: 64 or 128.")] = 64,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Pictures of the same classes to measure on; else a tenth of the others, by name."),
    ] = None,
    image_steps: Annotated[
        int, typer.Option(min=1, max=MOST, help="Batches for encoder, codes and decoder.")
    ] = 3_000,
    code_steps: Annotated[int, typer.Option(min=1, max=MOST, help="Batches for the transformer.")] = 4_000,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a VQGAN on your pictures. The same command goes on where it was cut off.

    Says what is left out and why, how long it will take, and how good the samples are beside pictures that
    did not train. Checkpoints and samples on the way lie in the folder OUT-run; remove it at the end.
    """
    from dataclasses import replace

    from bdgan_lib.recipes.own_generator import OwnRecipe, train_vqgan

    recipe = OwnRecipe(side, seed=seed)
    steps = replace(recipe.vqgan, image_steps=image_steps, code_steps=code_steps, seed=seed)
    report = train_vqgan(pictures, out, replace(recipe, vqgan=steps), held_out, device)
    for name, value in report.items():
        print(f"{name} = {value}")
    print(f"{out}: a profile; try `bdgan sample --profile {out} --out sheet.png`")
