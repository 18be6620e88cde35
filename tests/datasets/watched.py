"""`python watched.py FOLDER OUT` reads all sets and pictures of a folder and prints what was done meanwhile.

As JSON: the programs that were started, files opened outside both folders other than Python's own, the Pillow
plugins that were loaded, and which reader took which set.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from bdgan_lib.core.image_codecs import read_image
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import write_card
from bdgan_lib.datasets.formats.export import EXPORTS, export_set
from bdgan_lib.datasets.iterable import LabelledShards
from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.datasets.validate import validate


def export(folder: Path, format: str, out: Path) -> None:
    export_set(ShardedSet(folder), out, format, progress=False)


def readers(out: Path) -> dict:
    """Everything that reads a set, by name; each raises a BdganError, but `validate` returns findings."""
    return {
        "validate": lambda folder: validate(folder, progress=False),
        "set": lambda folder: list(ShardedSet(folder)),
        "arrays": lambda folder: ShardedSet(folder).arrays(),
        "stream": lambda folder: list(LabelledShards(ShardedSet(folder), seed=0)),
        "describe": lambda folder: write_card(folder, progress=False),
        **{
            f"export to {format}": lambda folder, format=format: export(
                folder, format, out / format / folder.name
            )
            for format in EXPORTS
        },
    }


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    hostile = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    import datasets  # noqa: F401 (imports open what they like)
    import pyarrow.parquet  # noqa: F401

    (out / "here").mkdir()
    os.chdir(out / "here")
    programs, opened = [], []
    inside = tuple(map(str, (folder, out)))

    def watch(event: str, arguments: tuple) -> None:
        if event.startswith(("subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.spawn")):
            programs.append(f"{event} {arguments}")
        path = arguments[0] if event == "open" else None
        if (
            isinstance(path, str)
            and not path.startswith(inside)
            and not path.endswith((".py", ".pyc", ".so"))
        ) and "/" in path:  # others are relative, to a folder that is being removed or to this one
            opened.append(path)

    sys.addaudithook(watch)
    taken = []
    for path in hostile:
        for name, read in readers(out).items():
            try:
                if name != "validate" or not read(path):
                    read(path)
                    taken.append(f"{name} took {path.name}")
            except BdganError:
                pass
    for path in sorted(folder.glob("*.picture")):
        with suppress(BdganError):
            read_image(path)
    plugins = sorted(
        name.partition(".")[2] for name in sys.modules if name.startswith("PIL.") and "Plugin" in name
    )
    print(
        json.dumps({"programs": programs, "opened": sorted(set(opened)), "plugins": plugins, "taken": taken})
    )


if __name__ == "__main__":
    main()
