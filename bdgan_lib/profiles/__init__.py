"""Profiles: a world of classes with its generator, class scorer and annotations, behind one dataclass."""

from collections.abc import Callable

from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles.imagenet import imagenet_profile, imagenet_vqgan_profile
from bdgan_lib.profiles.pocket import pocket_profile, pocket_vqgan_profile
from bdgan_lib.profiles.profile import Profile

__all__ = ["PROFILES", "Profile", "load_profile"]

PROFILES: dict[str, Callable[[], Profile]] = {
    "pocket": pocket_profile,
    "pocket-vqgan": pocket_vqgan_profile,
    "imagenet-128": lambda: imagenet_profile("imagenet-128", 128, "biggan-deep-128"),
    "imagenet-256": lambda: imagenet_profile("imagenet-256", 256, "biggan-deep-256"),
    "imagenet-512": lambda: imagenet_profile("imagenet-512", 512, "biggan-deep-512"),
    "release-512": lambda: imagenet_profile("release-512", 512, "biggan-512"),
    "imagenet-vqgan": imagenet_vqgan_profile,
}


def load_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        BdganError: there is no such profile; the message lists those there are.
    """
    if name not in PROFILES:
        raise BdganError(f"no profile {name!r}; there is {', '.join(PROFILES)}")
    return PROFILES[name]()
