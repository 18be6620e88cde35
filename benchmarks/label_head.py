"""What labels cost and what they are worth, beside the published head.

    python -m benchmarks.label_head            writes benchmarks/results/label_head.json
    python -m benchmarks.label_head --quick    a smaller size within 50 s; writes label_head_quick.json

Speed and memory: a BigGAN of the release's size with random weights, batch 1, this machine's CPU; contestants
take turns in one process, a ratio is the median over the rounds; memory is the peak of a process of its own.
Accuracy: cells of `bdgan experiment label-head` on the pocket profile, measured where not on disk.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bdgan_lib.core.io import check_output, write_atomic
from bdgan_lib.experiments.label_head import run
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork
from bdgan_lib.heads.base import Architecture, Head, HeadConfig
from bdgan_lib.heads.cost import head_cost
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.profiles import load_profile
from benchmarks.memory import peak_bytes
from benchmarks.published_head import PublishedHead

FAST, ENSEMBLE = Architecture(), Architecture(members=16)
SHAPES = {"full": (512, 96), "quick": (128, 64)}  # resolution, base width
LABELLED = 4  # annotated images in the comparison with the per-pixel network


def generator_of(resolution: int, width: int) -> BigGAN:
    torch.manual_seed(0)
    network = BigGANNetwork(BigGANConfig(resolution, width=width))
    return BigGAN(network, "random", [str(i) for i in range(1000)], "0" * 64)


def head_config(blocks: Mapping[str, tuple[int, int]], architecture: Architecture) -> HeadConfig:
    return HeadConfig(tuple((b, c, s) for b, (c, s) in blocks.items()), 1000, architecture=architecture)


def published(blocks: Mapping[str, tuple[int, int]]) -> PublishedHead:
    head = build_head(head_config(blocks, Architecture("paper")))
    return PublishedHead([[(b, *blocks[b]) for b in group] for group in head.groups.values()])


def random_features(blocks: Mapping[str, tuple[int, int]], count: int = 1) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(0)
    return {b: torch.randn(count, c, s, s, generator=noise) for b, (c, s) in blocks.items()}


def step_of_ours(blocks: Mapping[str, tuple[int, int]], architecture: Architecture) -> Callable[[], None]:
    """One training step, batch 1."""
    features = {
        b: x.contiguous(memory_format=torch.channels_last) for b, x in random_features(blocks).items()
    }
    head = build_head(head_config(blocks, architecture)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(head.parameters())
    mask = torch.randint(0, 2, (1, head.image_side, head.image_side))

    def step() -> None:
        loss = F.cross_entropy(head(features, torch.tensor([3])).flatten(0, 1), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def step_of_published(blocks: Mapping[str, tuple[int, int]]) -> Callable[[], None]:
    """The same for the published head: binary cross-entropy, Adam, class embedding given."""
    features, head = random_features(blocks), published(blocks).train()
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)
    side = max(side for _, side in blocks.values())
    mask, embedding = torch.randint(0, 2, (1, 1, side, side)).float(), torch.randn(1, 128)

    def step() -> None:
        loss = F.binary_cross_entropy_with_logits(head(features, embedding), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def training_memory_of_ours(blocks: Mapping[str, tuple[int, int]]) -> None:
    """Everything a training on LABELLED samples holds: their features, the head, a step."""
    kept = random_features(blocks, LABELLED - 1)  # the step brings the last one
    step_of_ours(blocks, FAST)()
    del kept


def training_memory_of_pixel_mlp(blocks: Mapping[str, tuple[int, int]]) -> None:
    """DatasetGAN's order: all pixels' resized features in one float16 table, then batches of its rows."""
    side, channels = max(s for _, s in blocks.values()), sum(c for c, _ in blocks.values())
    table = np.zeros((LABELLED * side * side, channels), np.float16)
    for n in range(LABELLED):
        first = 0
        for block, x in random_features(blocks).items():
            rows = F.interpolate(x, size=(side, side), mode="bilinear").permute(0, 2, 3, 1).flatten(0, 2)
            table[n * side * side : (n + 1) * side * side, first : first + blocks[block][0]] = rows.numpy()
            first += blocks[block][0]
    members = [
        torch.nn.Sequential(torch.nn.Linear(channels, 128), torch.nn.ReLU(), torch.nn.BatchNorm1d(128),
                            torch.nn.Linear(128, 32), torch.nn.ReLU(), torch.nn.BatchNorm1d(32),
                            torch.nn.Linear(32, 2))
        for _ in range(10)
    ]  # fmt: skip
    chosen = np.random.default_rng(0).integers(len(table), size=64)
    for member in members:
        optimizer = torch.optim.Adam(member.parameters())
        member(torch.from_numpy(table[chosen]).float()).square().mean().backward()
        optimizer.step()


def in_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant, one after the other, round by round, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for n in range(rounds + 1):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            if n:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


def costs(size: str) -> dict[str, object]:
    """Speed, operations and memory."""
    generator = generator_of(*SHAPES[size])
    blocks, ids, seeds = generator.blocks, torch.tensor([7]), torch.tensor([1])
    heads: dict[str, Head] = {
        name: build_head(head_config(blocks, kind)).to(memory_format=torch.channels_last).eval()
        for name, kind in (("fast", FAST), ("ensemble 16", ENSEMBLE))
    }
    their_head = published(blocks).eval()

    def labelled(head: Head) -> Callable[[], object]:
        def work() -> object:
            sample = generator.sample(ids, seeds)
            return head.label(sample.features, sample.class_ids)

        return work

    @torch.inference_mode()
    def published_label() -> object:
        return their_head(generator.sample(ids, seeds).features, torch.randn(1, 128))

    sampling = in_turns(
        {
            "image": lambda: generator.sample(ids, seeds, features=False),
            **{name: labelled(head) for name, head in heads.items()},
            "published": published_label,
        },
        rounds=5 if size == "full" else 3,
    )
    steps = in_turns(
        {"ours": step_of_ours(blocks, FAST), "published": step_of_published(blocks)},
        rounds=3 if size == "full" else 2,
    )
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = BigGANNetwork(generator._model.config).eval()
        network(torch.empty(1, network.z_dim), torch.zeros(1, dtype=torch.int64))
    head_flops, generator_flops = head_cost(head_config(blocks, FAST)).flops, counter.get_total_flops()
    works = {
        "ours": _run_step_of_ours,
        "published": _run_step_of_published,
        "labelled, ours": training_memory_of_ours,
        "labelled, pixel MLP": training_memory_of_pixel_mlp,
    }
    with ThreadPoolExecutor(2) as pool:  # each is a process of its own
        peaks = pool.map(lambda work: peak_bytes(work, blocks), works.values())
    memory = dict(zip(works, peaks, strict=True))
    return {
        "label_overhead": ratio(sampling, "fast", "image"),
        "label_overhead_ensemble16": ratio(sampling, "ensemble 16", "image"),
        "label_overhead_published": ratio(sampling, "published", "image"),
        "head_generator_flops": head_flops / generator_flops,
        "train_step_speedup": ratio(steps, "published", "ours"),
        "train_step_memory_ratio": memory["ours"] / memory["published"],
        "mlp_memory_ratio": memory["labelled, pixel MLP"] / memory["labelled, ours"],
        "details": {
            "seconds": {name: round(median(found), 3) for name, found in sampling.items()},
            "step_seconds": {name: round(median(found), 3) for name, found in steps.items()},
            "gflop": {"head": head_flops / 1e9, "generator": generator_flops / 1e9},
            "peak_mb": {name: round(found / 1e6) for name, found in memory.items()},
        },
    }


def _run_step_of_ours(blocks: Mapping[str, tuple[int, int]]) -> None:
    step_of_ours(blocks, FAST)()


def _run_step_of_published(blocks: Mapping[str, tuple[int, int]]) -> None:
    step_of_published(blocks)()


def accuracy(folder: Path, quick: bool) -> dict[str, object]:
    """Differences of FG/BG mIoU on the pocket profile, mean over seeds with their standard deviation."""
    trials = ("fast", "paper", "pixel MLP x10", "ensemble 16")
    small = {"seeds": 1, "fresh": 60, "steps": 8, "batch_size": 4} if quick else {}
    cells = run(load_profile("pocket"), folder, trials=trials, **small)["cells"]
    seeds = sorted({cell["seed"] for cell in cells.values()})
    score = {trial: [cells[f"{trial} / {seed}"]["fgbg_miou"] for seed in seeds] for trial in trials}

    def difference(one: str, other: str) -> list[float]:
        return [a - b for a, b in zip(score[one], score[other], strict=True)]

    paper, mlp = difference("fast", "paper"), difference("fast", "pixel MLP x10")
    drop = [cells[f"ensemble 16 / {seed}"]["drop10_gain"] for seed in seeds]
    return {
        "fast_minus_paper_miou": mean(paper),
        "mixconv_minus_mlp_miou": mean(mlp),
        "drop10_gain_miou": mean(gain for gain, _, _ in drop),
        "drop10_gain_interval": [mean(low for _, low, _ in drop), mean(high for _, _, high in drop)],
        "accuracy": {
            "seeds": len(seeds),
            "fgbg_miou": {trial: mean(found) for trial, found in score.items()},
            "deviation": {
                "fast_minus_paper_miou": stdev(paper) if len(paper) > 1 else 0.0,
                "mixconv_minus_mlp_miou": stdev(mlp) if len(mlp) > 1 else 0.0,
            },
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smaller size, within 50 s")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--cells", type=Path, default=Path("runs/experiments"))
    options = parser.parse_args()
    check_output(options.out)
    size, start = "quick" if options.quick else "full", time.perf_counter()
    folder = options.cells / "quick" if options.quick else options.cells
    result = {
        **costs(size),
        **accuracy(folder, options.quick),
        "size": dict(zip(("resolution", "width"), SHAPES[size], strict=True)),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "seconds": round(time.perf_counter() - start, 1),
    }
    text = json.dumps(result, indent=1)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    name = "label_head_quick.json" if options.quick else "label_head.json"
    write_atomic(options.out / name, (text + "\n").encode())


if __name__ == "__main__":
    main()
