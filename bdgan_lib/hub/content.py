"""What goes to the Hub: a data set, a label head or a generator, its files, and whether they are whole."""

from __future__ import annotations  # `Head` and `Profile` appear in types alone: torch takes a second

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT
from bdgan_lib.datasets.shards import CALIBRATION, DROPPED, MANIFEST, ORIGIN, ShardedSet
from bdgan_lib.hub.names import Kind

if TYPE_CHECKING:
    from bdgan_lib.heads.base import Head
    from bdgan_lib.profiles.profile import Profile

_FIRST: dict[Kind, str] = {"set": MANIFEST, "head": "head.json", "model": "model.json"}  # tells the kind
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "set": (".tar", DROPPED),
    "head": (".safetensors",),
    "model": (".safetensors", ".json", ".csv", ".png"),
}
_TEXTS = (CARD, CROISSANT, CALIBRATION)


@dataclass(frozen=True)
class Content:
    """A folder that goes to the Hub."""

    kind: Kind
    folder: Path
    files: tuple[str, ...]  # names of those that go there
    left_out: tuple[str, ...]  # names of those that stay here


def kind_of(names: Collection[str]) -> Kind | None:
    """What the files of a folder or a repository are, None if it is nothing of this library."""
    kinds = [kind for kind, name in _FIRST.items() if name in names]
    return kinds[0] if len(kinds) == 1 else None


def belongs(kind: Kind, name: str) -> bool:
    """Whether a file of this name is a part of such a folder."""
    return name in (*_TEXTS, _FIRST[kind]) or name.endswith(_SUFFIXES[kind])


def is_plain_name(name: str) -> bool:
    """Whether every system takes this as the name of one file, and a terminal shows it."""
    return (
        name.isprintable()
        and len(name.encode("utf-8", "replace")) <= 200
        and not set(name) & set('\\/:*?"<>|')
    )


def read_content(folder: Path) -> Content:
    """Find out what a folder holds, and read all of it once.

    Raises:
        BdganError: it is nothing that goes to the Hub, or a file is missing or damaged.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (kind := kind_of(names)) is None:
        raise BdganError(
            f"{folder}: expected a finished folder of `bdgan synthesize` (with {_FIRST['set']}), of "
            f"`bdgan train-head` ({_FIRST['head']}) or of `bdgan train-generator` ({_FIRST['model']})"
        )
    files = tuple(name for name in names if belongs(kind, name) and (folder / name).is_file())
    if kind == "set" and "configs:" not in _front_matter(folder / CARD):
        raise BdganError(
            f"{folder / CARD} does not say which files hold the samples; `bdgan describe {folder}` writes it"
        )
    if strange := [name for name in files if not is_plain_name(name)]:
        raise BdganError(f"{folder} holds {strange[0]!r:.100}, which is no plain file name; rename it")
    load_content(folder, kind)
    return Content(kind, folder, files, tuple(n for n in names if n not in (*files, ORIGIN)))


def load_content(folder: Path, kind: Kind) -> ShardedSet | Head | Profile:
    """Read a folder of that kind, and check that each of its parts is whole.

    Raises:
        BdganError: a file is missing or damaged.
    """
    if kind == "set":
        data = ShardedSet(folder)
        data.verify()
        return data
    if kind == "head":
        from bdgan_lib.heads.files import load_head

        return load_head(folder)
    from bdgan_lib.profiles.own_model import own_profile

    profile = own_profile(folder)
    profile.generator()
    profile.require("load_classifier")()
    return profile


def _front_matter(path: Path) -> str:
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    return text.split("---\n")[1] if text.startswith("---\n") and text.count("---\n") > 1 else ""
