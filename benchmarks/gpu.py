"""What one GPU does with the generators at their published sizes: images, labels, files per second.

    python -m benchmarks.gpu            every profile; writes benchmarks/results/gpu.json
    python -m benchmarks.gpu --quick    imagenet-128 alone, within 50 s; writes gpu_quick.json

Random weights: the arithmetic is the published networks', the pictures are noise. Rates are in float32 (with
the TF32 that PyTorch allows convolutions) and, as `_bf16`, with generator, head and class scorer in bfloat16.
`label_overhead`: time of an image with its label / of the image alone, by one head and, as `_ensemble16`, by
sixteen, at a data set's batch; at most 1.10 and 1.15 at 256 pixels, 1.15 and 1.20 at 512. `written`: a data
set with sixteen heads, both filters and PNG files, images per second by one process with its default writers;
`written_over_labelled`: divided by images per second that the same process labels and scores without writing;
at least 0.75. `gb`: peak memory of the data set, weights included.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torchvision.models import resnet50

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import Generator
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.taming_checkpoint import IMAGENET
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.heads.base import Head
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.profiles.imagenet import _normalised
from bdgan_lib.synthesis.filters import Models, score_batch
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec
from benchmarks.command import command
from benchmarks.generators import package
from benchmarks.label_head import ENSEMBLE, FAST, head_config

CLASSES = [str(k) for k in range(1000)]
BATCH = SynthesisSpec.batch_size
SECONDS = 2.0  # of each rate


def biggan_deep(resolution: int, bf16: bool) -> Generator:
    return BigGANDeep(package(resolution), "random", CLASSES, "0" * 64, "cuda", bf16)


def biggan(resolution: int, bf16: bool) -> Generator:
    torch.manual_seed(0)
    return BigGAN(BigGANNetwork(BigGANConfig(resolution)), "random", CLASSES, "0" * 64, "cuda", bf16)


def vqgan(_resolution: int, bf16: bool) -> Generator:
    torch.manual_seed(0)
    with torch.device("cuda"):
        network = VQGANNetwork(IMAGENET)
    torch.nn.init.normal_(network.quantize.embedding.weight, 0, 0.3)
    return VQGAN(network, "random", CLASSES, "0" * 64, "cuda", bf16)


GENERATORS: dict[str, tuple[Callable[[int, bool], Generator], int, int]] = {  # maker, resolution, data set
    "imagenet-128": (biggan_deep, 128, 1_000),
    "imagenet-256": (biggan_deep, 256, 1_000),
    "imagenet-512": (biggan_deep, 512, 500),
    "release-512": (biggan, 512, 500),
    "imagenet-vqgan": (vqgan, 256, 100),
}


def rate(work: Callable[[], object]) -> float:
    """Batches per second."""
    work()
    torch.cuda.synchronize()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        work()
        torch.cuda.synchronize()
        done += 1
    return done / (time.perf_counter() - start)


def of_generator(generator: Generator, sampling: Sampling, images: int, bf16: bool) -> dict[str, float]:
    ids, seeds = torch.arange(BATCH) * 37 % 1000, torch.arange(BATCH)
    heads = {
        key: build_head(head_config(generator.blocks, kind)).cuda().to(memory_format=torch.channels_last)
        for key, kind in (("", FAST), ("_ensemble16", ENSEMBLE))
    }
    alone = rate(lambda: generator.sample(ids, seeds, sampling, features=False))
    result = {"images_per_second": BATCH * alone}
    for key, head in heads.items():

        def label(head: Head = head) -> None:
            sample = generator.sample(ids, seeds, sampling)
            with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
                head.predict_with_uncertainty(sample)

        labelled = rate(label)
        result[f"label_overhead{key}"] = alone / labelled
    scorer = NetworkScorer(resnet50().requires_grad_(False), _normalised, 50, takes_tensors=True).to("cuda")
    models = Models(generator, heads["_ensemble16"], scorer)
    scored = BATCH * rate(lambda: score_batch(models, ids, seeds, sampling, bf16))
    spec = SynthesisSpec.for_models(
        models, tuple(range(100)), images // 100, sampling, Filters(0.0, 1.0), bf16=bf16
    )
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        synthesize(spec, models, folder, progress=False)
        result["written"] = images / (time.perf_counter() - start)
    result["written_over_labelled"] = result["written"] / scored
    return result | {"gb": torch.cuda.max_memory_allocated() / 1e9}


def measure(size: str) -> dict[str, Any]:
    if not torch.cuda.is_available():
        raise BdganError("this benchmark needs a GPU that PyTorch sees")
    result: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "batch": BATCH}
    for name, (make, resolution, images) in GENERATORS.items():
        if size == "quick" and name != "imagenet-128":
            continue
        sampling = Sampling(top_k=600, top_p=0.92) if make is vqgan else Sampling(truncation=0.5)
        for suffix, bf16 in (("", False), ("_bf16", True)):
            found = of_generator(make(resolution, bf16), sampling, images, bf16)
            result[name + suffix] = {key: round(value, 3) for key, value in found.items()}
            print(name + suffix, result[name + suffix], flush=True)
            gc.collect()
            torch.cuda.empty_cache()
    return result


if __name__ == "__main__":
    command("gpu", __doc__, measure)
