"""BigGAN-deep beside the package as released, both with the same random weights.

    python -m benchmarks.generators            256 pixels, batch 8; writes benchmarks/results/generators.json
    python -m benchmarks.generators --quick    128 pixels, batch 2, within 50 s; writes generators_quick.json

Speed: contestants take turns in one process on this machine's CPU; a ratio is the median over the rounds.
Memory: the peak of a process of its own, one image of 512 pixels (--quick: 128).
"""

from copy import deepcopy
from statistics import median

import torch
from pytorch_pretrained_biggan import BigGAN
from torch import Tensor

from bdgan_lib.generators.biggan_deep import BigGANDeep, deep_config
from benchmarks.command import command
from benchmarks.label_head import in_turns
from benchmarks.memory import peak_bytes

TRUNCATION = 0.5  # on the grid of statistics, where the package reads the right row
SIZES = {"full": (256, 8, 512), "quick": (128, 2, 128)}  # resolution, batch, resolution for memory


def package(resolution: int, warm: bool = True) -> BigGAN:
    """The released class; fresh, it lacks statistics, fitting singular vectors and an attention that acts."""
    torch.manual_seed(0)
    model = BigGAN(deep_config(resolution))
    with torch.no_grad():
        for name, x in model.state_dict().items():
            if "running_means" in name:
                x.normal_(0, 0.1)
            elif "running_vars" in name or name.startswith("generator.bn."):
                x.uniform_(0.5, 1.5)
            elif name.endswith("gamma"):
                x.fill_(0.5)
        if warm:
            model.train()(*inputs(2), TRUNCATION)  # one step of every power iteration
    return model.eval().requires_grad_(False)


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(1)
    ids = torch.arange(batch) * 37 % 1000
    return torch.randn(batch, 128, generator=noise) * TRUNCATION, torch.eye(1000)[ids]


def ours(model: BigGAN, bf16: bool = False) -> BigGANDeep:
    return BigGANDeep(deepcopy(model), "random", [str(i) for i in range(1000)], "0" * 64, bf16=bf16)


@torch.inference_mode()
def peak_of_package(resolution: int) -> None:
    package(resolution, warm=False)(*inputs(1), TRUNCATION)


@torch.inference_mode()
def peak_of_ours(resolution: int) -> None:
    model = package(resolution, warm=False)
    BigGANDeep(model, "random", [str(i) for i in range(1000)], "0" * 64)._model(*inputs(1), TRUNCATION)


def measure(size: str) -> dict[str, object]:
    resolution, batch, resolution_for_memory = SIZES[size]
    released = package(resolution)
    models = {"float32": ours(released)._model, "bf16": ours(released, bf16=True)._model}
    released_images = torch.inference_mode()(lambda: released(*inputs(batch), TRUNCATION))
    found = {
        name: torch.inference_mode()(lambda m=m: m(*inputs(batch), TRUNCATION)) for name, m in models.items()
    }
    reference = released_images()
    difference = {name: (images() - reference).abs() for name, images in found.items()}
    seconds = in_turns({"released": released_images, **found}, rounds=5 if size == "full" else 3)
    memory = {
        "released": peak_bytes(peak_of_package, resolution_for_memory),
        "ours": peak_bytes(peak_of_ours, resolution_for_memory),
    }
    speedup = {
        name: median(a / b for a, b in zip(seconds["released"], seconds[name], strict=True))
        for name in models
    }
    return {
        "speedup_float32": speedup["float32"],
        "max_difference_float32": float(difference["float32"].max()),
        "speedup_bf16": speedup["bf16"],
        "mean_difference_bf16": float(difference["bf16"].mean()),
        "memory_ratio_512" if size == "full" else "memory_ratio": memory["ours"] / memory["released"],
        "details": {
            "resolution": resolution,
            "batch": batch,
            "seconds": {name: round(median(times), 3) for name, times in seconds.items()},
            "peak_mb": {name: round(peak / 1e6) for name, peak in memory.items()},
            "deviation_of_images": float(reference.std()),
        },
    }


if __name__ == "__main__":
    command("generators", __doc__, measure)
