"""Weights of the real generators: find, fetch, verify, convert."""

from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.checkpoints import download
from bdgan_lib.cli.options import CommandGroup, Out, app
from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.types import BdganError

weights_app = CommandGroup(no_args_is_help=True, help="Weights of the real generators: find, fetch, verify.")
app.add_typer(weights_app, name="weights")
Names = Annotated[list[str], typer.Argument(help="Entries of `bdgan weights list`.")]


@weights_app.command("list")
def weights_list() -> None:
    """What there is, under which licence, and what is here."""
    folder = download.cache_folder()
    for entry in _catalogue().values():
        size = f"{entry.size / 1e6:,.0f} MB" if entry.size else "size unknown"
        state = "ready" if download.cached_safetensors(entry, folder) else ""
        state = state or ("fetched" if download.cached_file(entry, folder) else "not here")
        print(f"{entry.name:<18}{size:>14}  {state:<9} {entry.licence}; {entry.source}")
    print(f"cache: {folder} (BDGAN_CACHE=FOLDER chooses another)")


@weights_app.command("fetch")
def weights_fetch(names: Names) -> None:
    """Fetch, verify and convert; what is here is kept, what was cut off goes on.

    Of several state dicts, averaged weights (EMA) are taken first; the command says which it took.
    """
    for entry in _entries(names):
        print(f"{entry.name}: {entry.licence}; {entry.source}")
        print(download.fetch_safetensors(entry, download.cache_folder()))


@weights_app.command("verify")
def weights_verify(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Check what is in the cache against its sha256; exit code 2 if a file is damaged."""
    folder = download.cache_folder()
    for entry in _entries(names or list(_catalogue())):
        for path in (download.cached_file(entry, folder), download.cached_safetensors(entry, folder)):
            if path:
                print(f"{path}: whole")


@weights_app.command("convert", out_is_file=True)
def weights_convert(
    checkpoint: Annotated[Path, typer.Argument(help="A pickled checkpoint.")], out: Out
) -> None:
    """Turn a checkpoint into safetensors; nothing in it is run, and one that asks for that is refused.

    Of several state dicts, averaged weights (EMA) are taken first; the command says which it took.
    """
    from bdgan_lib.checkpoints.unpickle import convert_checkpoint

    note = convert_checkpoint(checkpoint, out)
    if note:
        print(note)
    print(out)


def _catalogue() -> dict[str, download.Weights]:
    return download.catalogue(assets_folder() / "weights.toml")


def _entries(names: list[str]) -> list[download.Weights]:
    listed = _catalogue()
    unknown = [name for name in names if name not in listed]
    if unknown:
        raise BdganError(f"no weights {', '.join(unknown)}; there is {', '.join(listed)}")
    return [listed[name] for name in names]
