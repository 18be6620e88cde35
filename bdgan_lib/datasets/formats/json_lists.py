"""A JSON object of long lists that grow on disk, not in memory."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile


class Lists:
    """Lists by name, each in an unnamed temporary file of a folder; `save` joins them in one file."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._files = {name: TemporaryFile("w+", encoding="utf-8", dir=folder) for name in names}  # noqa: SIM115

    def add(self, name: str, record: Mapping[str, object]) -> None:
        """Append a record to a list."""
        file = self._files[name]
        file.write((",\n" if file.tell() else "") + json.dumps(record))

    def save(self, path: Path, head: Mapping[str, object]) -> None:
        """Write an object with the entries of `head`, of which there must be one, then the lists."""
        with path.open("w", encoding="utf-8") as out:
            out.write(json.dumps(head)[:-1])
            for name, file in self._files.items():
                file.seek(0)
                out.write(f',\n"{name}": [')
                shutil.copyfileobj(file, out)
                out.write("]")
                file.close()
            out.write("}\n")
