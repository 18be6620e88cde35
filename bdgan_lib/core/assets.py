"""Where the shipped files are."""

import os
from pathlib import Path


def assets_folder() -> Path:
    """Where the shipped files are: $BDGAN_ASSETS, else `assets/` beside the package."""
    return Path(os.environ.get("BDGAN_ASSETS") or Path(__file__).parents[2] / "assets")
