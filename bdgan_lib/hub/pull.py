"""Fetching a data set, a label head or a generator from the Hub, at one commit and without code."""

from __future__ import annotations  # huggingface_hub is named in types alone

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bdgan_lib.core.io import check_output, local_path, require_new_path
from bdgan_lib.core.model_files import read_json, write_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import ORIGIN
from bdgan_lib.hub.content import belongs, is_plain_name, kind_of, load_content
from bdgan_lib.hub.errors import hub_errors, require_name
from bdgan_lib.hub.names import KINDS, MAIN, REPO_TYPES, Kind
from bdgan_lib.hub.remote import Remote, is_same, look_up

if TYPE_CHECKING:
    from huggingface_hub import HfApi

UNSAFE = {  # pickles, and what a machine runs
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".npy", ".npz", ".h5", ".keras",
    ".py", ".pyc", ".pyd", ".ipynb", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".jar", ".whl",
}  # fmt: skip


def pull(
    repo: str,
    folder: str | Path,
    *,
    revision: str = MAIN,
    kind: Kind | None = None,
    say: Callable[[str], object] = print,
) -> str:
    """Fetch a repository of the Hub into a new folder and return the full id of the commit that it holds.

    A branch is resolved to its commit first, and `hub.json` in the folder records it. Each file is compared
    with the hash that the repository states, then the whole is read as what it is. The folder appears at the
    end. After an interruption the same call goes on with the files that are missing.

    Args:
        repo: the repository's name, user/name.
        folder: a new folder, or one that holds this commit already.
        revision: a branch, a tag or a commit.
        kind: set, head or model; None: what there is of this name.
        say: receives lines of progress.

    Raises:
        BdganError: there is no such repository or revision, it holds pickles or code (nothing is fetched), or
            is nothing of this library, it cannot be reached, a file is damaged, the disk is too small, or the
            folder holds something else, be it another commit of the same branch.
    """
    folder, hub = local_path(folder), require_name(repo)
    check_output(folder)
    with hub_errors(hub, "what was fetched so far is kept"):
        from huggingface_hub import HfApi

        api = HfApi(library_name="bdgan_lib")
        return fetch(api, resolve(api, hub, revision, kind), folder, kind, say)


def resolve(api: HfApi, repo: str, revision: str, kind: Kind | None) -> Remote:
    """The repository of that name, data set or model, at the commit that the revision has now.

    Raises:
        BdganError: the kind is unknown, or a data set and a model both have the name.
        HfHubHTTPError: there is none.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    if kind is not None and kind not in KINDS:
        raise BdganError(f"expected a kind of {', '.join(KINDS)}, got {kind!r:.100}")
    types = [REPO_TYPES[kind]] if kind else sorted({*REPO_TYPES.values()})
    remotes, missing = list[Remote](), list[RepositoryNotFoundError]()
    for repo_type in types:
        try:
            remotes.append(look_up(api, repo, repo_type, revision))
        except RepositoryNotFoundError as error:
            missing.append(error)
    if not remotes:
        raise missing[0]
    if len(remotes) > 1:
        raise BdganError(f"{repo} is a data set and a model; say which: --kind set, head or model")
    return remotes[0]


def fetch(
    api: HfApi, remote: Remote, folder: Path, kind: Kind | None, say: Callable[[str], object] = print
) -> str:
    """Fetch a repository at its commit into a new folder (see `pull`) and return the commit."""
    record = {
        "repo": remote.repo,
        "type": remote.repo_type,
        "revision": remote.revision,
        "commit": remote.commit,
    }
    if (folder / ORIGIN).is_file():
        _require_same(
            folder, record, f"give --revision {{}} to keep it, or another folder for {remote.commit}"
        )
        return remote.commit
    require_new_path(folder)
    kind, names = _parts(remote, kind)
    part = folder.with_name(f".{folder.name}.part")
    if part.exists():
        _require_same(part, record, f"give --revision {{}} to go on with it, or remove {part}")
    needed = sum(remote.files[name].size for name in names if not (part / name).exists())
    if needed > (free := shutil.disk_usage(folder.parent).free):
        raise BdganError(
            f"{remote.repo}: expected {needed:,} free bytes for {folder}, got {free:,}; make space"
        )
    if not part.exists():
        part.mkdir()
        write_json(part / ORIGIN, record)
    say(f"{remote.repo} at {remote.commit}: {len(names)} files, {needed:,} bytes to fetch")
    for name in names:
        api.hf_hub_download(
            remote.repo, name, repo_type=remote.repo_type, revision=remote.commit, local_dir=part
        )
        if (part / name).is_symlink() or not is_same(remote.files[name], part / name):
            (part / name).unlink()
            raise BdganError(f"{remote.repo}: {name} arrived damaged; run the same command again")
    try:
        load_content(part, kind)
    except (OSError, MemoryError, ImportError):  # of this machine: the files are kept
        raise
    except Exception as error:  # whatever hostile content leads to
        shutil.rmtree(part)
        raise BdganError(f"{remote.repo} was not whole when it was pushed: {error}") from error
    shutil.rmtree(part / ".cache", ignore_errors=True)  # huggingface_hub's records of the download
    part.rename(folder)
    return remote.commit


def _parts(remote: Remote, kind: Kind | None) -> tuple[Kind, list[str]]:
    """The kind of a repository, and the names of its files that belong to it."""
    unsafe = sorted(path for path in remote.files if PurePosixPath(path).suffix.lower() in UNSAFE)
    if unsafe:
        raise BdganError(
            f"{remote.repo} holds {unsafe[0]!r:.100}, which could run code; nothing was fetched: ask its "
            "owner for safetensors and JSON alone"
        )
    there = kind_of(remote.files)
    if there is None or (kind or there) != there or REPO_TYPES[there] != remote.repo_type:
        raise BdganError(
            f"{remote.repo}: expected a {kind or 'set, head or model'} of `bdgan push`, got "
            + (f"a {there} in a {remote.repo_type} repository" if there else "no file of one")
        )
    names = sorted(name for name in remote.files if "/" not in name and belongs(there, name))
    if strange := [name for name in names if not is_plain_name(name)]:
        raise BdganError(
            f"{remote.repo} holds {strange[0]!r:.100}, which is no plain file name; nothing was fetched: ask "
            "its owner to rename it"
        )
    return there, names


def _require_same(folder: Path, record: dict[str, str], remedy: str) -> None:
    """Raise unless a folder's record is that of the same repository and commit."""
    earlier = read_json(folder / ORIGIN, "give another folder")
    commit = str(earlier.get("commit"))
    if (earlier.get("repo"), earlier.get("type")) != (record["repo"], record["type"]):
        raise BdganError(
            f"{folder} holds {earlier.get('repo')!r:.100}, not {record['repo']}; give another folder"
        )
    if commit != record["commit"]:
        raise BdganError(
            f"{folder} holds commit {commit} of {record['repo']}, and {record['revision']} is "
            f"{record['commit']} now; {remedy.format(commit)}"
        )
