"""What several commands share: the command line itself, options, and how they are read."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdgan_lib.cli.config_file import CONFIG, DUMP, dump_config, read_config
from bdgan_lib.core.io import check_output, local_path, require_unused, same_place
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles import PROFILES

if TYPE_CHECKING:
    from bdgan_lib.profiles import Profile

Command = Callable[..., None]
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_OF_EVERY_COMMAND: tuple[tuple[str, Any, object], ...] = (
    (
        CONFIG,
        Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                is_eager=True,
                callback=read_config,
                help="Take options from this YAML or JSON file; the command line wins.",
            ),
        ],
        None,
    ),
    (
        DUMP,
        Annotated[bool, typer.Option("--dump-config", help="Print all options as such a file, and end.")],
        False,
    ),
)


class CommandGroup(typer.Typer):
    """A Typer app whose commands check each parameter that is a `Path` before any work.

    An address is refused, and so is an output that is an input, one where nothing can be written, and a file
    that is there already. Each command takes its options from a file, too (see `config_file`).
    """

    def command(  # type: ignore[override]
        self,
        name: str | None = None,
        out_is_file: bool = False,
        is_earlier: Callable[..., bool] = lambda **_: False,
        **settings: Any,
    ) -> Callable[[Command], Command]:
        """Register a function as a command; its parameter `out` is a folder, if not said to be a file.

        Args:
            name: of the command; that of the function if None.
            out_is_file: whether `out` is a file.
            is_earlier: whether a file at `out` is what the command wrote earlier and may write over; it takes
                the command's arguments.
            settings: as Typer's.
        """

        def register(function: Command) -> Command:
            @wraps(function)
            def checked(ctx: typer.Context, **arguments: Any) -> None:
                if arguments.pop(DUMP, False):
                    print(dump_config(ctx, arguments), end="")
                    return
                for value in arguments.values():
                    for path in value if isinstance(value, list) else [value]:
                        if isinstance(path, Path):
                            local_path(path)
                for key in ("out", "cache"):
                    if isinstance(path := arguments.get(key), Path):
                        check_output(path, out_is_file)
                arguments.pop(CONFIG, None)
                if isinstance(out := arguments.get("out"), Path):
                    _check_inputs(out, arguments)
                    if out_is_file and not (out.is_file() and is_earlier(**arguments)):
                        require_unused(out)
                try:
                    function(**arguments)
                except EOFError as error:  # Typer would take it for the end of a dialogue
                    raise RuntimeError("a file ended too early") from error

            _add_shared_options(checked, function)
            summary = " ".join((function.__doc__ or "").partition("\n\n")[0].split())  # whole, in lists too
            super(CommandGroup, self).command(name, short_help=summary, **settings)(checked)
            return function

        return register


def _add_shared_options(checked: Callable[..., None], function: Command) -> None:
    """Give a command's signature the context and the options that every command has."""
    parameters = inspect.signature(function).parameters.values()
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for name, hint, default in _OF_EVERY_COMMAND
    ]
    signature = inspect.Signature([_CONTEXT, *parameters, *shared])
    checked.__signature__ = signature  # type: ignore[attr-defined]
    checked.__annotations__ = {name: part.annotation for name, part in signature.parameters.items()}


def _check_inputs(out: Path, arguments: Mapping[str, Any]) -> None:
    """Check that an output is none of the files and folders that a command reads."""
    for key, value in arguments.items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and key not in ("out", "cache") and same_place(out, path):
                raise BdganError(f"--out {out} is {path}, which the command reads; give another path")


app = CommandGroup(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes as long to import as all the rest
    context_settings={"max_content_width": 100},
    help="One subcommand per stage, each a call into the library.",
)


@app.callback()
def _settings(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["BDGAN_DEBUG"] = "1"


def _here(device: str) -> str:
    """The device itself, if this machine has it."""
    if device == "cpu":
        return device
    import torch

    devices = ["cpu", *["mps"] * torch.backends.mps.is_available()]
    if count := torch.cuda.device_count():
        devices += ["cuda", *(f"cuda:{k}" for k in range(count))]
    if device not in devices:
        raise BdganError(f"no device {device!r} on this machine; there is {', '.join(devices)}")
    return device


MOST = 10**9  # of anything that an option counts
ProfileName = Annotated[
    str, typer.Option("--profile", help=f"Which world: {', '.join(PROFILES)}, or a model folder.")
]
Truncation = Annotated[
    float | None, typer.Option(help="BigGAN: latents within 2, times this; default: the profile's.")
]
TopK = Annotated[int | None, typer.Option(max=MOST, help="VQGAN: draw from so many likeliest codes.")]
TopP = Annotated[
    float | None, typer.Option(help="VQGAN: draw from the likeliest codes of this total probability.")
]
Temperature = Annotated[float | None, typer.Option(help="VQGAN: below 1 for safer codes.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ... or mps.", callback=_here)]
Seed = Annotated[int, typer.Option(min=0, max=2**62)]
Out = Annotated[Path, typer.Option(help="Where to write.")]
LoggerName = Annotated[
    str, typer.Option("--logger", help="Log steps to OUT/logs or OUT-run/logs: tensorboard, csv or none.")
]
Head = Annotated[Path | None, typer.Option(help="A folder of `bdgan train-head`.")]


def names_of(classes: str) -> tuple[str, ...]:
    """The class names in a list with commas."""
    return tuple(name.strip() for name in classes.split(",") if name.strip())


def sampling_of(
    world: "Profile",
    truncation: float | None,
    top_k: int | None,
    top_p: float | None,
    temperature: float | None,
) -> Sampling:
    """The profile's sampling settings, with those that were given in their place."""
    sampling = world.sampling
    if truncation is not None:
        sampling = replace(sampling, truncation=truncation, z_std=None)
    codes: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "temperature": temperature}
    return replace(sampling, **{key: value for key, value in codes.items() if value is not None})
