"""Every notebook runs to its last cell with a profile that has neither exact masks nor an oracle."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest

matplotlib.use("agg")
import matplotlib.pyplot as plt
from IPython.core.interactiveshell import InteractiveShell
from pytorch_pretrained_biggan import BigGANConfig

from bdgan_lib import profiles
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.downstream.tasks import FOREGROUND, task_of_groups
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.generators.vqgan_network import VQGANNetwork
from bdgan_lib.heads.training import HeadTraining
from bdgan_lib.paper.catalogue import CATALOGUE
from bdgan_lib.paper.figure_data import FigureData
from bdgan_lib.paper.write import write_figures
from bdgan_lib.profiles import Profile, load_profile
from bdgan_lib.profiles.own_model import MODEL, SCORER
from bdgan_lib.recipes.common import write_half
from bdgan_lib.workspace import Workspace
from bdgan_lib.worlds.networks import Classifier
from bdgan_lib.worlds.pocket import CLASSES
from tests.conftest import TINY

FOLDER = Path(__file__).parents[1] / "notebooks"
SETTINGS = {
    "PROFILE": "stand-in", "CLASS_NAMES": ["mug", "robin"], "COUNT": 24, "STEPS": 3, "FRESH": 24, "BATCH": 2,
    "IMAGES_PER_CLASS": 10,
}  # fmt: skip


def stand_in(folder: Path, biggan: BigGANDeep, vqgan: VQGAN) -> Profile:
    """An ImageNet profile whose generators are tiny; everything else is as ImageNet's profiles have it."""
    profile = replace(
        load_profile("imagenet-128"),
        name="stand-in",
        image_size=32,
        folder=folder,
        classes=CLASSES,
        synsets=(),
        tasks={"FG/BG": task_of_groups("stand-in", "FG/BG", {FOREGROUND: range(12)}, 12)},
        generator=lambda *_: biggan,
        annotations=lambda: AnnotationStore(folder / "annotations"),
        load_scorer=Scorer,
        quality_features=lambda images: images[:, ::8, ::8, 0].reshape(len(images), -1) / 255,
    )
    take = {"generator": lambda *_: vqgan, "encoder": lambda *_: vqgan, "sampling": Sampling(top_k=20)}
    return replace(
        profile, make_second=lambda source: replace(source, source=source, make_second=None, **take)
    )


class Shell(InteractiveShell):
    """A kernel's, without its screen."""

    def enable_gui(self, gui=None):
        return None


class Scorer:
    sha256 = "1" * 64

    def to(self, device):
        return self

    def __call__(self, images, class_ids):
        return np.linspace(0, 1, len(images), dtype=np.float32)


def label_discs(profile: Profile, sizes: Sequence[tuple[int, str]]) -> None:
    """Four annotated samples of each class: discs of such a radius."""
    y, x = np.mgrid[:32, :32]
    generator = profile.generator()
    for radius, name in sizes:
        for seed in range(4):
            disc = ((y - 16) ** 2 + (x - 12 - seed) ** 2 < radius**2).astype(np.uint8)
            profile.annotations().add(
                Annotation(sample_id(name, seed), name, profile.class_id(name), seed, profile.sampling,
                           generator.sha256, disc, "somebody")
            )  # fmt: skip


@contextmanager
def in_a_notebook():
    """A new shell, and afterwards the backend and the figures of before."""
    Shell.clear_instance()
    with matplotlib.rc_context():
        yield
    Shell.clear_instance()
    plt.close("all")
    plt.switch_backend("agg")  # from the notebooks' inline


@pytest.fixture
def world(tmp_path, monkeypatch, biggan, vqgan):
    """The stand-in, with three classes labelled, under the name "stand-in"."""
    generator = BigGANDeep(biggan, "tiny BigGAN", CLASSES, "2" * 64)
    second = VQGAN(VQGANNetwork(replace(TINY, num_classes=12)), "tiny VQGAN", CLASSES, "3" * 64)
    profile = stand_in(tmp_path, generator, second)
    label_discs(profile, ((4, "robin"), (8, "mug"), (12, "car")))
    monkeypatch.setitem(profiles.PROFILES, "stand-in", lambda: profile)
    monkeypatch.setattr("bdgan_lib.paper.figure_data.STEPS", 3)
    monkeypatch.setattr(Workspace.head, "__defaults__", (HeadTraining(steps=SETTINGS["STEPS"]),))
    monkeypatch.chdir(tmp_path)
    with in_a_notebook():
        yield profile


def run(name: str, **settings) -> dict:
    """Run a notebook's cells in this process; its names at the end."""
    shell = Shell.instance()
    for cell in nbformat.read(next(FOLDER.glob(f"{name}*.ipynb")), 4).cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
            if "parameters" in cell.metadata.get("tags", []):
                shell.user_ns.update({k: v for k, v in settings.items() if k in shell.user_ns})
    return shell.user_ns


@pytest.mark.parametrize(
    "name", ["00", "01", "02", "03", "04", "05", pytest.param("06", marks=pytest.mark.slow), "07"]
)
def test_it_runs_to_its_end_and_names_what_it_leaves_out(world, name, tmp_path, capsys):
    run(name, **SETTINGS, RUN_DIR=str(tmp_path / "run"))
    assert ("left out" in capsys.readouterr().out) == (name not in ("03", "05", "06"))


@pytest.mark.parametrize("name", ["00", "04"])
def test_with_photographs_there_are_distances_to_them(world, name, tmp_path, capsys):
    for n in range(48):
        folder = tmp_path / "photos" / ("robin", "mug", "car")[n % 3]
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(n).integers(0, 256, (40, 48, 3), np.uint8)
        (folder / f"{n}.png").write_bytes(encode_png(noise))
    run(name, **SETTINGS, RUN_DIR=str(tmp_path / "run"), REAL=str(tmp_path / "photos"))
    said = capsys.readouterr().out
    assert "Fréchet" in said and "REAL" not in said


def test_figures_are_drawn_from_its_samples_and_each_says_whose_it_shows(world, tmp_path, capsys):
    material = FigureData(Workspace(world, tmp_path / "run"), images_per_class=10)
    found = write_figures(material, tmp_path / "figures")
    left = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(found) + len(left) == len(CATALOGUE) and len(left) <= 1, "mean shapes ask for some foreground"
    said = {r["name"]: r["caption"] for r in found}
    assert "Profile stand-in, generator 222222222222" in said["teaser"]
    assert "held-out annotated samples" in said["best-and-worst"] and "Profile pocket" in said["set-size"]
    with pytest.raises(BdganError, match="run notebook 04"):
        material.vqgan_sim  # noqa: B018


def write_model(folder: Path, kind: str, weights: dict, settings: dict) -> None:
    folder.mkdir()
    write_half(folder / "model.safetensors", weights)
    write_half(folder / SCORER, Classifier(3).state_dict())
    write_json(folder / "config.json", settings)
    write_json(folder / MODEL, {"kind": kind, "classes": ["cup", "pear", "toy car"], "side": 32})


@pytest.fixture(params=["vqgan", "biggan"])
def model(request, tmp_path, monkeypatch, biggan):
    """A model folder as `bdgan train-generator` writes it, tiny networks, its three classes labelled."""
    folder, config = tmp_path / "model", BigGANConfig.from_dict(biggan.config.to_dict() | {"num_classes": 3})
    weights = {k: v[:, :3] if k == "embeddings.weight" else v for k, v in biggan.state_dict().items()}
    vqgan = VQGANNetwork(TINY)
    if request.param == "biggan":
        write_model(folder, "biggan", weights, config.to_dict())
        write_model(folder / "vqgan", "vqgan", vqgan.state_dict(), asdict(TINY))
    else:
        write_model(folder, "vqgan", vqgan.state_dict(), asdict(TINY))
    profile = load_profile(str(folder))
    label_discs(profile, ((4, "cup"), (8, "pear"), (12, "toy car")))
    monkeypatch.setattr("bdgan_lib.paper.figure_data.STEPS", 3)
    monkeypatch.setattr(Workspace.head, "__defaults__", (HeadTraining(steps=SETTINGS["STEPS"]),))
    monkeypatch.chdir(tmp_path)
    with in_a_notebook():
        yield profile


@pytest.mark.parametrize(
    "name", ["00", "01", "02", "03", "04", "05", pytest.param("06", marks=pytest.mark.slow), "07"]
)
def test_it_runs_to_its_end_with_a_model_folder(model, name, tmp_path):
    settings = {**SETTINGS, "PROFILE": model.name, "CLASS_NAMES": ["cup", "toy car"], "CLASS_NAME": "cup"}
    names = run(name, **settings, RUN_DIR=str(tmp_path / "run"))
    assert model.name in {value.name for value in names.values() if isinstance(value, Profile)}


def test_a_biggan_without_a_vqgan_of_its_classes_says_how_to_get_one(model, tmp_path):
    if model.encoder:
        assert model.second.source is model and model.second.name == model.name
        return
    assert model.second.classes == model.classes and model.second.encoder
    record = model.folder / "vqgan" / MODEL
    record.write_text(record.read_text("utf-8").replace("pear", "plum"), encoding="utf-8")
    with pytest.raises(BdganError, match="expected a VQGAN of the classes cup, pear, toy car"):
        load_profile(model.name).second  # noqa: B018
    record.unlink()
    with pytest.raises(BdganError, match="bdgan train-generator PICTURES --out MODEL/vqgan"):
        load_profile(model.name).require("second")
