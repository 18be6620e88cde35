"""The benchmark: tasks, images, scores, a page of results."""

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdgan_lib.cli.options import MOST, CommandGroup, Device, LoggerName, Out, ProfileName, Seed, app
from bdgan_lib.core.io import require_new_path
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles import load_profile

if TYPE_CHECKING:
    from bdgan_lib.downstream.benchmark.truth import Truth
    from bdgan_lib.downstream.tasks import Task
    from bdgan_lib.profiles import Profile

benchmark_app = CommandGroup(
    no_args_is_help=True, help="Score predictions on the paper's tasks; show results."
)
app.add_typer(benchmark_app, name="benchmark")
TaskName = Annotated[str, typer.Option("--task", help="One of `bdgan benchmark tasks`.")]
Labels = Annotated[
    str, typer.Option(help="A folder of <image id>.png, 255 = unlabelled; `pocket` renders the pocket's.")
]


def _truth(world: "Profile", task: "Task", labels: str, images: Path | None = None) -> "Truth":
    from bdgan_lib.downstream.benchmark.truth import TruthFolder

    if labels == "pocket":
        return world.require("renderer").truth(task)
    return TruthFolder(Path(labels), task, images)


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
    from bdgan_lib.downstream.benchmark.truth import write_truth

    world = load_profile(profile)
    its_task = world.task(task)
    truth = world.require("renderer").truth(its_task, split)
    print(f"{out}: {write_truth(truth, its_task, out)} images with labels")


@benchmark_app.command("train")
def benchmark_train(
    data: Annotated[
        list[Path], typer.Argument(help="Sets of `bdgan synthesize`, folders of `bdgan benchmark images`.")
    ],
    task: TaskName,
    out: Out,
    init: Annotated[
        str,
        typer.Option(
            help="What the network starts from: timm:NAME, timm:NAME@FILE, timm:NAME@random, METHOD:FILE, a "
            "file, a folder, or a backbone such as pocket-10."
        ),
    ] = "pocket-10",
    decoder: Annotated[str, typer.Option(help="unet, fcn, deeplabv3, or smp:NAME such as smp:FPN.")] = "unet",
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Batches.")] = 1_200,
    batch_size: Annotated[int, typer.Option(min=1, max=MOST)] = 16,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Peak; a pre-trained transformer takes about 1e-4.")
    ] = 3e-3,
    frozen: Annotated[bool, typer.Option(help="Train the decoder alone.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    logger: LoggerName = "none",
    profile: ProfileName = "pocket",
) -> None:
    """Train a segmentation network on a task, from any start; `benchmark predict` uses it."""
    import torch

    from bdgan_lib.downstream.benchmark.pictures import training_set
    from bdgan_lib.downstream.network_files import save_network
    from bdgan_lib.downstream.segmentation import segmenter
    from bdgan_lib.downstream.starts.load import load_start
    from bdgan_lib.downstream.transfer.segment import Frozen
    from bdgan_lib.training.file_logs import open_log
    from bdgan_lib.training.supervised import FitConfig, fit

    require_new_path(out)
    log = open_log(logger, out.with_name(f"{out.name}-run") / "logs")
    world = load_profile(profile)
    its_task = world.task(task)
    labelled = training_set(data, its_task, world.classes)
    torch.manual_seed(seed)
    start = load_start(init)
    if start.note:
        print(start.note)
    network = segmenter(start.trunk, len(its_task.labels), decoder)
    count = len(labelled.images)
    config = FitConfig(steps, min(batch_size, count), learning_rate, seed=seed)
    trained = Frozen(network) if frozen else network
    with log or nullcontext():
        loss = fit(trained, labelled.images, labelled.masks, config, device, "training", logger=log)
    about = {"world": its_task.world, "task": task, "init": init, "images": count, "loss": loss}
    save_network(network, decoder, its_task.labels, out, **about, steps=steps, frozen=frozen, seed=seed)
    print(f"{out}: loss {loss:.4f} nats after {steps} steps on {count} images")


@benchmark_app.command("predict")
def benchmark_predict(
    network: Annotated[Path, typer.Argument(help="A folder of `bdgan benchmark train`.")],
    images: Annotated[Path, typer.Argument(help="A folder of pictures, of any sizes.")],
    out: Out,
    device: Device = "cpu",
) -> None:
    """Predict the pictures of a folder: <name>.png of the task's label ids, to be scored."""
    from bdgan_lib.downstream.benchmark.pictures import write_predictions
    from bdgan_lib.downstream.network_files import load_network

    require_new_path(out)
    trained, record = load_network(network)
    count = write_predictions(trained, images, out, device)
    print(f"{out}: {count} masks of {len(record['labels'])} labels")


def _is_same_score(out: Path, task: str, name: str, **_: object) -> bool:
    from bdgan_lib.downstream.benchmark.result import load_result

    with suppress(BdganError):
        earlier = load_result(out)
        return (earlier.task, earlier.name) == (task, name)
    return False


@benchmark_app.command("score", out_is_file=True, is_earlier=_is_same_score)
def benchmark_score(
    task: TaskName,
    predictions: Annotated[
        Path, typer.Option(help="A folder of <image id>.png: grey, the task's label ids.")
    ],
    name: Annotated[str, typer.Option(help="Of the model that predicted, as the page shows it.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    labels: Labels = "pocket",
    date: Annotated[str | None, typer.Option(help="YYYY-MM-DD; today (UTC) if none.")] = None,
    profile: ProfileName = "pocket",
) -> None:
    """Score predictions: mIoU with its interval and the IoU of each label, as JSON."""
    from bdgan_lib.downstream.benchmark.score import score

    world = load_profile(profile)
    its_task = world.task(task)
    result = score(its_task, _truth(world, its_task, labels), predictions, name, date)
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
    from bdgan_lib.downstream.benchmark.gallery import galleries
    from bdgan_lib.downstream.benchmark.result import load_result
    from bdgan_lib.downstream.benchmark.site import check_page, write_site

    check_page(out)
    world, loaded = load_profile(profile), [load_result(path) for path in results]
    truth = lambda task: _truth(world, task, labels, images)
    print(write_site(loaded, out, galleries(loaded, predictions or [], world.tasks, truth)))
