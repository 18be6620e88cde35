"""The benchmark: tasks, images, scores, a page of results."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdgan_lib.cli.options import CommandGroup, Out, ProfileName, app
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
    name: Annotated[str, typer.Option(help="Of what predicted; the page shows it.")],
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
