"""Generators and label heads: what a profile holds, samples, training, pictures labelled, experiments."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from bdgan_lib.cli.options import (
    MOST,
    Device,
    Head,
    LoggerName,
    Out,
    ProfileName,
    Seed,
    Temperature,
    TopK,
    TopP,
    Truncation,
    app,
    names_of,
    sampling_of,
)
from bdgan_lib.core.io import OVERVIEW, require_unused, same_place, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.settings import HeadTraining
from bdgan_lib.profiles import load_profile


@app.command()
def info(profile: ProfileName = "pocket") -> None:
    """Check a profile's files and say what it holds."""
    from bdgan_lib.visualization.grids import evenly_spaced

    world = load_profile(profile)
    files, generator = world.verify(), world.generator()
    print(f"profile {world.name}: {files} files verified in {world.folder}")
    print(f"{len(world.classes)} classes: {', '.join(evenly_spaced(world.classes))}")
    print(
        f"generator {generator.sha256[:12]}: "
        + ", ".join(f"{b} {c}x{s}x{s}" for b, (c, s) in generator.blocks.items())
    )


def _is_sheet(out: Path, **_: object) -> bool:
    from bdgan_lib.core.image_codecs import is_overview

    return is_overview(out.read_bytes())


@app.command(out_is_file=True, is_earlier=_is_sheet)
def sample(
    out: Out,
    classes: Annotated[str, typer.Option(help="Class names, by comma; a dozen if empty.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1_000, help="Images per class.")] = 8,
    first_seed: Seed = 0,
    truncation: Truncation = None,
    top_k: TopK = None,
    top_p: TopP = None,
    temperature: Temperature = None,
    head: Head = None,
    device: Device = "cpu",
    bf16: Annotated[
        bool, typer.Option(help="Compute in bfloat16: faster. A VQGAN then draws other codes.")
    ] = False,
    profile: ProfileName = "pocket",
) -> None:
    """Draw samples into one PNG, a row per class; with --head their labels are laid over."""
    import torch

    from bdgan_lib.core.image_codecs import encode_overview
    from bdgan_lib.core.image_tensors import to_uint8
    from bdgan_lib.core.precision import require_fast_bf16
    from bdgan_lib.heads.files import load_head
    from bdgan_lib.visualization.colors import overlay
    from bdgan_lib.visualization.grids import evenly_spaced, grid

    if bf16:
        require_fast_bf16(device)
    world = load_profile(profile)
    names = names_of(classes) or evenly_spaced(world.classes)
    ids = torch.tensor([world.class_id(name) for name in names]).repeat_interleave(count)
    seeds = torch.arange(first_seed, first_seed + count).repeat(len(names))
    labeller = load_head(head).to(device) if head else None
    generator, sampling, images = (
        world.generator(device, bf16),
        sampling_of(world, truncation, top_k, top_p, temperature),
        [],
    )
    for part in torch.arange(len(ids)).split(8):  # memory is that of 8 images and their features
        batch = generator.sample(ids[part], seeds[part], sampling, features=labeller is not None)
        drawn = list(to_uint8(batch.images))
        if labeller:
            drawn = [overlay(image, mask) for image, mask in zip(drawn, labeller.predict(batch), strict=True)]
        images += drawn
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, encode_overview(grid(images, count)))
    print(out)


@app.command("train-head")
def train_head_command(
    out: Out,
    steps: Annotated[
        int, typer.Option(min=1, max=MOST, help="Batches; the paper takes 5,000.")
    ] = HeadTraining.steps,
    parts: Annotated[bool, typer.Option(help="Learn the parts, not only foreground.")] = False,
    variant: Annotated[str, typer.Option(help="fast, paper; as baselines linear, mlp.")] = "fast",
    members: Annotated[int, typer.Option(min=1, max=1_000, help="Of an ensemble; the paper takes 16.")] = 1,
    seed: Seed = 0,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, max=1_000, help="Devices to train on, side by side.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    images: Annotated[
        Path | None, typer.Option(help="Pictures you have masks of, a folder for each class; with --masks.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Their masks, PNG of the same names: 0 background, 255 unlabelled.")
    ] = None,
    foreground: Annotated[
        int,
        typer.Option(
            min=-1, max=255, help="Masks' value of foreground, others background; -1: all but 0 and 255."
        ),
    ] = -1,
    with_samples: Annotated[
        bool, typer.Option(help="Learn from the profile's annotations beside the pictures.")
    ] = False,
    logger: LoggerName = "none",
    profile: ProfileName = "pocket",
) -> None:
    """Train a label head on the profile's annotations. The same command goes on where it was cut off.

    With --images and --masks it learns from pictures of yours. A VQGAN encodes them; of a BigGAN the samples
    nearest to them are searched, about ten seconds each.
    """
    from bdgan_lib.heads.base import Architecture
    from bdgan_lib.heads.files import RECORD, check_head_folder, save_head
    from bdgan_lib.heads.training import CHECKPOINT, launch_fabric, train_head
    from bdgan_lib.profiles.annotated import training_annotations
    from bdgan_lib.profiles.labelled_pictures import labelled_pictures, read_labelled_pictures
    from bdgan_lib.training.file_logs import open_log

    check_head_folder(out)
    log = open_log(logger, out / "logs")
    if (out / RECORD).exists() and not (out / CHECKPOINT).exists():
        raise BdganError(f"{out} holds a finished head; give another folder, or remove {out / RECORD}")
    world = load_profile(profile)
    architecture = Architecture(variant, members=members)
    fabric = launch_fabric(accelerator, devices, precision)
    config = HeadTraining(steps=steps, parts=parts, seed=seed)
    if images is None or masks is None:
        if images or masks or with_samples or foreground >= 0:
            raise BdganError("--images and --masks go together; --with-samples and --foreground go with both")
        learnt = training_annotations(world, str(fabric.device))
    else:
        pictures = read_labelled_pictures(images, masks, world, foreground if foreground >= 0 else None)
        learnt = labelled_pictures(pictures, world, str(fabric.device), with_samples)
    with log or nullcontext():
        head, losses = train_head(*learnt, config, architecture, fabric, out, logger=log)
    if fabric.is_global_zero:
        save_head(head, out)
        print(f"{out}: loss {losses[-1]:.4f} nats after {steps} steps")


@app.command("label")
def label_command(
    files: Annotated[list[Path], typer.Argument(help="Pictures; their centre squares are labelled.")],
    out: Out,
    head: Annotated[Path, typer.Option(help="A folder of `bdgan train-head` on the same profile.")],
    class_name: Annotated[str, typer.Option("--class", help="What the pictures show.")],
    profile: ProfileName = "pocket-vqgan",
) -> None:
    """Label real pictures: a mask of label ids for each, and one sheet with the labels laid over."""
    import numpy as np

    from bdgan_lib.core.image_codecs import encode_png, read_image
    from bdgan_lib.generators.base import ImageEncoder
    from bdgan_lib.heads.files import load_head
    from bdgan_lib.synthesis.label_real import center_square, label_images
    from bdgan_lib.visualization.colors import overlay
    from bdgan_lib.visualization.grids import grid

    taken = {OVERVIEW: "the overview"}  # names differ, on systems that ignore case as well
    for path in files:
        if (stem := path.stem.lower()) in taken:
            raise BdganError(
                f"expected pictures of different names, got {path} beside {taken[stem]}; rename one"
            )
        taken[stem] = str(path)
    for path in files:
        mask = out / f"{path.stem}.png"
        if same_place(mask, path):
            raise BdganError(
                f"the mask {mask} would replace the picture itself; give another folder as --out"
            )
        require_unused(mask)
    require_unused(out / f"{OVERVIEW}.png")
    world = load_profile(profile)
    generator, labeller = world.require("encoder")(), load_head(head)
    images = np.stack([center_square(read_image(path), generator.image_size) for path in files])
    class_ids = np.full(len(images), world.class_id(class_name))
    masks, _ = label_images(cast(ImageEncoder, generator), labeller, images, class_ids)
    out.mkdir(parents=True, exist_ok=True)
    for path, mask in zip(files, masks, strict=True):
        write_atomic(out / f"{path.stem}.png", encode_png(mask))
    tinted = [overlay(image, mask) for image, mask in zip(images, masks, strict=True)]
    write_atomic(out / f"{OVERVIEW}.png", encode_png(grid([*images, *tinted], len(images))))
    print(
        f"{out}: {len(masks)} masks of {generator.image_size} pixels; label 0 is {labeller.config.labels[0]}"
    )


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which; `list` names them.")],
    out: Annotated[Path, typer.Option(help="Where results and finished cells lie.")] = Path(
        "runs/experiments"
    ),
    seeds: Annotated[int, typer.Option(min=0, max=1_000, help="0: as many as the experiment has.")] = 0,
    seeds_from: Annotated[
        int, typer.Option(min=-1, max=10_000, help="The first seed; -1: the experiment's own.")
    ] = -1,
    profile: ProfileName = "pocket",
    photographs: Annotated[
        Path | None, typer.Option(help="annotation-clicks: a zip of images/*.jpg and masks/*.png.")
    ] = None,
    device: Device = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, max=1_000, help="Cells side by side; 0: one per core, at most 8 on a GPU.")
    ] = 0,
    logger: LoggerName = "none",
) -> None:
    """Run an experiment: many small trainings, one JSON. The same command goes on where it was cut off.

    `claims` gives a verdict on each of the paper's claims, from the results in `--out` or the shipped ones.
    """
    from bdgan_lib.experiments.catalogue import ANYWHERE, EXPERIMENTS, FRESH_SEEDS, TRAINING
    from bdgan_lib.experiments.claims import summarise
    from bdgan_lib.experiments.runner import earlier_result
    from bdgan_lib.training.file_logs import LogFolder

    if name in ("list", "claims"):
        given = {
            "--seeds": seeds, "--seeds-from": seeds_from >= 0, "--photographs": photographs is not None,
            "--device": device != "cpu", "--workers": workers, "--logger": logger != "none",
        }  # fmt: skip
        if alien := [option for option, value in given.items() if value]:
            raise BdganError(f"{name} runs no experiment; leave {' and '.join(alien)} out")
    if name == "list":
        print("\n".join((*EXPERIMENTS, "claims")))
        return
    if name == "claims":
        summary = summarise(load_profile(profile), out)
        count = ", ".join(
            f"{summary[verdict]} {verdict}" for verdict in ("holds", "fails", "equivalent", "undecided")
        )
        print(f"{out / 'claims.json'}: {summary['claims']} claims: {count}")
        return
    if name not in EXPERIMENTS:
        raise BdganError(f"no experiment {name!r}; there is {', '.join(EXPERIMENTS)}, claims")
    options: dict[str, Any] = {"seeds": seeds} if seeds else {}
    if name in TRAINING:
        options["logs"] = None if logger == "none" else LogFolder(logger, out / "logs")
    elif logger != "none":
        raise BdganError(f"{name} trains no network; leave --logger out")
    if name in ANYWHERE:
        options |= {"device": device, "workers": workers}
    elif device != "cpu" or workers:
        raise BdganError(
            f"{name} runs on the CPU, one cell after the other; leave --device and --workers out"
        )
    if seeds_from >= 0:
        if name not in FRESH_SEEDS:
            raise BdganError(f"{name} always has the same seeds; leave --seeds-from out")
        options["seeds_from"] = seeds_from
    if photographs is not None:
        if name != "annotation-clicks":
            raise BdganError(f"--photographs belongs to annotation-clicks, not to {name}; leave it out")
        if photographs.is_file():
            options["photographs"] = photographs
        else:
            print(f"no file {photographs}: photographs are left out")
    path = out / f"{name}.json"
    earlier_result(path)  # another file of this name is refused before anything is computed
    world = load_profile(profile)
    if not world.shipped:
        raise BdganError(
            f"experiments run in the pocket world, whose masks are exact; leave out --profile {profile}"
        )
    EXPERIMENTS[name](world, out, **options)
    print(path)


@app.command()
def figures(
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/figures"),
    only: Annotated[
        list[str] | None, typer.Option(help="fig6, table1, mean-shapes ...; may be given more than once.")
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Where heads, sets and predictions are kept for the next time.")
    ] = Path("runs/figures/work"),
    results: Annotated[
        Path | None, typer.Option(help="A folder of `bdgan experiment`, in place of the shipped results.")
    ] = None,
    images_per_class: Annotated[
        int, typer.Option("--images", min=10, max=MOST, help="Images per class in the synthetic sets.")
    ] = 100,
    device: Device = "cpu",
    profile: ProfileName = "pocket",
) -> None:
    """Draw the paper's figures and tables: a PNG and an SVG each, and a page of all."""
    from bdgan_lib.paper.figure_data import FigureData
    from bdgan_lib.paper.write import write_figures
    from bdgan_lib.workspace import Workspace

    data = FigureData(Workspace(load_profile(profile), cache, device), images_per_class, results)
    written = write_figures(data, out, only or ())
    print(f"{out / 'index.html'}: {len(written)} figures and tables")


@app.command()
def doctor(profile: ProfileName = "pocket") -> None:
    """What this machine has, what the profile costs on it, which files it needs, and what to do next."""
    from bdgan_lib.doctor import checkup

    for line in checkup(load_profile(profile)):
        print(line)


@app.command("record-assets", hidden=True)
def record_assets_command() -> None:
    """Write the manifest of the pocket's assets after a recipe has made them anew."""
    from bdgan_lib.profiles.shipped import record_assets

    record_assets(load_profile("pocket").folder)
