"""Plays ImageNet: notebooks 00 to 07 on full-size generators with random weights and stand-in labels.

    python ci/check_imagenet.py FOLDER [--only 04] [--real PHOTOGRAPHS] [--device cuda]

The weights lie in FOLDER/cache in the published layouts (BigGAN-deep-128, ResNet-50, Inception, and for
notebook 04 the VQGAN with its transformer: 6 GB), twelve labels of three classes in FOLDER/annotations,
executed notebooks in FOLDER/notebooks, and their seconds and GB of the GPU in FOLDER/costs.json. On a CPU the
settings are small ones, on a GPU each notebook's own. Exit code 1 if one stops before its last cell. Pictures
and scores mean nothing.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import nbformat
import numpy as np
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "ci"), str(ROOT)]

from execute import run_notebook  # noqa: E402

LABELLED = ("robin", "coffee mug", "sports car")
PROFILE = "imagenet-128"
SMALL = {"COUNT": 24, "STEPS": 20, "FRESH": 4, "IMAGES_PER_CLASS": 10, "BATCH": 1}


def make_biggan(path: Path) -> None:
    """Batch norms set, power iterations begun: without these a fresh model of the package gives NaN."""
    from pytorch_pretrained_biggan import BigGAN

    from bdgan_lib.generators.biggan_deep import deep_config

    model = BigGAN(deep_config(128))
    for name, x in model.state_dict().items():
        if "running" in name or name.startswith("generator.bn."):
            x.uniform_(0.5, 1.5)
    with torch.no_grad():
        model.train()(torch.randn(2, 128), torch.eye(1000)[:2], 1.0)
    torch.save(model.state_dict(), path)


def make_resnet(path: Path) -> None:
    from torchvision.models import resnet50

    torch.save(resnet50().state_dict(), path)


def make_inception(path: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with (
        tempfile.NamedTemporaryFile() as empty,
        patch.object(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None),
    ):
        torch.save({}, empty.name)
        network = FeatureExtractorInceptionV3("inception", ["2048"], empty.name)
    torch.save(network.state_dict(), path)


def make_vqgan(path: Path) -> None:
    """As the converter leaves it."""
    from bdgan_lib.generators.taming_checkpoint import IMAGENET
    from bdgan_lib.generators.vqgan_network import VQGANNetwork

    network = VQGANNetwork(IMAGENET)
    with torch.no_grad():
        network.quantize.embedding.weight.normal_(0, 0.3)
        network.decoder.conv_out.weight.mul_(3)
    place = lambda key: key if key.startswith("transformer.") else f"first_stage_model.{key}"
    save_file({place(key): x for key, x in network.state_dict().items()}, path)


def make_labels() -> None:
    """Discs on four samples of each class."""
    from bdgan_lib.profiles import load_profile
    from bdgan_lib.profiles.annotated import candidates

    profile, noise = load_profile(PROFILE), np.random.default_rng(0)
    if len(profile.annotations()):
        return
    y, x = np.mgrid[:128, :128]
    for item in candidates(profile, profile.generator(), 4, LABELLED):
        (top, left), radius = noise.integers(40, 88, 2), noise.integers(20, 40)
        disc = ((y - top) ** 2 + (x - left) ** 2 < radius**2).astype(np.uint8)
        profile.annotations().add(replace(item, mask=disc, annotator="stand-in"))


@contextmanager
def gpu_memory(device: str) -> Iterator[list[float]]:
    """GB that the GPU gives to all programs while this is open, twice a second, less what it gave before."""
    ask = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    used = lambda: float(subprocess.run(ask, capture_output=True, text=True).stdout.split()[0]) * 2**20 / 1e9
    found, ended = [0.0], threading.Event()

    def watch() -> None:
        before = used()
        while not ended.wait(0.5):
            found.append(used() - before)

    watcher = threading.Thread(target=watch)
    if device != "cpu":
        watcher.start()
    try:
        yield found
    finally:
        ended.set()
        if device != "cpu":
            watcher.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", help="such as 04; may be given again")
    parser.add_argument("--real", type=Path, help="photographs, a folder for each class")
    parser.add_argument("--device", default="cpu", help="or cuda")
    options = parser.parse_args()
    folder, only = options.folder.resolve(), options.only or [f"{k:02}" for k in range(8)]
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    if not (folder / "assets").exists():
        (folder / "assets").symlink_to(ROOT / "assets")
    os.environ |= {"BDGAN_CACHE": str(cache), "BDGAN_OFFLINE": "1", "BDGAN_ASSETS": str(folder / "assets")}
    makers = {
        "biggan-deep-128-pytorch_model.bin": make_biggan,
        "resnet50-11ad3fa6.pth": make_resnet,
        "weights-inception-2015-12-05-6726825d.pth": make_inception,
    }
    if "04" in only:
        makers["vqgan-cin.safetensors"] = make_vqgan
    torch.manual_seed(0)
    for name, make in makers.items():
        if not (cache / name).exists():
            print("making", name, flush=True)
            make(cache / name)
    make_labels()
    settings = {"PROFILE": PROFILE, "DEVICE": options.device, "RUN_DIR": str(folder / "run")}
    settings |= {"REAL": options.real and str(options.real.resolve())}
    settings |= SMALL if options.device == "cpu" else {}
    logging.getLogger("papermill").setLevel(logging.ERROR)
    (folder / "notebooks").mkdir(exist_ok=True)
    failed, costs = 0, {}
    for name in only:
        source = next((ROOT / "notebooks").glob(f"{name}*.ipynb"))
        start = time.monotonic()
        with gpu_memory(options.device) as gb:
            executed, failure = run_notebook(source, settings, {}, source.stem)
        costs[source.stem] = {"seconds": round(time.monotonic() - start), "gpu_gb": round(max(gb), 1)}
        (folder / "costs.json").write_text(json.dumps(costs, indent=1), "utf-8")
        nbformat.write(executed, folder / "notebooks" / source.name)
        if failure:
            failed = 1
            print(f"error: cell {failure.cell} ({failure.line}): {failure.message}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
