"""The command line's reference: every command of `bdgan` with its options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prose import plain


def write_commands(out: Path) -> None:
    """Write a page of all commands, in the order of the help; hidden ones are left out."""
    import typer

    from bdgan_lib.cli import app

    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", plain(root.help)]
    lines += ["A user's mistake, a damaged file or a full disk is one line and exit code 2."]
    for words, command in _commands(root, "bdgan"):
        lines += ["", f"## {words}", "", plain(" ".join(command.help.split())), ""]
        lines += [_item(parameter) for parameter in command.params]
    out.write_text("\n".join(lines) + "\n", "utf-8")


def _commands(group: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command of a group and of the groups in it, by the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{words} {name}")
        elif not command.hidden:
            yield f"{words} {name}", command


def _item(parameter: Any) -> str:
    """How a parameter is written, what it means, what holds without it."""
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.name.upper()]
    line = [f"- `{', '.join(names)}`", plain(parameter.help or "")]
    if parameter.required:
        line.append("Required.")
    elif parameter.default not in (None, "", False):
        line.append(f"Default: `{parameter.default}`.")
    return " ".join(filter(None, line))
