"""Synthetic data sets: made, written for other tools, checked, described."""

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bdgan_lib.cli.options import (
    MOST,
    Device,
    Head,
    Out,
    ProfileName,
    Temperature,
    TopK,
    TopP,
    Truncation,
    app,
    names_of,
    sampling_of,
)
from bdgan_lib.core.io import as_path, list_pictures
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError, printable
from bdgan_lib.datasets.formats.names import RECIPES, SET_FORMATS
from bdgan_lib.profiles import load_profile
from bdgan_lib.synthesis.spec import MOST_WRITERS, SynthesisSpec


@app.command("synthesize")
def synthesize_command(
    out: Annotated[str, typer.Option(help="A folder, or an address such as s3://bucket/folder.")],
    images: Annotated[int, typer.Option(min=1, help="Images drawn per class; filters drop some.")] = 100,
    classes: Annotated[str, typer.Option(help="Class names, by comma; all if empty.")] = "",
    head: Head = None,
    keep_confident: Annotated[float, typer.Option(help="Share kept by classifier confidence; 1: all.")] = 0.9,
    keep_agreed: Annotated[
        float, typer.Option(help="Share kept by agreement, of a head with several members; 1: all.")
    ] = 0.9,
    calibration_samples: Annotated[
        int,
        typer.Option(
            "--calibration",
            min=50,
            max=GENERATOR["filter thresholds"].count,
            help="Samples that set the filters' thresholds; from 40 per class on, each class has its own.",
        ),
    ] = 1_000,
    truncation: Truncation = None,
    top_k: TopK = None,
    top_p: TopP = None,
    temperature: Temperature = None,
    first_seed: Annotated[int, typer.Option(min=0)] = SynthesisSpec.first_seed,
    batch_size: Annotated[int, typer.Option(min=1)] = SynthesisSpec.batch_size,
    shard_size: Annotated[
        int, typer.Option(min=1, max=MOST, help="Images drawn per shard.")
    ] = SynthesisSpec.shard_size,
    workers: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="Processes, or shards on Ray; 0: one per core or GPU."),
    ] = 0,
    writers: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_WRITERS, help="Threads per process that encode and write; 0: one per core in all."
        ),
    ] = 0,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    gpus: Annotated[float, typer.Option(min=0, help="ray: share of a GPU each task takes.")] = 0.0,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16; refused where that is slow.")] = False,
    jpeg: Annotated[int, typer.Option(min=0, max=100, help="Images as JPEG of this quality; 0: PNG.")] = 0,
    device: Device = "cpu",
    profile: ProfileName = "pocket",
) -> None:
    """Write a labelled data set: shards of images and PNG masks, and a manifest. The same command goes on."""
    import torch

    from bdgan_lib.core.precision import require_fast_bf16
    from bdgan_lib.heads.files import load_head
    from bdgan_lib.heads.training import train_head
    from bdgan_lib.profiles.annotated import training_annotations
    from bdgan_lib.synthesis.filters import Calibration, Models, check_shares
    from bdgan_lib.synthesis.folder import OF_MODELS, check_set, require_shared
    from bdgan_lib.synthesis.job import synthesize

    if engine not in ("local", "ray"):
        raise BdganError(f"no engine {engine!r}; there is local, ray")
    if not 0 <= gpus < math.inf:
        raise BdganError(f"gpus is {gpus}; give a finite number from 0")
    if bf16 and engine == "local":
        require_fast_bf16(device)
    check_shares(keep_confident, keep_agreed)
    folder, alone = as_path(out), 1 if device != "cpu" else os.cpu_count() or 1
    if engine == "ray" or (workers or alone) > 1:
        require_shared(folder)
    world = load_profile(profile)
    ids = tuple(world.class_id(name) for name in names_of(classes) or world.classes)
    sampling = sampling_of(world, truncation, top_k, top_p, temperature)
    settings: dict[str, Any] = {
        "batch_size": batch_size, "shard_size": shard_size, "first_seed": first_seed,
        "licence": world.licence, "bf16": bf16, "jpeg": jpeg,
    }  # fmt: skip
    check_set(SynthesisSpec("", "", ids, images, sampling, **settings), folder, OF_MODELS)
    generator = world.generator(device)
    generator.sample(torch.tensor(ids[:1]), torch.tensor([first_seed]), sampling, features=False)  # it can
    labeller = load_head(head) if head else train_head(*training_annotations(world, device))[0]
    agreed = keep_agreed if labeller.config.architecture.members > 1 else 1.0  # one alone never disagrees
    models = Models(generator, labeller.to(device), world.scorer.to(device) if keep_confident < 1 else None)
    calibration = Calibration(keep_confident, agreed, calibration_samples)
    spec = SynthesisSpec.for_models(models, ids, images, sampling, **settings)
    try:
        if engine == "ray":
            from bdgan_lib.synthesis.ray_backend import synthesize_on_ray

            synthesize_on_ray(spec, models, folder, workers, gpus, writers=writers, calibration=calibration)
        else:
            synthesize(spec, models, folder, workers or alone, writers=writers, calibration=calibration)
    except OSError as error:
        raise BdganError(
            f"{out} cannot be written ({error}); finished shards are kept: mend it, and run the same command"
        ) from error
    print(out)


DataSet = Annotated[str, typer.Argument(help="What `bdgan synthesize` was given as --out.")]


@app.command("export")
def export_command(
    folder: DataSet,
    out: Out,
    to: Annotated[
        str | None, typer.Option(help=f"Whose files to write: {', '.join(SET_FORMATS)}.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"Write what a tool needs to train as well: {', '.join(RECIPES)}.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a finished data set for another tool; what its format cannot hold is named.

    A recipe chooses the format itself, and writes a configuration or a training script beside the data.
    """
    from bdgan_lib.datasets.formats.export import export_set
    from bdgan_lib.datasets.shards import ShardedSet

    if to is None and recipe is None:
        raise BdganError(
            f"expected --to {'|'.join(SET_FORMATS)} or --recipe {'|'.join(RECIPES)}, got neither; give one"
        )
    report = export_set(ShardedSet(folder), out, to, recipe=recipe)
    overlap = f", mean IoU with the masks {report.mean_iou:.4f}" if report.mean_iou < 1 else ""
    print(
        f"{out}: {report.images} images for {recipe or to}{overlap}",
        *map(printable, report.losses),
        sep="\n  ",
    )


@app.command("validate")
def validate_command(folder: DataSet) -> None:
    """Check every file of a data set; exit code 2 if one is damaged, strange or missing.

    An edited data card is reported, but it is no damage unless it contradicts the data set.
    """
    from bdgan_lib.datasets.validate import validate

    notes = list[str]()
    if findings := validate(as_path(folder), notes=notes):
        print(*findings, sep="\n")
        raise typer.Exit(2)
    print(f"{folder}: whole", *notes, sep="\n")


@app.command("describe")
def describe_command(folder: DataSet) -> None:
    """Write a data set's data card and its Croissant metadata, in place of those that are there."""
    from bdgan_lib.datasets.card import CARD, CROISSANT, write_card

    write_card(as_path(folder))
    print(f"{folder}: {CARD}, {CROISSANT}")


SHAPES = {"SD": "mean Chamfer distance between two shapes of a class"}


@app.command("statistics")
def statistics_command(
    folder: DataSet,
    real: Annotated[
        Path | None, typer.Option(help="A folder of real pictures: FID and KID to them as well.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=2, max=MOST, help="Images of the set to use, from the first on.")
    ] = 10_000,
    profile: ProfileName = "pocket",
) -> None:
    """Table 1 of the paper for a data set: its masks, and how close its images come to real ones."""
    from bdgan_lib.datasets.shards import ShardedSet
    from bdgan_lib.experiments.analysis import of_folder
    from bdgan_lib.metrics.mask_geometry import COLUMNS

    pictures = list_pictures(real) if real else []
    if real and not pictures:
        raise BdganError(f"{real} holds no pictures; give a folder of JPEG or PNG files")
    row = of_folder(ShardedSet(as_path(folder)), load_profile(profile), images, pictures)
    for name, value in row.items():
        if not isinstance(value, list):
            print(f"{name:<8}{value:>10.4g}  {(COLUMNS | SHAPES).get(name, '')}")
