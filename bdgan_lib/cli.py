"""`bdgan`: one subcommand per stage, each a call into the library."""

import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import HeadTraining, launched, train_head
from bdgan_lib.images import encode_png, grid, overlay, to_uint8, write_atomic
from bdgan_lib.profiles import load_profile, record_assets
from bdgan_lib.synthesis.run import SynthesisSpec, synthesize
from bdgan_lib.types import BdganError, Sampling

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
ProfileName = Annotated[str, typer.Option("--profile", help="Which world: pocket.")]
Truncation = Annotated[float, typer.Option(help="Clip latents at 2, then scale; the paper samples with 0.9.")]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Head = Annotated[Path | None, typer.Option(help="A folder of `bdgan train-head`.")]


@app.command()
def info(profile: ProfileName = "pocket") -> None:
    """Check a profile's files and say what it holds."""
    world = load_profile(profile)
    files, generator = world.verify(), world.generator()
    print(f"profile {world.name}: {files} files verified in {world.folder}")
    print(f"classes: {', '.join(world.classes)}")
    print(
        f"generator {generator.sha256[:12]}: "
        + ", ".join(f"{b} {c}x{s}x{s}" for b, (c, s) in generator.blocks.items())
    )


@app.command()
def sample(
    out: Out,
    classes: Annotated[str, typer.Option(help="Class names, by comma; all if empty.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1_000, help="Images per class.")] = 8,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    truncation: Truncation = 1.0,
    head: Head = None,
    profile: ProfileName = "pocket",
) -> None:
    """Draw samples into one PNG, a row per class; with --head their labels are laid over."""
    world = load_profile(profile)
    names = [name.strip() for name in classes.split(",") if name.strip()] or world.classes
    ids = torch.tensor([world.class_id(name) for name in names]).repeat_interleave(count)
    seeds = torch.arange(first_seed, first_seed + count).repeat(len(names))
    labeller = load_head(head) if head else None
    generator, sampling, images = world.generator(), Sampling(truncation), []
    for part in torch.arange(len(ids)).split(50):  # memory is that of 50 images and their features
        found = generator.sample(ids[part], seeds[part], sampling, features=labeller is not None)
        drawn = list(to_uint8(found.images))
        if labeller:
            drawn = [overlay(image, mask) for image, mask in zip(drawn, labeller.predict(found), strict=True)]
        images += drawn
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, encode_png(grid(images, count)))
    print(out)


@app.command("train-head")
def train_head_command(
    out: Out,
    steps: Annotated[int, typer.Option(min=1, help="Batches; the paper takes 5,000.")] = HeadTraining.steps,
    parts: Annotated[bool, typer.Option(help="Learn the parts, not only foreground.")] = False,
    variant: Annotated[str, typer.Option(help="fast, paper; as baselines linear, mlp.")] = "fast",
    members: Annotated[int, typer.Option(min=1, help="Of an ensemble; the paper takes 16.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="Devices to train on, side by side.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    profile: ProfileName = "pocket",
) -> None:
    """Train a label head on the profile's annotations. The same command goes on where it was cut off."""
    world = load_profile(profile)
    architecture = Architecture(variant, members=members)
    fabric = launched(accelerator, devices, precision)
    config = HeadTraining(steps=steps, parts=parts, seed=seed)
    generator = world.generator(str(fabric.device))
    head, losses = train_head(generator, world.annotations(), config, architecture, fabric, out)
    if fabric.is_global_zero:
        save_head(head, out)
        print(f"{out}: loss {losses[-1]:.4f} nats after {steps} steps")


@app.command("synthesize")
def synthesize_command(
    out: Out,
    images: Annotated[int, typer.Option(min=1, help="Images per class.")] = 100,
    head: Head = None,
    truncation: Truncation = 1.0,
    first_seed: Annotated[int, typer.Option(min=0)] = SynthesisSpec.first_seed,
    profile: ProfileName = "pocket",
) -> None:
    """Write a labelled data set: shards of PNG images and masks with a manifest."""
    world = load_profile(profile)
    generator, sampling = world.generator(), Sampling(truncation)
    labeller = load_head(head) if head else train_head(generator, world.annotations())[0]
    classes = tuple(range(len(world.classes)))
    spec = SynthesisSpec(generator.sha256, labeller.sha256, classes, images, sampling, first_seed=first_seed)
    synthesize(spec, generator, labeller, out)
    print(out)


@app.command()
def annotate(
    out: Out,
    keep: Annotated[int, typer.Option(min=1, max=10, help="Labelled samples per class.")] = 5,
    profile: ProfileName = "pocket",
) -> None:
    """Have the oracle annotator label samples of every class (it stands in for a human)."""
    from bdgan_lib.data.annotations import AnnotationStore

    world, store = load_profile(profile), AnnotationStore(out)
    for annotation in world.annotate(world.generator(), keep):
        store.add(annotation)
    print(f"{out}: {len(store)} annotations")


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which; `list` names them.")],
    out: Annotated[Path, typer.Option(help="Where results and finished cells lie.")] = Path(
        "runs/experiments"
    ),
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    profile: ProfileName = "pocket",
) -> None:
    """Run an experiment: many small trainings, one JSON. The same command goes on where it was cut off."""
    from bdgan_lib.experiments import label_head

    experiments = {"label-head": label_head.run}
    if name == "list":
        print("\n".join(experiments))
        return
    if name not in experiments:
        raise BdganError(f"no experiment {name!r}; there is {', '.join(experiments)}")
    experiments[name](load_profile(profile), out, seeds)
    print(out / f"{name}.json")


@app.command("record-assets", hidden=True)
def record_assets_command(profile: ProfileName = "pocket") -> None:
    """Write the manifest after a recipe has made assets anew."""
    record_assets(load_profile(profile))


def main() -> None:
    """Run the command line; a user's mistake, a damaged file or a full disk is one line and exit code 2."""
    os.environ.setdefault("COLUMNS", "100")
    try:
        app(standalone_mode=True)
    except (BdganError, OSError) as error:
        print("bdgan:", *str(error).split(), file=sys.stderr)  # some errors wrap others of many lines
        sys.exit(2)


if __name__ == "__main__":
    main()
