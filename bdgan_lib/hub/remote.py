"""A repository of the Hub at one commit: its files, and whether a file here is the same."""

from __future__ import annotations  # huggingface_hub is named in types alone

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bdgan_lib.core.types import BdganError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

SETTINGS = (".gitattributes", ".gitignore")  # git's, which the Hub adds by itself
COMMIT = re.compile("[0-9a-f]{40}")
_BLOCK = 1 << 20
_AGAIN = "run the same command again later"


@dataclass(frozen=True)
class Remote:
    """A repository at one commit."""

    repo: str
    repo_type: str  # dataset or model
    revision: str  # the branch, tag or commit that was asked for
    commit: str  # the full id of its commit
    private: bool = False
    files: Mapping[str, RepoFile] = field(default_factory=dict)  # by path, without git's settings


def look_up(api: HfApi, repo: str, repo_type: str, revision: str) -> Remote:
    """A repository at the commit that a branch or tag has now.

    Raises:
        BdganError: the Hub's answer is none of its answers.
        HfHubHTTPError: there is no such repository or revision.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.hf_api import RepoFile

    try:
        info = api.repo_info(repo, repo_type=repo_type, revision=revision)
        commit = str(info.sha)
        tree = api.list_repo_tree(repo, repo_type=repo_type, revision=commit, recursive=True)
        files = {f.path: f for f in tree if isinstance(f, RepoFile) and f.path not in SETTINGS}
    except HFValidationError:
        raise
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:  # huggingface_hub reads without checks
        raise BdganError(f"{repo}: the Hub's answer cannot be read ({error!r:.100}); {_AGAIN}") from error
    if not COMMIT.fullmatch(commit):
        raise BdganError(f"{repo}: expected a commit from the Hub, got {commit!r:.100}; {_AGAIN}")
    for path, entry in files.items():
        digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
        if not (
            isinstance(path, str) and type(entry.size) is int and entry.size >= 0 and isinstance(digest, str)
        ):
            raise BdganError(
                f"{repo}: expected path, size and hash of each file from the Hub, got {path!r:.100} with "
                f"size {entry.size!r:.100} and hash {digest!r:.100}; {_AGAIN}"
            )
    return Remote(repo, repo_type, revision, commit, bool(info.private), files)


def is_same(entry: RepoFile, content: Path | bytes) -> bool:
    """Whether a file here has the bytes of one in a repository, by the hash that git or LFS keeps."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size != entry.size:
        return False
    digest = sha256() if entry.lfs else sha1(b"blob %d\0" % size, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with content.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest() == (entry.lfs.sha256 if entry.lfs else entry.blob_id)
