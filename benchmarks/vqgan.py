"""Sampling codes beside the published way, with the same random weights; and training on live samples.

    python -m benchmarks.vqgan            12 layers x 768, 256 codes; writes benchmarks/results/vqgan.json
    python -m benchmarks.vqgan --quick    64 codes, the U-Net alone, within 50 s; writes vqgan_quick.json

The published way (taming-transformers' repository; its package has no cache at all) joins the past of all
layers anew for every token. Contestants take turns in one process; a ratio is the median over the rounds.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from statistics import median

import psutil
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50

from bdgan_lib.core.labelled_arrays import class_masks
from bdgan_lib.core.precision import bf16_is_fast
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.generators.code_sampling import CodeSampler
from bdgan_lib.generators.taming_checkpoint import IMAGENET
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.profiles import load_profile
from bdgan_lib.synthesis.online import Batch, OnlineSynthesis
from bdgan_lib.training.supervised import FitConfig, fit_batches, seeded
from bdgan_lib.worlds.networks import UNet
from benchmarks.command import command
from benchmarks.label_head import in_turns

BATCH, CODES, TOP_K = 8, 16384, 100
SIZES = {"full": (256, 3), "quick": (64, 2)}  # length of a sequence, rounds


def random_gpt(length: int, layers: int = 12, width: int = 768) -> nn.Module:
    from taming.modules.transformer.mingpt import GPT

    torch.manual_seed(0)
    gpt = GPT(CODES, length, layers, width // 64, width)
    with torch.no_grad():
        gpt.pos_emb.normal_(0, 0.02)
        gpt.head.weight.normal_(0, 0.1)  # so that one token is clearly the likeliest
    return gpt.eval().requires_grad_(False)


@torch.inference_mode()
def published(gpt: nn.Module, class_ids: Tensor, greedy: bool = False) -> Tensor:
    """One token after the other; keys and values of the past are joined to one tensor after each."""
    x, past, found = class_ids[:, None], None, []
    for t in range(gpt.block_size):
        h, present = gpt.tok_emb(x) + gpt.pos_emb[:, t : t + 1], []
        for i, block in enumerate(gpt.blocks):
            h, new = _block(block, h, None if past is None else past[i])
            present.append(new)
        new = torch.stack(present)  # [layers, 2, B, heads, 1, width / heads]
        past = new if past is None else torch.cat([past, new], -2)
        logits = gpt.head(gpt.ln_f(h))[:, -1]
        least = logits.topk(TOP_K).values[:, -1:]
        p = logits.masked_fill(logits < least, -torch.inf).softmax(-1)
        x = p.topk(1).indices if greedy else torch.multinomial(p, 1)
        found.append(x)
    return torch.cat(found, 1)


def _block(block: nn.Module, h: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    attention, x = block.attn, block.ln1(h)
    parts = [layer(x).unflatten(2, (attention.n_head, -1)).transpose(1, 2)
             for layer in (attention.query, attention.key, attention.value)]  # fmt: skip
    q, k, v = parts
    present = torch.stack([k, v])
    if past is not None:
        k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
    weight = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    h = h + attention.proj((weight @ v).transpose(1, 2).flatten(2))
    return h + block.mlp(block.ln2(h)), present


@torch.inference_mode()
def uncached(gpt: nn.Module, class_ids: Tensor) -> Tensor:
    """The likeliest token each time, by taming's own forward over the whole sequence."""
    x = class_ids[:, None]
    for _ in range(gpt.block_size):
        x = torch.cat([x, gpt(x)[0][:, -1].argmax(-1, keepdim=True)], 1)
    return x[:, 1:]


def measure(size: str) -> dict[str, object]:
    length, rounds = SIZES[size]
    gpt = random_gpt(length)
    ids, seeds = torch.arange(BATCH) * 37 % 1000, torch.arange(BATCH)
    ours = [CodeSampler(gpt, dtype) for dtype in (torch.float32, torch.bfloat16)]
    sampling = Sampling(top_k=TOP_K)
    runs = {
        "published": lambda: published(gpt, ids),
        "float32": lambda: ours[0].sample(ids, seeds, sampling),
        "bf16": lambda: ours[1].sample(ids, seeds, sampling),
    }
    greedy = uncached(gpt, ids[:1])
    equal = (ours[0].sample(ids[:1], seeds[:1], Sampling(top_k=1))[0] == greedy).sum()
    seconds = in_turns(runs, rounds)
    speedup = {
        name: median(a / b for a, b in zip(seconds["published"], seconds[name], strict=True))
        for name in ("float32", "bf16")
    }
    rate = {name: round(BATCH * length / median(times), 1) for name, times in seconds.items()}
    return {
        "speedup_float32": speedup["float32"],
        "speedup_bf16": speedup["bf16"],
        "tokens_per_second": rate,
        "greedy_tokens_equal": int(equal),
        "greedy_tokens": length,
    }


class DeepLab(nn.Module):
    """The paper's segmentation network, for the pocket's labels."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.network = deeplabv3_resnet50(weights_backbone=None, num_classes=labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)["out"]


def training_on_live_samples(steps: int, deeplab: bool) -> dict[str, object]:
    """Seconds of a training step on stored VQGAN samples and on live ones: pocket, batches of 32.

    Live samples are drawn by one process beside the training, and by the training process itself; for the
    pocket's small U-Net and for the paper's DeepLabv3 with ResNet-50.
    """
    profile = load_profile("pocket-vqgan")
    vqgan, classes = profile.generator(bf16=bf16_is_fast("cpu")), len(profile.classes)
    blocks = tuple((name, channels, side) for name, (channels, side) in vqgan.blocks.items())
    torch.manual_seed(0)
    head = build_head(HeadConfig(blocks, classes)).eval()
    stream = OnlineSynthesis(vqgan, head, tuple(range(classes)), profile.sampling, batch_size=32)
    stored = list(islice(stream.batches(), 16))

    def train(make: Callable[[], nn.Module], batches: Iterator[Batch], steps: int, warm: int = 4) -> float:
        """Seconds per step after some that fill what runs ahead."""
        network = seeded(make, 0)
        pairs = ((b.images, class_masks(b.masks, b.class_ids)) for b in batches)
        fit_batches(network, islice(pairs, warm), FitConfig(steps=warm))
        start = time.perf_counter()
        fit_batches(network, pairs, FitConfig(steps=steps))
        return (time.perf_counter() - start) / steps

    found: dict[str, object] = {}
    networks: dict[str, Callable[[], nn.Module]] = {"": partial(UNet, classes + 1, fine=False)}
    if deeplab:
        networks["_deeplab"] = partial(DeepLab, classes + 1)
    for name, make in networks.items():
        count = steps if not name else max(4, steps // 5)
        seconds = {
            "stored": train(make, cycle(stored), count),
            "live": train(make, stream.batches(), count),
            "live_beside": train(make, stream.batches(workers=1), count),
        }
        found[f"online_over_offline{name}"] = min(seconds["live"], seconds["live_beside"]) / seconds["stored"]
        found[f"step_seconds{name}"] = {kind: round(value, 3) for kind, value in seconds.items()}
    return found


@torch.inference_mode()
def paper_scale(batch: int = 4) -> dict[str, object]:
    """The published size with random weights: seconds to sample and decode a batch, bfloat16."""
    torch.manual_seed(0)
    network = VQGANNetwork(IMAGENET)
    vqgan = VQGAN(network, "random", [str(i) for i in range(1000)], "", bf16=True)
    ids, start = torch.arange(batch), time.perf_counter()
    vqgan._sampler = CodeSampler(network.transformer, torch.bfloat16)
    ready = time.perf_counter()
    codes = vqgan.sample_codes(ids, ids, Sampling(top_k=600))
    sampled = time.perf_counter()
    vqgan.features(codes, ids)
    return {
        "parameters": sum(x.numel() for x in network.parameters()),
        "weight_gb": round(vqgan.weight_bytes / 1e9, 2),
        "resident_gb": round(psutil.Process().memory_info().rss / 1e9, 2),
        "seconds_to_pack": round(ready - start, 1),
        "seconds_per_image_sampled": round((sampled - ready) / batch, 2),
        "seconds_per_image_decoded_with_features": round((time.perf_counter() - sampled) / batch, 2),
    }


def everything(size: str) -> dict[str, object]:
    """Sampling, training on live samples and, at full size, the published model."""
    return {
        **measure(size),
        **training_on_live_samples(40 if size == "full" else 8, deeplab=size == "full"),
        **({"paper_scale": paper_scale()} if size == "full" else {}),
    }


if __name__ == "__main__":
    command("vqgan", __doc__, everything)
