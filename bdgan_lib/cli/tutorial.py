"""The tutorial without a checkout: its notebooks copied into a folder and run there."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.cli.options import Device, ProfileName, app
from bdgan_lib.core.assets import notebooks_folder
from bdgan_lib.core.io import check_output
from bdgan_lib.core.types import BdganError

LESSONS = "0"  # names of the notebooks that belong to the tutorial begin with it; the others are extras


@app.command()
def tutorial(
    out: Annotated[Path, typer.Option(help="The folder to copy the notebooks to; yours stay as they are.")],
    only: Annotated[
        list[str] | None, typer.Option(help="00, 03, extra_transfer ...; may be given more than once.")
    ] = None,
    run: Annotated[bool, typer.Option(help="Run them in order; without it they are copied only.")] = True,
    device: Device = "cpu",
    profile: ProfileName = "pocket",
) -> None:
    """Copy the tutorial's notebooks to a folder and run them there; results go to `run/` beside them."""
    shipped = {path.stem: path for path in sorted(notebooks_folder().glob("*.ipynb"))}
    if not shipped:
        raise BdganError(f"no notebooks in {notebooks_folder()}; install the package again")
    chosen = [stem for stem in shipped if stem.startswith(tuple(only or (LESSONS,)))]
    if unknown := [name for name in only or () if not any(stem.startswith(name) for stem in shipped)]:
        raise BdganError(f"no notebook {', '.join(unknown)}; expected one of {', '.join(shipped)}")
    out.mkdir(parents=True, exist_ok=True)
    for path in shipped.values():
        check_output(out / path.name, file=True)
        if not (out / path.name).exists():
            shutil.copyfile(path, out / path.name)
    if run and (missing := [name for name in ("papermill", "ipykernel") if find_spec(name) is None]):
        raise BdganError(f"no {', '.join(missing)} to run notebooks; pip install 'bdgan-lib[tutorial]'")
    if not run:
        print(f"{out}: {len(shipped)} notebooks; open them with: jupyter lab {out}")
        return
    for number, stem in enumerate(chosen, 1):
        print(f"{number} of {len(chosen)}: {stem}", flush=True)
        _run(out / f"{stem}.ipynb", out, {"PROFILE": profile, "DEVICE": device})
    print(f"{out}: {len(chosen)} notebooks have run; read them with: jupyter lab {out}")


def _run(path: Path, folder: Path, settings: dict[str, str]) -> None:
    """Execute a notebook in place; its outputs stay in it, after an error too."""
    if path.is_symlink():
        raise BdganError(f"{path} is a link, and what it leads to would be changed; move it away")
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        notebook = nbformat.read(path, 4)
        for part in (notebook.metadata, *(cell.metadata for cell in notebook.cells)):
            part.keys()
        known = papermill.inspect_notebook(path)
    except Exception as error:  # what is no notebook leads nbformat and papermill to many kinds
        raise BdganError(f"{path} is no readable notebook: {error!r:.80}; move it away") from error
    parameters = {name: value for name, value in settings.items() if name in known} | {"RUN_DIR": "run"}
    try:
        papermill.execute_notebook(path, path, parameters, kernel_name="python3", cwd=folder)
    except PapermillExecutionError as error:
        raise BdganError(f"{path} stopped: {error.ename}: {error.evalue}; its outputs show where") from error
