"""A data set, a label head or a generator of the Hub by its name, fetched once and pinned to a commit."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from bdgan_lib.checkpoints.download import cache_folder
from bdgan_lib.core.model_files import read_json, write_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ORIGIN, ShardedSet
from bdgan_lib.hub.content import kind_of, load_content
from bdgan_lib.hub.errors import Unreachable, hub_errors, require_name
from bdgan_lib.hub.names import MAIN, REPO_TYPES, Kind
from bdgan_lib.hub.pull import fetch, resolve
from bdgan_lib.hub.remote import COMMIT

if TYPE_CHECKING:
    from bdgan_lib.heads.base import Head
    from bdgan_lib.profiles.profile import Profile

PINS = "pins.json"  # revision -> its commit when it was first fetched


@overload
def from_hub(repo: str, revision: str = ..., *, kind: Literal["set"]) -> ShardedSet: ...
@overload
def from_hub(repo: str, revision: str = ..., *, kind: Literal["head"]) -> "Head": ...
@overload
def from_hub(repo: str, revision: str = ..., *, kind: Literal["model"]) -> "Profile": ...
@overload
def from_hub(repo: str, revision: str = ..., *, kind: None = ...) -> "ShardedSet | Head | Profile": ...


def from_hub(repo: str, revision: str = MAIN, *, kind: Kind | None = None) -> "ShardedSet | Head | Profile":
    """Return the data set, the label head or the generator's profile in a repository of the Hub.

    It is fetched once, into the folder of `bdgan weights` (BDGAN_CACHE). With a full commit as revision the
    Hub is not asked again. A branch is pinned to the commit that it had at the first call: if it has moved
    since, this is an error, which names both commits.

    Args:
        repo: the repository's name, user/name.
        revision: a commit, a tag or a branch.
        kind: set, head or model; None: what there is of this name.

    Raises:
        BdganError: as `pull`, or the branch has moved.
    """
    from filelock import FileLock

    place = cache_folder() / "hub" / require_name(repo).replace("/", "--")
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):  # several processes of one training
        folder = _fetched(repo, revision, kind, place)
    there = kind_of([path.name for path in folder.iterdir()])
    if there is None or (kind or there) != there:
        raise BdganError(
            f"{folder}: expected a {kind or 'set, head or model'}, got {there or 'nothing of one'}"
        )
    return load_content(folder, there)


def _fetched(repo: str, revision: str, kind: Kind | None, place: Path) -> Path:
    """The folder of the revision's commit, which may be there already."""
    pins = read_json(place / PINS, "remove it") if (place / PINS).exists() else {}
    name = f"{REPO_TYPES[kind]} {revision}" if kind else revision
    pinned = revision if COMMIT.fullmatch(revision) else str(pins.get(name) or "none")
    if pinned == revision and (place / pinned).is_dir():
        return place / pinned
    try:
        with hub_errors(repo, "what was fetched so far is kept"):
            from huggingface_hub import HfApi

            api = HfApi(library_name="bdgan_lib")
            remote = resolve(api, repo, revision, kind)
            if pinned not in ("none", remote.commit):
                raise BdganError(
                    f"{revision} of {repo} was commit {pinned} when it was first loaded here, and is "
                    f"{remote.commit} now; give one of the two as revision"
                )
            if not (place / remote.commit).is_dir():
                fetch(api, remote, place / remote.commit, kind, lambda _: None)
    except Unreachable:
        if (place / pinned / ORIGIN).is_file():
            return place / pinned
        raise
    write_json(place / PINS, {**pins, name: remote.commit})
    return place / remote.commit
