"""`bdgan`: one subcommand per stage, each a call into the library."""

import io
import os
import sys
import traceback

from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.core.types import BdganError

try:  # each registers its commands, in the order of the help
    from bdgan_lib.cli import networks, train_generator, datasets, labels, benchmark, weights, tutorial  # noqa: F401  # isort: skip
    from bdgan_lib.cli.options import app
except KeyboardInterrupt:  # before `main` can say so
    sys.exit(130)


def main() -> None:
    """Run the command line; every error is one line, with its traceback after `--debug` or BDGAN_DEBUG=1.

    Exit codes: 2 for a user's mistake, a damaged file or a full disk; 1 for a fault of the project; 130 after
    Ctrl-C.
    """
    os.environ.setdefault("COLUMNS", "100")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    arguments = sorted(sys.argv[1:], key=lambda argument: argument != "--debug")  # it may stand anywhere
    try:
        app(args=arguments, standalone_mode=True)
    except SystemExit as end:
        if end.code == 130:
            print("bdgan: stopped", file=sys.stderr)
        raise
    except Exception as error:
        if os.environ.get("BDGAN_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        said, code = str(error), 2
        if not isinstance(error, BdganError | OSError):
            from importlib.metadata import metadata

            address = (metadata("bdgan-lib").get_all("Project-URL") or [""])[0].rpartition(", ")[2]
            said, code = f"unexpected {type(error).__name__}: {said[:500]}; please report it at {address}", 1
            said += " with what BDGAN_DEBUG=1 shows"
        print("bdgan:", *said.split(), file=sys.stderr)  # some errors wrap others of many lines
        sys.exit(code)
