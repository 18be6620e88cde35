"""`bdgan`: one subcommand per stage, each a call into the library."""

import os
import sys

# each registers its commands, in the order of the help
from bdgan_lib.cli import networks, datasets, labels, benchmark, weights, tutorial  # noqa: F401  # isort: skip
from bdgan_lib.cli.options import app
from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.core.types import BdganError


def main() -> None:
    """Run the command line; a user's mistake, a damaged file or a full disk is one line and exit code 2."""
    os.environ.setdefault("COLUMNS", "100")
    keep_freed_memory()
    try:
        app(standalone_mode=True)
    except (BdganError, OSError) as error:
        print("bdgan:", *str(error).split(), file=sys.stderr)  # some errors wrap others of many lines
        sys.exit(2)
