"""Data sets, label heads and generators, sent to the Hugging Face Hub and fetched from it."""

from pathlib import Path
from typing import Annotated, cast

import typer

from bdgan_lib.cli.options import app
from bdgan_lib.hub.names import KINDS, MAIN, Kind

Repo = Annotated[str, typer.Argument(help="The repository on the Hub, as user/name.")]


@app.command("push")
def push_command(
    folder: Annotated[Path, typer.Argument(help="A data set, a label head or a generator.")],
    repo: Repo,
    private: Annotated[
        bool, typer.Option("--private/--no-private", help="Nobody else may see the repository.")
    ] = False,
    revision: Annotated[str, typer.Option(help="The branch to write to, made if there is none.")] = MAIN,
    message: Annotated[str, typer.Option(help="Of the commit; the kind of content if empty.")] = "",
    force: Annotated[
        bool,
        typer.Option("--force/--no-force", help="Replace what else the branch holds; its history keeps it."),
    ] = False,
) -> None:
    """Send a folder to the Hugging Face Hub in one commit. The same command goes on where it was cut off."""
    from bdgan_lib.hub.push import push

    commit = push(folder, repo, revision=revision, private=private, message=message, force=force)
    print(f"{repo}: commit {commit}")


@app.command("pull")
def pull_command(
    repo: Repo,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    revision: Annotated[str, typer.Option(help="A commit, a tag or a branch.")] = MAIN,
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}; if empty, whatever it holds.")] = "",
) -> None:
    """Fetch a folder from the Hugging Face Hub; hub.json in it records the commit. The same command goes on.

    A repository that holds pickles or code is refused before anything is fetched.
    """
    from bdgan_lib.hub.pull import pull

    print(f"{out}: {repo} at commit {pull(repo, out, revision=revision, kind=cast(Kind, kind) or None)}")
