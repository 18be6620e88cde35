"""The page that runs the model: a head trained now, the exported graph, its scripts, what they must know."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from runtime import PIN, runtime, unpack

from bdgan_lib.core.io import atomic_folder
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.heads import Architecture, HeadTraining, train_head
from bdgan_lib.heads.onnx_export import export_onnx
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.annotated import training_annotations
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.visualization.colors import palette

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).parent / "play"
KEPT = ROOT / "runs/model-page"  # made once, and again when the code or the assets change
HEAD = Architecture(members=4)
TRAINING = HeadTraining(parts=True)
SEEDS = 256  # whose latents the page knows
FEATURES = 64  # per pixel, for the head that the page teaches
FITTED, BLOCK = 192, "block4"  # samples and features that the directions are fitted to
TAUGHT = [0, 1, 2]  # seeds to paint on


def write_model_page(docs: Path, package: Path | None = None) -> bool:
    """Write `play.md` and its files; False, after a line that says why, where npm is missing.

    Args:
        docs: the folder of the site's pages.
        package: of the runtime; None for the one that npm fetches.
    """
    package = package or runtime()
    if package is None:
        return False
    place = docs / "_static/play"
    place.mkdir(parents=True)
    for file in SOURCE.iterdir():
        if file.suffix in (".js", ".css"):
            shutil.copy(file, place)
    unpack(package, place)
    for file in model_files().iterdir():
        shutil.copy(file, place)
    about = json.loads((place / "play.json").read_text("utf-8"))
    size = f"{(place / 'model.onnx').stat().st_size / 1e6:.1f}"
    texts = {"size": size, "members": about["members"], "features": FEATURES, "version": PIN["version"]}
    (docs / "play.md").write_text((SOURCE / "page.md.in").read_text("utf-8").format(**texts), "utf-8")
    return True


def write_lone_site(folder: Path, package: Path) -> Path:
    """The page in the site's theme without the other pages; returns the folder of `play.html`."""
    docs = folder / "docs"
    shutil.copytree(ROOT / "docs/_static", docs / "_static")
    for file in ("docs/conf.py", "pyproject.toml"):
        shutil.copy(ROOT / file, folder / file)
    write_model_page(docs, package)
    (docs / "index.md").write_text("# Start\n\n```{toctree}\nplay\n```\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", str(docs), str(folder / "html")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return folder / "html"


def model_files() -> Path:
    """A folder of `model.onnx`, `latents.bin` and `play.json`, made if nothing that fits is kept."""
    folder = KEPT / _fingerprint()
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(KEPT / ".lock"):
        if not folder.exists():
            with atomic_folder(folder) as unfinished:
                make_model(load_profile("pocket"), unfinished)
            for other in KEPT.iterdir():
                if other.is_dir() and other != folder:
                    shutil.rmtree(other)
    return folder


def make_model(profile: Profile, folder: Path) -> None:
    """Train the head, export it with its generator, and write what the page must know of both."""
    generator = profile.generator()
    assert isinstance(generator, FeatureGenerator)
    _, annotations = training_annotations(profile)
    torch.manual_seed(0)
    head, _ = train_head(generator, annotations, TRAINING, HEAD, progress=None)
    about = {"profile": profile.name, "licence": profile.licence, "parts": dict(profile.parts)}
    export_onnx(
        generator, head, folder / "model.onnx", "fp16", profile.sampling, FEATURES, profile.image_size, about
    )
    latents = latents_from_seeds(torch.arange(SEEDS), generator.z_dim, profile.sampling)
    (folder / "latents.bin").write_bytes(latents.numpy().astype("<f4").tobytes())
    known = {
        "classes": generator.classes,
        "labels": head.labels,
        "parts": dict(profile.parts),
        "members": HEAD.members,
        "side": generator.image_size,
        "z_dim": generator.z_dim,
        "seeds": SEEDS,
        "truncation": profile.sampling.truncation,
        "taught": TAUGHT,
        "colours": palette(len(head.labels)).tolist(),
        "directions": [directions(generator, profile, k).tolist() for k in range(len(generator.classes))],
    }
    (folder / "play.json").write_text(json.dumps(known), "utf-8")


def directions(generator: FeatureGenerator, profile: Profile, class_id: int) -> NDArray[np.float64]:
    """The two latent directions, [2, z_dim] of length 1, that change a class's features most.

    Features of a block are fitted by a linear function of the latents; these are its first singular vectors.
    """
    latents, features = [], []
    for seeds in (torch.arange(FITTED) + 1_000).split(16):
        sample = generator.sample(torch.full_like(seeds, class_id), seeds, profile.sampling)
        latents.append(latents_from_seeds(seeds, generator.z_dim, profile.sampling))
        features.append(sample.features[BLOCK].flatten(1).clone())
    z, x = torch.cat(latents).double(), torch.cat(features).double()
    effect = torch.linalg.lstsq(z - z.mean(0), x - x.mean(0)).solution
    return np.round(torch.linalg.svd(effect, full_matrices=False).U[:, :2].T.numpy(), 5)


def _fingerprint() -> str:
    code = inspect.getsource(make_model), inspect.getsource(directions), torch.__version__
    settings = HEAD, TRAINING, SEEDS, FEATURES, FITTED, BLOCK, TAUGHT
    digest = sha256(repr((code, settings)).encode())
    for file in _sources():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield ROOT / "assets/pocket/manifest.json"
    for room in ("checkpoints", "core", "datasets", "generators", "heads", "profiles", "training"):
        yield from sorted((ROOT / "bdgan_lib" / room).rglob("*.py"))
