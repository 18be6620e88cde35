"""`bdgan`: one subcommand per stage, each a call into the library."""

import io
import os
import sys
import traceback

from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.core.parallel import exit_at_sigterm
from bdgan_lib.core.types import BdganError, printable

try:  # each registers its commands, in the order of the help
    from bdgan_lib.cli import networks, train_generator, datasets, labels, hub  # noqa: F401  # isort: skip
    from bdgan_lib.cli import export_onnx, benchmark, weights, tutorial  # noqa: F401  # isort: skip
    from bdgan_lib.cli.options import app
except KeyboardInterrupt:  # before `main` can say so
    sys.exit(130)


def main() -> None:
    """Run the command line; every error is one line, with its traceback after `--debug` or BDGAN_DEBUG=1.

    Exit codes: 2 for a user's mistake, a damaged file or a full disk; 1 for a fault of the project; 130 after
    Ctrl-C.
    """
    os.environ.setdefault("COLUMNS", "100")
    if not sys.stderr.isatty():  # a log keeps every state of a progress bar
        os.environ.setdefault("TQDM_MININTERVAL", "10")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    arguments = sorted(sys.argv[1:], key=lambda argument: argument != "--debug")  # it may stand anywhere
    try:
        with exit_at_sigterm():
            app(args=arguments, prog_name="bdgan", standalone_mode=True)
    except SystemExit as end:
        if end.code == 130:
            print("bdgan: stopped", file=sys.stderr)
        raise
    except Exception as error:
        if os.environ.get("BDGAN_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        said, code = str(error), 2
        if _is_interrupt(error):
            said, code = "stopped", 130
        elif not isinstance(error, BdganError | OSError):
            from importlib.metadata import metadata

            address = (metadata("bdgan-lib").get_all("Project-URL") or [""])[0].rpartition(", ")[2]
            said, code = f"unexpected {type(error).__name__}: {said[:500]}; please report it at {address}", 1
            said += " with what BDGAN_DEBUG=1 shows"
        print("bdgan:", printable(" ".join(said.split())), file=sys.stderr)  # some errors have many lines
        sys.exit(code)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C led to an error: a library that it reaches in mid-import or a trace raises another."""
    seen, left = set[int](), [error]
    while left:
        error = left.pop()
        if isinstance(error, KeyboardInterrupt):
            return True
        if error is not None and id(error) not in seen:  # `raise ... from` names one error twice
            seen.add(id(error))
            left += [error.__cause__, error.__context__]
    return False
