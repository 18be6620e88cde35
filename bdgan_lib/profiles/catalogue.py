"""The profiles by name; each is imported when it is loaded, so that commands can list them at once."""

from __future__ import annotations  # `Profile` appears in types alone: its modules take seconds to import

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bdgan_lib.core.types import BdganError

if TYPE_CHECKING:
    from bdgan_lib.profiles.profile import Profile


def _pocket() -> Profile:
    from bdgan_lib.profiles.pocket import pocket_profile

    return pocket_profile()


def _pocket_vqgan() -> Profile:
    from bdgan_lib.profiles.pocket import pocket_vqgan_profile

    return pocket_vqgan_profile()


def _imagenet(name: str, size: int, weights: str) -> Profile:
    from bdgan_lib.profiles.imagenet import imagenet_profile

    return imagenet_profile(name, size, weights)


def _imagenet_vqgan() -> Profile:
    from bdgan_lib.profiles.imagenet import imagenet_vqgan_profile

    return imagenet_vqgan_profile()


PROFILES: dict[str, Callable[[], Profile]] = {
    "pocket": _pocket,
    "pocket-vqgan": _pocket_vqgan,
    "imagenet-128": partial(_imagenet, "imagenet-128", 128, "biggan-deep-128"),
    "imagenet-256": partial(_imagenet, "imagenet-256", 256, "biggan-deep-256"),
    "imagenet-512": partial(_imagenet, "imagenet-512", 512, "biggan-deep-512"),
    "release-512": partial(_imagenet, "release-512", 512, "biggan-512"),
    "imagenet-vqgan": _imagenet_vqgan,
}


def load_profile(name: str) -> Profile:
    """The profile of that name, or of a model folder that `bdgan train-generator` wrote.

    Raises:
        BdganError: there is no such profile; the message lists those there are.
    """
    if name in PROFILES:
        return PROFILES[name]()
    if not Path(name).is_dir():
        raise BdganError(f"no profile or model folder {name!r}; there is {', '.join(PROFILES)}")
    from bdgan_lib.profiles.own_model import own_profile

    return own_profile(name)
