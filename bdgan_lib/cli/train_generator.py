"""A generator of one's own pictures."""

from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.cli.options import MOST, Device, LoggerName, Seed, app


@app.command("train-generator")
def train_generator(
    pictures: Annotated[Path, typer.Argument(help="A folder with one folder per class, or a zip.")],
    out: Annotated[Path, typer.Option(help="The model folder to write; --profile takes it.")],
    side: Annotated[int, typer.Option(min=64, max=128, help="Of the images, in pixels: 64 or 128.")] = 64,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Pictures of the same classes to measure on; else a tenth of the others, by name."),
    ] = None,
    kind: Annotated[str, typer.Option(help="vqgan, or biggan for a BigGAN-deep.")] = "vqgan",
    image_steps: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="VQGAN: batches for encoder, codes and decoder.")
    ] = None,
    code_steps: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="VQGAN: batches for the transformer.")
    ] = None,
    warm_steps: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="BigGAN: batches of regression at the start.")
    ] = None,
    adversarial_steps: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="BigGAN: batches against the discriminator.")
    ] = None,
    seed: Seed = 0,
    logger: LoggerName = "none",
    device: Device = "cpu",
) -> None:
    """Train a generator on your pictures. The same command goes on where it was cut off.

    Says what is left out and why, how long it will take, and how good the samples are beside pictures that
    did not train. Checkpoints and samples on the way lie in the folder OUT-run; remove it at the end.
    """
    from contextlib import nullcontext
    from dataclasses import replace

    from bdgan_lib.core.types import BdganError
    from bdgan_lib.recipes.own_generator import OwnRecipe, run_folder, train_generator
    from bdgan_lib.training.file_logs import open_log

    recipe = OwnRecipe(kind, side, seed=seed)
    steps = {
        "vqgan": {"image_steps": image_steps, "code_steps": code_steps},
        "biggan": {"warm_steps": warm_steps, "adversarial_steps": adversarial_steps},
    }
    for of, options in steps.items():
        given = {name: value for name, value in options.items() if value is not None}
        if given and of != kind:
            option = next(iter(given)).replace("_", "-")
            raise BdganError(f"--{option} is of --kind {of}; leave it out, or give that kind")
        recipe = replace(recipe, **{of: replace(getattr(recipe, of), **given)})
    log = open_log(logger, run_folder(out) / "logs")
    with log or nullcontext():
        report = train_generator(pictures, out, recipe, held_out, device, logger=log)
    for name, value in report.items():
        print(f"{name} = {value}")
    print(f"{out}: a profile; try `bdgan sample --profile {out} --out sheet.png`")
