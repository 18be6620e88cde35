"""Sending a data set, a label head or a generator to the Hub, in one commit."""

from __future__ import annotations  # huggingface_hub is named in types alone

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdgan_lib.core.io import local_path
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD
from bdgan_lib.hub.content import Content, read_content
from bdgan_lib.hub.errors import hub_errors, require_name
from bdgan_lib.hub.model_card import model_card
from bdgan_lib.hub.names import MAIN, REPO_TYPES
from bdgan_lib.hub.remote import Remote, is_same, look_up

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AT_ONCE = 16  # files that are sent before the next are begun


def push(
    folder: str | Path,
    repo: str,
    *,
    revision: str = MAIN,
    private: bool = False,
    message: str = "",
    force: bool = False,
    say: Callable[[str], object] = print,
) -> str:
    """Send a folder to a repository of the Hub, made if it does not exist, and return the commit's full id.

    Large files are sent first, one commit comes last: the repository holds all of the folder or nothing of
    it. After an interruption the same call sends what is missing. What is there already stays as it is.

    Args:
        folder: what `bdgan synthesize`, `bdgan train-head` or `bdgan train-generator` wrote.
        repo: the repository's name, user/name.
        revision: the branch to write to, made if it does not exist.
        private: nobody else may see the repository.
        message: of the commit.
        force: replace what else the branch holds; its history keeps that.
        say: receives lines of progress.

    Raises:
        BdganError: the folder is not whole, the token is missing or may not write, the branch holds something
            else, the repository is public although `private` is set, or the Hub cannot be reached.
    """
    require_name(repo)
    content = read_content(local_path(folder))
    with hub_errors(repo, "what was sent so far is kept there"):
        from huggingface_hub import HfApi, get_token

        if get_token() is None:
            raise BdganError("no token for the Hub; `hf auth login` or HF_TOKEN sets one that may write")
        api, files = HfApi(library_name="bdgan_lib"), _files(content, repo)
        remote = _open(api, repo, REPO_TYPES[content.kind], revision, private)
        same = {name for name, entry in remote.files.items() if name in files and is_same(entry, files[name])}
        others = sorted(remote.files.keys() - same)
        if others and not force:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise BdganError(
                f"{repo} holds something else at {revision}: {others[0]}{more}; give another name or "
                "revision, or --force to replace it (the repository's history keeps it)"
            )
        if content.left_out:
            say(f"stays here: {', '.join(content.left_out)}")
        if same == files.keys() == remote.files.keys():
            return remote.commit
        missing = {name: files[name] for name in files if name not in same}
        surplus = [name for name in others if name not in files]
        return _commit(api, remote, missing, surplus, message or f"Send a {content.kind} of bdgan_lib", say)


def _files(content: Content, repo: str) -> dict[str, Path | bytes]:
    """What the repository is to hold, by name."""
    files: dict[str, Path | bytes] = {name: content.folder / name for name in content.files}
    if CARD not in files:  # a card of the user's goes as it is
        files[CARD] = model_card(content.folder, content.kind, repo)
    return files


def _open(api: HfApi, repo: str, repo_type: str, revision: str, private: bool) -> Remote:
    """The repository at the branch's commit; both are made if they do not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        remote = look_up(api, repo, repo_type, revision)
    except RevisionNotFoundError:
        api.create_branch(repo, repo_type=repo_type, branch=revision, exist_ok=True)
        remote = look_up(api, repo, repo_type, revision)
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type=repo_type, private=private, exist_ok=True)
        if revision != MAIN:
            api.create_branch(repo, repo_type=repo_type, branch=revision, exist_ok=True)
        remote = look_up(api, repo, repo_type, revision)
    if private and not remote.private:
        raise BdganError(f"{repo} is public; make it private on its page, or leave --private out")
    return remote


def _commit(
    api: HfApi,
    remote: Remote,
    files: Mapping[str, Path | bytes],
    surplus: list[str],
    message: str,
    say: Callable[[str], object],
) -> str:
    """Send files, then commit them and the removal of others; return the commit's id."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [CommitOperationAdd(name, content) for name, content in files.items()]
    for first in range(0, len(additions), AT_ONCE):
        some = additions[first : first + AT_ONCE]
        api.preupload_lfs_files(
            remote.repo, some, repo_type=remote.repo_type, revision=remote.revision, free_memory=False
        )
        if len(additions) > AT_ONCE:
            say(f"{min(first + AT_ONCE, len(additions))} of {len(additions)} files are there")
    info = api.create_commit(
        remote.repo,
        [*additions, *(CommitOperationDelete(name, is_folder=False) for name in surplus)],
        commit_message=message,
        repo_type=remote.repo_type,
        revision=remote.revision,
        parent_commit=remote.commit,
    )
    return str(info.oid)
