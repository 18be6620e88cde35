"""Files that ship with the project: each is compared with its recorded sha256 before it is used."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bdgan_lib.core.assets import require_asset, restore_hint
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.types import BdganError


@dataclass(frozen=True)
class ShippedFiles:
    """A folder of files whose sha256 values stand in its manifest.json; names are relative to it."""

    folder: Path

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Recorded sha256 by file name.

        Raises:
            BdganError: the manifest is missing or cannot be read.
        """
        path = require_asset(self.folder / "manifest.json")
        try:
            return {str(name): str(digest) for name, digest in json.loads(path.read_text("utf-8")).items()}
        except (ValueError, AttributeError) as error:
            raise BdganError(f"asset {path} is damaged ({error}); {restore_hint()}") from error

    def path(self, name: str, *more: str) -> Path:
        """The path of a file after it, and `more` files that are read with it, were verified.

        Raises:
            BdganError: a file is missing, damaged or not in the manifest.
        """
        for file in (name, *more):
            expected = self.hashes.get(file, "none recorded")
            path = require_asset(self.folder / file, expected)
            actual = sha256_of(path)
            if actual != expected:
                raise BdganError(
                    f"asset {path} is damaged: expected sha256 {expected}, got {actual}; {restore_hint()}"
                )
        return self.folder / name

    def read_json(self, name: str) -> Any:
        """The content of a verified JSON file."""
        return json.loads(self.path(name).read_text("utf-8"))

    def verify(self) -> int:
        """Verify every recorded file and return how many there are."""
        for name in self.hashes:
            self.path(name)
        return len(self.hashes)


def record_assets(folder: Path) -> None:
    """Write the manifest of a folder of shipped files: the last step after a recipe has made new ones."""
    files = sorted(p for p in folder.rglob("[!.]*") if p.is_file() and p.name != "manifest.json")
    write_json(folder / "manifest.json", {p.relative_to(folder).as_posix(): sha256_of(p) for p in files})
