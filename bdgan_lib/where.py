"""`%%where CONDITION  # what it shows`: a cell that runs only where its condition holds.

    %load_ext bdgan_lib.where

Some cells need what only a drawn world has, exact masks or an oracle. Their first line says so; on another
profile they print what is left out. Without the comment they are left out silently.
"""

import ast
from typing import Any

from bdgan_lib.core.types import BdganError


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext`; shell: IPython's."""

    def where(line: str, cell: str) -> Any:
        condition, _, what = (part.strip() for part in line.partition("#"))
        if not condition:
            raise BdganError("%%where came without a condition; write %%where profile.exact  # what it shows")
        if eval(condition, shell.user_ns):
            return _run(shell, cell)
        if what:
            print("left out:", what)
        return None

    shell.register_magic_function(where, "cell", "where")


def _run(shell: Any, cell: str) -> Any:
    """Run a cell's text as IPython does: its last expression is what it shows, unless a semicolon ends it."""
    text = shell.transform_cell(cell)
    name = shell.compile.cache(text, shell.execution_count)  # for the lines of a traceback
    tree = shell.compile.ast_parse(text, filename=name)
    shows = tree.body and isinstance(tree.body[-1], ast.Expr) and not cell.rstrip().endswith(";")
    last = tree.body.pop() if shows else None
    exec(compile(tree, name, "exec"), shell.user_ns)
    return eval(compile(ast.Expression(last.value), name, "eval"), shell.user_ns) if last else None
