"""Errors of the Hub and of the way to it, as one line each."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from bdgan_lib.core.types import BdganError


class Unreachable(BdganError):
    """The Hub does not answer; what was fetched before may do."""


_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_NETWORK = ("httpx", "httpx2", "httpcore", "requests", "urllib3")  # which one depends on huggingface_hub
_SAID = {
    401: "the Hub does not accept the token; make another at https://huggingface.co/settings/tokens",
    403: "the token may not do that; `hf auth login` or HF_TOKEN sets one that may write for {user}",
    409: "somebody else is changing it; run the same command again",
    412: "somebody else has changed it meanwhile; look at it, and run the same command again",
    413: "the Hub takes no file so large",
    429: "the Hub asks for a pause; wait some minutes, and run the same command again",
}


def require_name(repo: str) -> str:
    """The name of a repository, if it is one.

    Raises:
        BdganError: it is not user/name.
    """
    user, slash, name = repo.partition("/")
    if not slash or not all(_NAME.fullmatch(part) and ".." not in part for part in (user, name)):
        raise BdganError(f"expected a repository as user/name, got {repo!r:.100}")
    return repo


@contextmanager
def hub_errors(repo: str, kept: str) -> Iterator[None]:
    """Turn errors of the Hub, the network and the disk into one line each.

    Args:
        repo: the repository's name.
        kept: what is kept for the next time.

    Raises:
        BdganError: in place of each such error.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise BdganError(f"{error}; the Hub needs it: pip install 'bdgan-lib[hub]'") from error
    try:
        yield
    except BdganError:
        raise
    except Exception as error:
        causes = [error]
        while len(causes) < 10 and (cause := causes[-1].__cause__ or causes[-1].__context__):
            causes.append(cause)  # type: ignore[arg-type]
        for cause in causes:
            if plain := _plain(cause, repo, kept):
                raise plain from error
        raise


def _plain(error: BaseException, repo: str, kept: str) -> BdganError | None:
    """What an error of the Hub, the network or the disk means; None for any other."""
    from huggingface_hub import constants, errors

    again = "run the same command again"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Unreachable(f"HF_HUB_OFFLINE is set, so {repo} cannot be reached; unset it, and {again}")
    if isinstance(error, errors.HFValidationError):
        return BdganError(
            f"{repo}: expected a name of the Hub, user/name ({' '.join(str(error).split()):.200})"
        )
    if isinstance(error, errors.GatedRepoError):
        return BdganError(f"{repo}: its owner gives access on request; ask for it on the repository's page")
    if isinstance(error, errors.RevisionNotFoundError):
        return BdganError(f"{repo} has no such revision; give a branch, a tag or a commit of it")
    if isinstance(error, errors.RepositoryNotFoundError):
        return BdganError(
            f"{repo} does not exist, or is private and the token may not see it; `hf auth login` sets one"
        )
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status >= 500:
            return Unreachable(f"{repo}: the Hub failed (status {status}); {kept}: {again} later")
        if status in _SAID:
            return BdganError(f"{repo}: {_SAID[status].format(user=repo.partition('/')[0])}")
        said = error.server_message or str(error)
        return BdganError(f"{repo}: the Hub refused with status {status}: {said:.200}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = error.filename or "it"
        return BdganError(f"the disk is full ({place}); {kept}: make space, and {again}")
    if type(error).__module__.partition(".")[0] in _NETWORK or isinstance(error, ConnectionError):
        return Unreachable(
            f"{repo}: no connection to {constants.ENDPOINT} ({type(error).__name__}); {kept}: check the "
            f"network, and {again}"
        )
    return None
