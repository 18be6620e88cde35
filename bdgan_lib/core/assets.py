"""Where the shipped files are, and where a user's own files go."""

import os
from pathlib import Path

from bdgan_lib.core.types import BdganError

_PACKAGE = Path(__file__).parents[1]
_REPOSITORY = _PACKAGE.parent  # of a checkout; in an installation the folder of all packages


def assets_folder() -> Path:
    """The folder of shipped files: $BDGAN_ASSETS, else in the package, else at the top of a checkout."""
    given = os.environ.get("BDGAN_ASSETS")
    return Path(given) if given else _shipped("assets")


def notebooks_folder() -> Path:
    """The folder of the tutorial's notebooks, inside an installed package or at the top of a checkout."""
    return _shipped("notebooks")


def user_folder(name: str) -> Path:
    """The folder of a kind of file that a user makes, such as "annotations".

    $BDGAN_HOME/name, else beside the assets of a checkout or of $BDGAN_ASSETS, else the system's place for a
    user's data. Never among installed packages.
    """
    if home := os.environ.get("BDGAN_HOME"):
        return Path(home) / name
    if os.environ.get("BDGAN_ASSETS") or _in_checkout():
        return assets_folder().parent / name
    from platformdirs import user_data_path

    return user_data_path("bdgan_lib", appauthor=False) / name


def require_asset(path: Path, sha256: str = "") -> Path:
    """The path of a shipped file itself.

    Args:
        path: of the file.
        sha256: that it must have, for the message.

    Raises:
        BdganError: there is no such file; the line says where it was looked for and how to restore it.
    """
    if not path.is_file():
        expected = f" (expected sha256 {sha256})" if sha256 else ""
        raise BdganError(f"asset {path.name} is missing: looked for {path}{expected}; {restore_hint()}")
    return path


def restore_hint() -> str:
    """What a user does about a shipped file that is missing or damaged."""
    if os.environ.get("BDGAN_ASSETS"):
        return "BDGAN_ASSETS names this folder: unset it, or put the file there"
    if _in_checkout():
        return "restore it from the repository: git checkout assets"
    return "install the package again: pip install --force-reinstall --no-deps bdgan-lib"


def _in_checkout() -> bool:
    return (_REPOSITORY / "pyproject.toml").is_file() and not (_PACKAGE / "assets").is_dir()


def _shipped(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _REPOSITORY / name
