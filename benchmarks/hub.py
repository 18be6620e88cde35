"""The way to the Hugging Face Hub and back, against a stand-in for it: are the bytes the same?

    python -m benchmarks.hub

A data set, a label head and a generator are sent with `push` and fetched with `pull`, and every file is
compared. benchmarks/delivery.py records the answer as `hub_round_trip_equal`.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.model_files import write_json
from bdgan_lib.datasets.card import write_card
from bdgan_lib.datasets.shards import MANIFEST, ORIGIN, write_manifest, write_shard
from bdgan_lib.heads.base import HeadConfig
from bdgan_lib.heads.files import save_head
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.hub import pull, push
from bdgan_lib.profiles import load_profile
from benchmarks.hub_stub import HubStub, in_this_process


def write_set(folder: Path, shards: int = 3, images: int = 4, jpeg: int = 0) -> Path:
    """A data set of random images and masks."""
    folder.mkdir(parents=True)
    random, entries = np.random.default_rng(0), []
    for shard in range(shards):
        seeds = range(shard * images, (shard + 1) * images)
        samples = [
            LabelledSample(
                random.integers(0, 256, (64, 64, 3), np.uint8), random.integers(0, 2, (64, 64), np.uint8),
                0, seed, sample_id("mug", seed),
            )
            for seed in seeds
        ]  # fmt: skip
        pairs = [(sample, {"class_name": "mug"}) for sample in samples]
        entries.append(write_shard(folder / f"shard_{shard:05d}.tar", pairs, jpeg))
    write_manifest(folder / MANIFEST, entries, {"spec": {}, "classes": ("mug",)})
    write_card(folder, progress=False)
    return folder


def write_head(folder: Path) -> Path:
    """A label head with fresh weights."""
    torch.manual_seed(0)
    save_head(build_head(HeadConfig((("a", 8, 8), ("b", 8, 16), ("c", 4, 32), ("d", 4, 64)), 3)), folder)
    return folder


def write_model(folder: Path) -> Path:
    """The pocket's VQGAN as a folder of `bdgan train-generator`."""
    profile, assets = load_profile("pocket-vqgan"), assets_folder() / "pocket"
    shutil.copytree(assets / "vqgan", folder)
    shutil.copyfile(assets / "classifier" / "model.safetensors", folder / "scorer.safetensors")
    model = {"kind": "vqgan", "classes": list(profile.classes), "side": profile.image_size}
    write_json(folder / "model.json", model)
    write_json(folder / "report.json", {"fid": 12.5, "dropped": []})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a folder's files by name, without the record of where they came from."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ORIGIN}


def hub_round_trip_equal() -> bool:
    """Whether a set, a head and a generator come back from the stand-in byte for byte, at one commit."""
    with TemporaryDirectory() as name, HubStub() as stub, in_this_process(stub, Path(name) / "home"):
        folder, equal = Path(name), True
        for kind, write in (("set", write_set), ("head", write_head), ("model", write_model)):
            sent = contents(write(folder / kind))
            commit = push(folder / kind, f"user/{kind}", say=lambda _: None)
            equal &= pull(f"user/{kind}", folder / f"{kind}-back", say=lambda _: None) == commit
            back = contents(folder / f"{kind}-back")
            back = back if "README.md" in sent else {n: x for n, x in back.items() if n != "README.md"}
            equal &= back == sent
    return equal


if __name__ == "__main__":
    print(f"hub_round_trip_equal = {hub_round_trip_equal()}")
