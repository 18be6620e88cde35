"""The set-up of a notebook, one call in its first cell."""

from bdgan_lib.core.malloc import keep_freed_memory
from bdgan_lib.notebook.inline import describe_figures


def set_up() -> None:
    """Let the process keep freed memory, and show figures inline as JPEG with an alternative text."""
    keep_freed_memory()
    describe_figures()
