"""Profiles: a world of classes with its generator, judges and annotations, behind one interface."""

from collections.abc import Callable

from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles.image_folder import load_photographs
from bdgan_lib.profiles.imagenet import ImageNetProfile, ImageNetVQGANProfile
from bdgan_lib.profiles.pocket import PocketProfile, PocketVQGANProfile, record_assets
from bdgan_lib.profiles.profile import Profile, evenly_spaced

__all__ = [
    "PROFILES",
    "Profile",
    "assets_folder",
    "evenly_spaced",
    "load_photographs",
    "load_profile",
    "record_assets",
]

PROFILES: dict[str, Callable[[], Profile]] = {
    "pocket": PocketProfile,
    "pocket-vqgan": PocketVQGANProfile,
    "imagenet-128": lambda: ImageNetProfile("imagenet-128", 128, "biggan-deep-128"),
    "imagenet-256": lambda: ImageNetProfile("imagenet-256", 256, "biggan-deep-256"),
    "imagenet-512": lambda: ImageNetProfile("imagenet-512", 512, "biggan-deep-512"),
    "release-512": lambda: ImageNetProfile("release-512", 512, "biggan-512"),
    "imagenet-vqgan": ImageNetVQGANProfile,
}


def load_profile(name: str) -> Profile:
    """The profile of that name; BdganError lists the names there are."""
    if name not in PROFILES:
        raise BdganError(f"no profile {name!r}; there is {', '.join(PROFILES)}")
    return PROFILES[name]()
