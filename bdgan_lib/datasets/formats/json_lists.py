"""A JSON object of long lists that grow on the disk, not in memory."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any


class Lists:
    """Lists under their names, in nameless files of a folder; `save` puts them into one file."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._files = {name: TemporaryFile("w+", encoding="utf-8", dir=folder) for name in names}  # noqa: SIM115

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Append to a list."""
        file = self._files[name]
        file.write((",\n" if file.tell() else "") + json.dumps(record))

    def save(self, path: Path, head: dict[str, Any]) -> None:
        """Write `head`, which must have an entry, and behind its entries the lists."""
        with path.open("w", encoding="utf-8") as out:
            out.write(json.dumps(head)[:-1])
            for name, file in self._files.items():
                file.seek(0)
                out.write(f',\n"{name}": [')
                shutil.copyfileobj(file, out)
                out.write("]")
                file.close()
            out.write("}\n")
