"""`bdgan`: one subcommand per stage, each a call into the library."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from bdgan_lib.data.annotations import AnnotationStore
from bdgan_lib.data.datasheet import CARD, CROISSANT, describe
from bdgan_lib.data.exchange import FORMATS, export_annotations, import_annotations
from bdgan_lib.data.exchange.guards import named
from bdgan_lib.data.export import EXPORTS, export_set
from bdgan_lib.data.release import import_release
from bdgan_lib.data.shards import ShardedSet
from bdgan_lib.data.validate import validate
from bdgan_lib.doctor import checkup
from bdgan_lib.downstream.leaderboard.gallery import galleries
from bdgan_lib.downstream.leaderboard.result import load_result
from bdgan_lib.downstream.leaderboard.score import score
from bdgan_lib.downstream.leaderboard.site import write_site
from bdgan_lib.downstream.leaderboard.truth import InFolder, Truth, write_truth
from bdgan_lib.downstream.tasks import Task
from bdgan_lib.generators import weights
from bdgan_lib.generators.convert import convert
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.examples import samples_of
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import HeadTraining, launched, train_head
from bdgan_lib.images import decode_image, encode_png, grid, located, overlay, to_uint8, write_atomic
from bdgan_lib.profiles import PROFILES, Profile, assets_folder, load_profile, record_assets
from bdgan_lib.profiles.imagenet import ImageNetProfile
from bdgan_lib.profiles.pocket import PocketProfile
from bdgan_lib.synthesis.filters import Models, calibration
from bdgan_lib.synthesis.real import fitted, label_images
from bdgan_lib.synthesis.run import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec
from bdgan_lib.types import BdganError, Sampling

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
ProfileName = Annotated[str, typer.Option("--profile", help=f"Which world: {', '.join(PROFILES)}.")]
Truncation = Annotated[
    float | None, typer.Option(help="Clip latents at 2, then scale; default: as the profile samples.")
]
TopK = Annotated[int | None, typer.Option(help="VQGAN: how many codes may come, the likeliest.")]
TopP = Annotated[float | None, typer.Option(help="VQGAN: the likeliest codes that together are so probable.")]
Temperature = Annotated[float | None, typer.Option(help="VQGAN: below 1 for safer codes.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Head = Annotated[Path | None, typer.Option(help="A folder of `bdgan train-head`.")]


@app.command()
def info(profile: ProfileName = "pocket") -> None:
    """Check a profile's files and say what it holds."""
    world = load_profile(profile)
    files, generator = world.verify(), world.generator()
    print(f"profile {world.name}: {files} files verified in {world.folder}")
    print(f"{len(world.classes)} classes: {', '.join(_dozen(world.classes))}")
    print(
        f"generator {generator.sha256[:12]}: "
        + ", ".join(f"{b} {c}x{s}x{s}" for b, (c, s) in generator.blocks.items())
    )


@app.command()
def sample(
    out: Out,
    classes: Annotated[str, typer.Option(help="Class names, by comma; a dozen if empty.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1_000, help="Images per class.")] = 8,
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    truncation: Truncation = None,
    top_k: TopK = None,
    top_p: TopP = None,
    temperature: Temperature = None,
    head: Head = None,
    device: Device = "cpu",
    bf16: Annotated[bool, typer.Option(help="Convolve in bfloat16: faster, almost the same images.")] = False,
    profile: ProfileName = "pocket",
) -> None:
    """Draw samples into one PNG, a row per class; with --head their labels are laid over."""
    world = load_profile(profile)
    names = _names(classes) or _dozen(world.classes)
    ids = torch.tensor([world.class_id(name) for name in names]).repeat_interleave(count)
    seeds = torch.arange(first_seed, first_seed + count).repeat(len(names))
    labeller = load_head(head).to(device) if head else None
    generator, sampling, images = (
        world.generator(device, bf16),
        _sampling(world, truncation, top_k, top_p, temperature),
        [],
    )
    for part in torch.arange(len(ids)).split(8):  # memory is that of 8 images and their features
        found = generator.sample(ids[part], seeds[part], sampling, features=labeller is not None)
        drawn = list(to_uint8(found.images))
        if labeller:
            drawn = [overlay(image, mask) for image, mask in zip(drawn, labeller.predict(found), strict=True)]
        images += drawn
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, encode_png(grid(images, count)))
    print(out)


def _names(classes: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in classes.split(",") if name.strip())


def _dozen(names: tuple[str, ...]) -> tuple[str, ...]:
    """All of a few, a dozen of many."""
    return names[:: max(1, len(names) // 12)][:12]


def _sampling(
    world: Profile,
    truncation: float | None,
    top_k: int | None,
    top_p: float | None,
    temperature: float | None,
) -> Sampling:
    """The profile's settings, but for those that came."""
    sampling = world.sampling if truncation is None else Sampling(truncation)
    codes: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "temperature": temperature}
    return replace(sampling, **{key: value for key, value in codes.items() if value is not None})


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
    head, losses = train_head(*world.annotated(str(fabric.device)), config, architecture, fabric, out)
    if fabric.is_global_zero:
        save_head(head, out)
        print(f"{out}: loss {losses[-1]:.4f} nats after {steps} steps")


@app.command("synthesize")
def synthesize_command(
    out: Annotated[str, typer.Option(help="A folder, or an address such as s3://bucket/folder.")],
    images: Annotated[int, typer.Option(min=1, help="Images drawn per class; filters drop some.")] = 100,
    classes: Annotated[str, typer.Option(help="Class names, by comma; all if empty.")] = "",
    head: Head = None,
    keep_confident: Annotated[float, typer.Option(help="Share the classifier is surest of; 1: all.")] = 0.9,
    keep_agreed: Annotated[float, typer.Option(help="Share an ensemble disputes least; 1: all.")] = 0.9,
    truncation: Truncation = None,
    top_k: TopK = None,
    top_p: TopP = None,
    temperature: Temperature = None,
    first_seed: Annotated[int, typer.Option(min=0)] = SynthesisSpec.first_seed,
    batch_size: Annotated[int, typer.Option(min=1)] = SynthesisSpec.batch_size,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Images drawn per shard.")
    ] = SynthesisSpec.shard_size,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core (cuda: one).")] = 0,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster.")] = "local",
    gpus: Annotated[float, typer.Option(min=0, help="ray: share of a GPU each task takes.")] = 0.0,
    bf16: Annotated[bool, typer.Option(help="Label and judge in bfloat16, where that is fast.")] = False,
    jpeg: Annotated[int, typer.Option(min=0, max=100, help="Images as JPEG of this quality; 0: PNG.")] = 0,
    device: Device = "cpu",
    profile: ProfileName = "pocket",
) -> None:
    """Write a labelled data set: shards of PNG images and masks with a manifest. The same command goes on."""
    world = load_profile(profile)
    names = _names(classes) or world.classes
    ids = tuple(world.class_id(name) for name in names)
    generator, sampling = world.generator(device), _sampling(world, truncation, top_k, top_p, temperature)
    labeller = load_head(head) if head else train_head(*world.annotated(device))[0]
    agreed = keep_agreed if labeller.config.architecture.members > 1 else 1.0  # one alone never disagrees
    models = Models(generator, labeller.to(device), world.judge if keep_confident < 1 else None)
    filters = calibration(located(out), models, ids, sampling, keep_confident, agreed, bf16=bf16)
    spec = SynthesisSpec(
        generator.sha256, labeller.sha256, ids, images, sampling, batch_size, shard_size, first_seed, filters,
        models.judge.sha256 if models.judge else "", torch.device(device).type, world.licence,
        bf16, jpeg,
    )  # fmt: skip
    if engine == "ray":
        from bdgan_lib.synthesis.run_ray import synthesize_on_ray

        synthesize_on_ray(spec, models, out, workers, gpus)
    elif engine == "local":
        alone = 1 if device != "cpu" else os.cpu_count() or 1
        synthesize(spec, models, out, workers or alone)
    else:
        raise BdganError(f"no engine {engine!r}; there is local, ray")
    print(out)


DataSet = Annotated[str, typer.Argument(help="What `bdgan synthesize` was given as --out.")]


@app.command("export")
def export_command(
    folder: DataSet,
    to: Annotated[str, typer.Option(help=f"Whose files to write: {', '.join(EXPORTS)}.")],
    out: Out,
) -> None:
    """Write a finished data set for another tool; what its format cannot hold is named."""
    report = export_set(ShardedSet(folder), out, to)
    overlap = f", mean IoU with the masks {report.mean_iou:.4f}" if report.mean_iou < 1 else ""
    print(f"{out}: {report.images} images for {to}{overlap}", *report.losses, sep="\n  ")


@app.command("validate")
def validate_command(folder: DataSet) -> None:
    """Check every file of a data set; exit code 2 if one is damaged, strange or missing."""
    if findings := validate(located(folder)):
        print(*findings, sep="\n")
        raise typer.Exit(2)
    print(f"{folder}: whole")


@app.command("describe")
def describe_command(folder: DataSet) -> None:
    """Write a data set's data card and its Croissant metadata."""
    describe(located(folder))
    print(f"{folder}: {CARD}, {CROISSANT}")


@app.command("label")
def label_command(
    files: Annotated[list[Path], typer.Argument(help="Pictures; their centre squares are labelled.")],
    out: Out,
    head: Annotated[Path, typer.Option(help="A folder of `bdgan train-head` on the same profile.")],
    class_name: Annotated[str, typer.Option("--class", help="What the pictures show.")],
    profile: ProfileName = "pocket-vqgan",
) -> None:
    """Label real pictures: a mask of label ids for each, and one sheet with the labels laid over."""
    world = load_profile(profile)
    generator, labeller = world.generator(), load_head(head)
    if not isinstance(generator, VQGAN):
        raise BdganError(f"profile {profile} cannot encode pictures; use pocket-vqgan or imagenet-vqgan")
    images = np.stack([fitted(decode_image(path.read_bytes()), generator.image_size) for path in files])
    masks, _ = label_images(generator, labeller, images, np.full(len(images), world.class_id(class_name)))
    out.mkdir(parents=True, exist_ok=True)
    for path, mask in zip(files, masks, strict=True):
        write_atomic(out / f"{path.stem}.png", encode_png(mask))
    tinted = [overlay(image, mask) for image, mask in zip(images, masks, strict=True)]
    write_atomic(out / "sheet.png", encode_png(grid([*images, *tinted], len(images))))
    print(
        f"{out}: {len(masks)} masks of {generator.image_size} pixels; label 0 is {labeller.config.labels[0]}"
    )


@app.command()
def annotate(
    out: Out,
    keep: Annotated[int, typer.Option(min=1, max=10, help="Labelled samples per class.")] = 5,
    profile: ProfileName = "pocket",
) -> None:
    """Have the oracle annotator label samples of every class (it stands in for a human)."""
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
    seeds: Annotated[int, typer.Option(min=0, help="0: as many as the experiment has.")] = 0,
    profile: ProfileName = "pocket",
) -> None:
    """Run an experiment: many small trainings, one JSON. The same command goes on where it was cut off."""
    from bdgan_lib.experiments.catalogue import EXPERIMENTS

    if name == "list":
        print("\n".join(EXPERIMENTS))
        return
    if name not in EXPERIMENTS:
        raise BdganError(f"no experiment {name!r}; there is {', '.join(EXPERIMENTS)}")
    EXPERIMENTS[name](load_profile(profile), out, **({"seeds": seeds} if seeds else {}))
    print(out / f"{name}.json")


benchmark_app = typer.Typer(
    no_args_is_help=True, help="Score predictions on the paper's tasks; show results."
)
app.add_typer(benchmark_app, name="benchmark")
TaskName = Annotated[str, typer.Option("--task", help="One of `bdgan benchmark tasks`.")]
Labels = Annotated[
    str, typer.Option(help="A folder of <image id>.png, 255 = unlabelled; `pocket` renders the pocket's.")
]


def _truth(world: Profile, task: Task, labels: str, images: Path | None = None) -> Truth:
    return world.truth(task) if labels == "pocket" else InFolder(Path(labels), task, images)


@benchmark_app.command("tasks")
def benchmark_tasks(profile: ProfileName = "pocket") -> None:
    """The tasks on a profile's classes."""
    for task in load_profile(profile).tasks.values():
        names = ", ".join(task.labels[:6]) + ", ..." * (len(task.labels) > 6)
        print(f"{task.name:<14}{task.count:>4} labels of {len(task.classes):>4} classes: {names}")


@benchmark_app.command("images")
def benchmark_images(
    task: TaskName,
    out: Out,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    profile: ProfileName = "pocket",
) -> None:
    """Write a task's images and true labels, as PNG, to train on or to predict."""
    world = load_profile(profile)
    own = world.task(task)
    print(f"{out}: {write_truth(world.truth(own, split), own, out)} images with labels")


@benchmark_app.command("score")
def benchmark_score(
    task: TaskName,
    predictions: Annotated[
        Path, typer.Option(help="A folder of <image id>.png: grey, the task's label ids.")
    ],
    name: Annotated[str, typer.Option(help="Of what predicted; the page shows it.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    labels: Labels = "pocket",
    date: Annotated[str | None, typer.Option(help="YYYY-MM-DD; today (UTC) if none.")] = None,
    profile: ProfileName = "pocket",
) -> None:
    """Score predictions: mIoU with its interval and the IoU of each label, as JSON."""
    world = load_profile(profile)
    own = world.task(task)
    result = score(own, _truth(world, own, labels), predictions, name, date)
    result.save(out)
    low, high = result.interval
    print(f"{out}: mIoU {result.miou:.4f} (95% {low:.4f} to {high:.4f}) on {result.images} images")


@benchmark_app.command("site")
def benchmark_site(
    results: Annotated[list[Path], typer.Argument(help="Files of `bdgan benchmark score`.")],
    out: Annotated[Path, typer.Option(help="The folder to write index.html to.")],
    predictions: Annotated[
        list[Path] | None,
        typer.Option(help="Folders that were scored, in any order: their images are shown."),
    ] = None,
    labels: Labels = "pocket",
    images: Annotated[Path | None, typer.Option(help="Pictures beside a folder of labels.")] = None,
    profile: ProfileName = "pocket",
) -> None:
    """Show results on one static page: a table to sort, each label's IoU, the best and worst images."""
    world, found = load_profile(profile), [load_result(path) for path in results]
    truth = lambda task: _truth(world, task, labels, images)
    print(write_site(found, out, galleries(found, predictions or [], world.tasks, truth)))


weights_app = typer.Typer(no_args_is_help=True, help="Weights of the real generators: find, fetch, verify.")
app.add_typer(weights_app, name="weights")
Names = Annotated[list[str], typer.Argument(help="Entries of `bdgan weights list`.")]


@weights_app.command("list")
def weights_list() -> None:
    """What there is, under which licence, and what is here."""
    folder = weights.cache_folder()
    for entry in _catalogue().values():
        size = f"{entry.size / 1e6:,.0f} MB" if entry.size else "size unknown"
        state = "ready" if weights.converted(entry, folder) else ""
        state = state or ("fetched" if weights.present(entry, folder) else "not here")
        print(f"{entry.name:<18}{size:>14}  {state:<9} {entry.licence}; {entry.source}")
    print(f"cache: {folder} (BDGAN_CACHE=FOLDER chooses another)")


@weights_app.command("fetch")
def weights_fetch(names: Names) -> None:
    """Fetch, verify and convert; what is here is kept, what was cut off goes on."""
    for entry in _entries(names):
        print(f"{entry.name}: {entry.licence}; {entry.source}")
        print(weights.prepared(entry, weights.cache_folder()))


@weights_app.command("verify")
def weights_verify(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Check what is in the cache against its sha256; exit code 2 if a file is damaged."""
    folder = weights.cache_folder()
    for entry in _entries(names or list(_catalogue())):
        for path in (weights.present(entry, folder), weights.converted(entry, folder)):
            if path:
                print(f"{path}: whole")


@weights_app.command("convert")
def weights_convert(
    checkpoint: Annotated[Path, typer.Argument(help="A pickled checkpoint.")], out: Out
) -> None:
    """Turn a checkpoint into safetensors; nothing in it is run, and one that asks for that is refused."""
    convert(checkpoint, out)
    print(out)


def _catalogue() -> dict[str, weights.Weights]:
    return weights.catalogue(assets_folder() / "weights.toml")


def _entries(names: list[str]) -> list[weights.Weights]:
    listed = _catalogue()
    unknown = [name for name in names if name not in listed]
    if unknown:
        raise BdganError(f"no weights {', '.join(unknown)}; there is {', '.join(listed)}")
    return [listed[name] for name in names]


@app.command()
def doctor(profile: ProfileName = "pocket") -> None:
    """What this machine has, what the profile costs on it, which files it needs, and what to do next."""
    for line in checkup(load_profile(profile)):
        print(line)


@app.command("import-release")
def import_release_command(
    folder: Annotated[Path, typer.Argument(help="Where annotations/ and latents/ of the release lie.")],
    profile: ProfileName = "release-512",
) -> None:
    """Bring the paper's annotations and latents into the profile's annotation store, paired by name."""
    world = load_profile(profile)
    if not isinstance(world, ImageNetProfile) or world.deep:
        raise BdganError(
            f"the release's latents are of BigGAN-512, not of profile {profile}; use release-512"
        )
    print("licence of the release's annotations and latents: CC BY-NC 4.0")
    generator, store = world.generator(), world.annotations()
    print(import_release(folder, store, generator.sha256, world.classes, world.synsets))


@app.command("export-labels")
def export_labels_command(
    folder: Annotated[Path, typer.Argument(help="A folder of annotations.")],
    to: Annotated[str, typer.Option(help=f"Whose files to write: {', '.join(FORMATS)}.")],
    out: Out,
    profile: ProfileName = "pocket",
) -> None:
    """Write annotations and their images, drawn again by the profile's generator, for another tool."""
    generator, store = load_profile(profile).generator(), AnnotationStore(folder)
    store.require(generator.sha256)
    if not (found := list(store)):
        raise BdganError(f"{folder} holds no annotations; `bdgan annotate` or notebook 02 makes some")
    drawn = samples_of(generator, found, features=False)
    images = (image for batch in drawn for image in to_uint8(batch.images))
    print(f"{out}: {export_annotations(found, images, out, to)} images with labels for {to}")


@app.command("import-labels")
def import_labels_command(
    folder: Annotated[Path, typer.Argument(help="What `bdgan export-labels` wrote, its labels edited.")],
    format: Annotated[str, typer.Option("--from", help=f"Whose files they are: {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="The folder of annotations to add to.")],
) -> None:
    """Bring labels back from another tool, in place of the samples' old ones; what is lost is named."""
    annotations, losses = import_annotations(folder, format)
    store, added = AnnotationStore(out), 0
    with store.writing():
        for annotation in annotations:
            with named(annotation.id, losses):
                store.add(annotation)
                added += 1
    print(*[f"{out}: {added} annotations came in", *losses], sep="\n  ")


@app.command("record-assets", hidden=True)
def record_assets_command() -> None:
    """Write the manifest of the pocket's assets after a recipe has made them anew."""
    record_assets(PocketProfile())


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
