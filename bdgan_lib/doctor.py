"""What this machine has, what a profile will cost on it, and what to do next."""

import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from bdgan_lib import __version__
from bdgan_lib.checkpoints import download
from bdgan_lib.core.precision import bf16_is_fast
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.training_data import feature_bytes, free_disk
from bdgan_lib.profiles import Profile

_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pytorch-pretrained-biggan",
    "safetensors",
    "pooch",
    "jupyterlab",
)


def checkup(profile: Profile, batch_size: int = 8) -> Iterator[str]:
    """Lines for people: versions, device, memory, disk, costs of the profile here, weights, the next step."""
    yield f"bdgan_lib {__version__} on Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield "packages: " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    name = torch.cuda.get_device_name() if device == "cuda" else f"{psutil.cpu_count()} CPU cores"
    bf16 = "fast" if bf16_is_fast(device) else "slow"
    yield f"device: {name}, {free / 1e9:.1f} GB free; bfloat16 is {bf16} on it"
    folder = download.cache_folder()
    yield f"disk: {free_disk(folder) / 1e9:.1f} GB free at {folder}"

    flops, size, features = generator_costs(profile)
    rate = _flops_per_second(device)
    needed = size + batch_size * 4 * features
    yield (
        f"profile {profile.name}: {flops / 1e9:.1f} GFLOP and {features / 1e6:.0f} MB of features per image, "
        f"{size / 1e6:.0f} MB of weights"
    )
    yield (
        f"estimate here: {needed / 1e9:.1f} GB for batches of {batch_size}, "
        f"up to {rate / flops:.3g} images/s ({rate / 1e9:.0f} GFLOP/s measured)"
        + ("" if needed < free else "; this does NOT fit: take a smaller batch or profile")
    )
    yield from _files(profile)


def generator_costs(profile: Profile) -> tuple[float, int, int]:
    """(FLOP per image, bytes of weights, bytes of features per image), without reading any weights."""
    generator = profile.generator("meta")
    with FlopCounterMode(display=False) as counter:
        generator.trace(torch.tensor([0]))
    return counter.get_total_flops(), generator.weight_bytes, feature_bytes(generator.blocks, 1)


def _flops_per_second(device: str, seconds: float = 0.5) -> float:
    """Of a typical convolution, for half a second."""
    x, weight = torch.randn(4, 128, 64, 64, device=device), torch.randn(128, 128, 3, 3, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    F.conv2d(x, weight)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        F.conv2d(x, weight)
        if device == "cuda":
            torch.cuda.synchronize()
        count += 1
    return count * 2 * 9 * 128 * 128 * 4 * 62 * 62 / (time.perf_counter() - start)


def _files(profile: Profile) -> Iterator[str]:
    missing = []
    for entry in profile.weights:
        try:
            ready = download.cached_safetensors(entry, profile.folder) is not None
            state = "ready" if ready else "not here"
        except BdganError as error:
            ready, state = False, str(error)
        missing += [] if ready else [entry.name]
        size = f", {entry.size / 1e6:.0f} MB" if entry.size else ""
        yield f"weights {entry.name}{size}: {state}; licence: {entry.licence}"
    if not missing:
        count = profile.verify()
        yield f"files: {count} verified in {profile.folder}" if count else f"files: in {profile.folder}"
    if missing:
        yield f"next: bdgan weights fetch {' '.join(missing)}"
    elif not len(profile.annotations()):
        theirs = "; `bdgan import-release FOLDER` brings the paper's" if profile.weights else ""
        yield f"next: label samples (notebook 02){theirs}"
    else:
        yield f"next: bdgan train-head --profile {profile.name} --out runs/head-{profile.name}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
