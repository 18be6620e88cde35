"""The command line's reference: every command of `bdgan` with its options."""

from pathlib import Path
from typing import Any

from prose import plain


def write_commands(out: Path) -> None:
    """Write a page of all commands, in the order of the help; hidden ones are left out."""
    import typer

    from bdgan_lib.cli import app

    root = typer.main.get_command(app)
    lines = ["# Command line", "", plain(root.help or ""), ""]
    lines += ["A user's mistake, a damaged file or a full disk is one line and exit code 2."]
    for words, command in _commands(root, ["bdgan"]):
        lines += ["", f"## {' '.join(words)}", "", plain(" ".join((command.help or "").split())), ""]
        lines += [_row(parameter) for parameter in command.params if parameter.name != "help"]
    out.write_text("\n".join(lines) + "\n", "utf-8")


def _commands(group: Any, words: list[str]) -> list[tuple[list[str], Any]]:
    found = []
    for name, command in group.commands.items():
        if not command.hidden:
            inner = hasattr(command, "commands")
            found += _commands(command, [*words, name]) if inner else [([*words, name], command)]
    return found


def _row(parameter: Any) -> str:
    """An item of a list: how it is written, what it means, what holds without it."""
    argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if argument else [*parameter.opts, *parameter.secondary_opts]
    told = [plain(getattr(parameter, "help", None) or "")]
    if parameter.required:
        told.append("Required.")
    elif parameter.default not in (None, "", False, ()):
        told.append(f"Default: `{parameter.default}`.")
    return f"- `{', '.join(names)}` " + " ".join(filter(None, told))
