"""From a folder of pictures to a model folder that is a profile: whole or not at all, resumed, measured."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_pretrained_biggan import BigGANConfig
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from bdgan_lib.cli import main
from bdgan_lib.core import precision
from bdgan_lib.core.ids import class_sample_id
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.generators.inversion import InversionConfig, invert
from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.profiles import load_profile
from bdgan_lib.recipes import biggan, own_generator, quality, vqgan
from bdgan_lib.recipes.common import StepLog
from bdgan_lib.recipes.own_generator import OwnRecipe, train_generator
from bdgan_lib.synthesis.folder import only_writer
from bdgan_lib.training.file_logs import TensorBoardLog
from bdgan_lib.training.supervised import FitConfig
from bdgan_lib.worlds.networks import Classifier

DISTANCES = {"nearest_ratio", "training_nearest_ratio"}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Networks and budgets of seconds, and two classes of twelve pictures."""
    for name, value in {"CLASSIFIER": FitConfig(2, 48, seed=1), "VIEWS_EACH": 2}.items():
        monkeypatch.setattr(own_generator, name, value)
    for module in (vqgan, biggan):
        monkeypatch.setattr(module, "SAVE_EVERY", 2)
    quick = partial(invert, config=InversionConfig(candidates=4, steps=2))
    for name, value in {"SAMPLES": 24, "INVERTED": 2, "invert": quick}.items():
        monkeypatch.setattr(quality, name, value)
    sizes = {**biggan.small_config(64, 2, 32).to_dict(), "channel_width": 4, "n_stats": 2}
    monkeypatch.setattr(own_generator, "small_config", lambda *_: BigGANConfig.from_dict(sizes))
    tiny = VQGANConfig(num_classes=2, codes=40, ch_mult=(1, 1, 1, 1), layers=1, width=16)
    monkeypatch.setattr(own_generator, "_config", lambda side, classes: tiny)
    for k, name in enumerate(("cup", "rüdiger's box")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for n in range(12):
            noise = np.random.default_rng([k, n]).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(noise).resize((90, 90)).save(tmp_path / "pictures" / name / f"{n:02d}.png")
    steps = vqgan.Recipe(
        image_steps=4, image_batch=4, plain_steps=1, code_steps=4, code_batch=4, adversarial=0.3
    )
    few = biggan.Recipe(warm_steps=3, adversarial_steps=3, batch_size=8, random_latents=True, augment=True)
    return tmp_path / "pictures", OwnRecipe(vqgan=steps, biggan=few)


def cut_off_at(monkeypatch, stops: list[tuple]) -> None:
    """Interrupt the training once at each of these steps, (stage, step) or (step,)."""
    add = StepLog.add

    def counted(log, step, figures):
        if (*log.stage, step) in stops:
            stops.remove((*log.stage, step))
            raise KeyboardInterrupt
        add(log, step, figures)

    monkeypatch.setattr(StepLog, "add", counted)


def test_a_model_folder_is_a_profile_with_its_pictures_classes(small, tmp_path, monkeypatch):
    pictures, recipe = small
    (pictures / "cup/broken.png").write_bytes(b"no")
    said, before_any_training = [], []

    def say(line):
        said.append(line)
        if line.startswith("about "):
            before_any_training.append(not any((tmp_path / "model-run").glob("*.pt")))

    report = train_generator(pictures, tmp_path / "model", recipe, say=say)
    assert DISTANCES | {"class_accuracy", "real_accuracy", "reconstruction_psnr"} == set(report)
    assert any(line.startswith("left out cup/broken.png: not a readable picture") for line in said)
    assert any("22 pictures of 2 classes to train on, 2 to measure on, 1 left out" in line for line in said)
    assert before_any_training == [True], "the estimate comes first"
    remade, samples = (tmp_path / f"model-run/{name}_000004.png" for name in ("images", "codes"))
    assert remade.read_bytes() != samples.read_bytes()
    profile = load_profile(str(tmp_path / "model"))
    assert profile.classes == ("cup", "rüdiger's box") and set(profile.tasks) == {"FG/BG", "MC-all"}
    assert profile.oracle is None and profile.renderer is None
    sample = profile.generator().sample(torch.tensor([0, 1]), torch.tensor([3, 4]), profile.sampling)
    assert sample.images.shape == (2, 3, 64, 64)
    image = np.zeros((1, 64, 64, 3), np.uint8)
    assert (
        profile.scorer(image, np.array([1])).shape == (1,) and profile.quality_features(image).shape[1] == 128
    )
    monkeypatch.setattr(
        "sys.argv",
        ["bdgan", "sample", "--profile", str(tmp_path / "model"), "--out", str(tmp_path / "s.png")],
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0 and (tmp_path / "s.png").exists()
    with pytest.raises(BdganError, match="model exists and is not written over"):
        train_generator(pictures, tmp_path / "model", recipe)


def test_samples_that_are_training_pictures_lie_at_no_distance(vqgan, monkeypatch):
    random = np.random.default_rng(0)
    seen, unseen = (random.integers(0, 256, (count, 32, 32, 3), np.uint8) for count in (30, 10))
    copies, ids = seen[[7, 3, 11]], np.arange(3)
    monkeypatch.setattr(quality, "_samples", lambda _: (copies, ids))
    classifier = Classifier(3).eval()
    report, pairs = quality.measured(vqgan, classifier, seen, unseen, np.arange(10) % 3)
    assert report["nearest_ratio"] < 1e-4 < 0.1 < report["training_nearest_ratio"]
    cells = pairs[2:34].reshape(32, -1, 3)[:, 2 : 2 + 6 * 34].reshape(32, 6, 34, 3)[:, :, :32]
    assert (cells[:, 0::2] == cells[:, 1::2]).all(), "each beside its training picture"
    assert all(any((cells[:, i] == copy).all() for copy in copies) for i in range(6))


@pytest.mark.slow
def test_a_biggan_is_a_profile_too_and_goes_on_where_it_was_cut_off(small, tmp_path, monkeypatch):
    pictures, recipe = small
    recipe = replace(recipe, kind="biggan")
    report = train_generator(pictures, tmp_path / "whole", recipe, say=lambda line: None)
    assert DISTANCES | {"class_accuracy", "real_accuracy", "inversion_psnr"} == set(report)
    profile = load_profile(str(tmp_path / "whole"))
    generator = profile.generator()
    sample = generator.sample(torch.tensor([0, 1]), torch.tensor([3, 4]), profile.sampling)
    assert sample.images.shape == (2, 3, 64, 64) and generator.z_dim == 32 and profile.encoder is None
    cut_off_at(monkeypatch, [(2,), (5,)])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_generator(pictures, tmp_path / "cut", recipe, say=lambda line: None)
    said = []
    train_generator(pictures, tmp_path / "cut", recipe, say=said.append)
    assert any(line.startswith("going on from the checkpoints") for line in said)
    assert (tmp_path / "cut-run/nearest.png").exists(), "it shows training pictures, ..."
    assert not (tmp_path / "cut/nearest.png").exists(), "... and a model may be shared"
    for name in ("model.safetensors", "scorer.safetensors", "model.json", "config.json", "report.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_kind_and_its_options_go_together(small, tmp_path, monkeypatch, capsys):
    pictures, recipe = small
    with pytest.raises(BdganError, match="expected a generator of kind vqgan or biggan, got 'gan'"):
        train_generator(pictures, tmp_path / "model", replace(recipe, kind="gan"))
    line = ["bdgan", "train-generator", str(pictures), "--out", str(tmp_path / "model"), "--kind", "biggan"]
    monkeypatch.setattr("sys.argv", [*line, "--code-steps", "5"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "--code-steps is of --kind vqgan" in capsys.readouterr().err
    assert not (tmp_path / "model-run").exists()


def test_a_training_cut_off_goes_on_and_ends_with_the_same_weights(small, tmp_path, monkeypatch):
    pictures, recipe = small
    train_generator(pictures, tmp_path / "whole", recipe, say=lambda line: None)
    cut_off_at(monkeypatch, [("images", 3), ("codes", 3)])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_generator(pictures, tmp_path / "cut", recipe, say=lambda line: None)
        assert not (tmp_path / "cut").exists()
    said = []
    train_generator(pictures, tmp_path / "cut", recipe, say=said.append)
    assert any(line.startswith("going on from the checkpoints") for line in said)
    for name in ("model.safetensors", "scorer.safetensors", "model.json", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_other_pictures_or_settings_do_not_go_on_from_a_run(small, tmp_path):
    pictures, recipe = small
    train_generator(pictures, tmp_path / "one", recipe, say=lambda line: None)
    (tmp_path / "one-run").rename(tmp_path / "two-run")
    with pytest.raises(BdganError, match="is of another training"):
        train_generator(pictures, tmp_path / "two", replace(recipe, seed=1), say=lambda line: None)
    with pytest.raises(BdganError, match="expected a side of 64 or 128 pixels, got 100"):
        train_generator(pictures, tmp_path / "three", replace(recipe, side=100))
    copytree(pictures, tmp_path / "pictures2")
    (pictures / "third").mkdir()
    for n in range(8):
        Image.new("RGB", (90, 90), (n * 20, 0, 0)).save(pictures / f"third/{n}.png")
    with pytest.raises(BdganError, match="differ in class 'third'"):
        train_generator(pictures, tmp_path / "three", recipe, held_out=tmp_path / "pictures2", say=print)


def test_a_model_beside_its_pictures_never_becomes_one_of_them(small, tmp_path):
    pictures, recipe = small
    for out, more in (("mine", {}), ("cup/mine", {}), ("../other/mine", {"held_out": tmp_path / "other"})):
        with pytest.raises(BdganError, match=r"is or lies in .*, whose files it would join"):
            train_generator(pictures, pictures / out, recipe, say=print, **more)
    with pytest.raises(BdganError, match="exists and is not written over"):
        train_generator(pictures, pictures, recipe, say=print)
    assert sorted(path.name for path in pictures.iterdir()) == ["cup", "rüdiger's box"]


def test_held_out_pictures_that_train_measure_nothing(small, tmp_path):
    pictures, recipe = small
    with pytest.raises(BdganError, match="every picture of class 'cup' is one of the training pictures"):
        train_generator(pictures, tmp_path / "mine", recipe, held_out=pictures, say=print)
    copytree(pictures, tmp_path / "held")
    for path in sorted((tmp_path / "held").rglob("*.png"))[::2]:
        Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    said = []
    report = train_generator(pictures, tmp_path / "mine", recipe, held_out=tmp_path / "held", say=said.append)
    twins = [line for line in said if "the same picture as cup/01.png, which trains" in line]
    assert twins[0].startswith(f"left out {tmp_path / 'held'}: cup/01.png")
    assert any("24 pictures of 2 classes to train on, 12 to measure on, 12 left out" in line for line in said)
    assert report["nearest_ratio"] < 100


def test_a_run_has_one_process_and_says_what_in_it_is_damaged(small, tmp_path):
    pictures, recipe = small
    train_generator(pictures, tmp_path / "one", recipe, say=lambda line: None)
    (tmp_path / "one-run").rename(tmp_path / "two-run")
    with only_writer(tmp_path / "two-run"), pytest.raises(BdganError, match="two-run is being written by"):
        train_generator(pictures, tmp_path / "two", recipe, say=lambda line: None)
    (classifier,) = (tmp_path / "two-run").glob("classifier-*.pt")
    whole = classifier.read_bytes()
    for damaged in (b"", whole[:1000], b"cos\nsystem\n(S'true'\ntR."):
        classifier.write_bytes(damaged)
        with pytest.raises(
            BdganError, match=r"classifier-\w+\.pt is unreadable .*remove it to train it anew"
        ):
            train_generator(pictures, tmp_path / "two", recipe, say=lambda line: None)
    classifier.write_bytes(whole)
    log = tmp_path / "two-run/log.csv"
    log.write_text(log.read_text("utf-8") + "codes", "utf-8")  # torn, as a full disk leaves a line
    train_generator(pictures, tmp_path / "two", recipe, say=lambda line: None)
    names = "model.safetensors", "training_log.csv"
    assert all((tmp_path / "two" / n).read_bytes() == (tmp_path / "one" / n).read_bytes() for n in names)


def test_a_short_training_has_a_codebook_too(small, tmp_path, monkeypatch):
    pictures, recipe = small
    recipe = replace(recipe, vqgan=replace(recipe.vqgan, plain_steps=vqgan.Recipe.plain_steps))
    said = []
    train_generator(pictures, tmp_path / "mine", recipe, say=said.append)
    codebook = load_file(tmp_path / "mine/model.safetensors")["quantize.embedding.weight"]
    assert codebook.abs().max() > 2 / len(codebook), "no longer what an untrained one holds"


def test_samples_of_no_class_are_told(small, tmp_path, monkeypatch):
    pictures, recipe = small
    figures = dict.fromkeys((*DISTANCES, "class_accuracy"), 0.3) | {"real_accuracy": 0.9}
    sheet = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(own_generator, "measured", lambda *_: (figures, sheet))
    said = []
    train_generator(pictures, tmp_path / "mine", recipe, say=said.append)
    assert any(
        "only 30% of the samples are taken for their class, of held-out pictures 90%" in s for s in said
    )
    assert (tmp_path / "mine").exists()


def test_names_of_any_script_go_from_pictures_to_labels(small, tmp_path):
    pictures, recipe = small
    (pictures / "cup").rename(pictures / "\u042f\u0431\u043b\u043e\u043a\u043e \x1b")
    with pytest.raises(BdganError, match="1 to 200 printable characters"):
        train_generator(pictures, tmp_path / "mine", recipe, say=print)
    (pictures / "\u042f\u0431\u043b\u043e\u043a\u043e \x1b").rename(
        pictures / "\u042f\u0431\u043b\u043e\u043a\u043e"
    )
    train_generator(pictures, tmp_path / "mine", recipe, say=lambda line: None)
    profile = load_profile(str(tmp_path / "mine"))
    labels = tmp_path / "mine/annotations"
    for k, name in enumerate(profile.classes):
        id = class_sample_id(profile.classes, k, 5)
        mask = np.eye(64, dtype=np.uint8)
        AnnotationStore(labels).add(Annotation(id, name, k, 5, Sampling(), "0" * 64, mask, "me"))
    assert {annotation.class_name for annotation in profile.annotations()} == {*profile.classes}


@pytest.mark.parametrize(
    "change",
    ["{}", '{"kind": "vqgan", "side": 64}', "[", '{"kind": "other", "side": 64, "classes": ["a", "b"]}'],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, change):
    with pytest.raises(
        BdganError, match=r"model\.json is missing; give a folder that `bdgan train-generator` wrote"
    ):
        load_profile(str(tmp_path))
    (tmp_path / "model.json").write_text(change)
    with pytest.raises(BdganError, match=r"model\.json.*give a folder that `bdgan train-generator` wrote"):
        load_profile(str(tmp_path))
    with pytest.raises(BdganError, match="no profile or model folder 'none'; there is pocket"):
        load_profile("none")


@pytest.mark.slow
def test_its_log_has_every_step_once_and_pictures_after_interruptions(small, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pictures, recipe = small
    cut_off_at(monkeypatch, [("images", 3), ("codes", 3)])
    for ends in (True, True, False):
        end = pytest.raises(KeyboardInterrupt) if ends else nullcontext()
        with TensorBoardLog(tmp_path / "logs") as log, end:
            train_generator(pictures, tmp_path / "model", recipe, say=lambda line: None, logger=log)
    events = accumulator.EventAccumulator(str(tmp_path / "logs")).Reload()
    steps = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert steps["classifier/loss"] == [0, 1]
    assert steps["images/loss"] == steps["images/perceptual"] == steps["images/learning_rate"] == [2, 3, 4, 5]
    assert steps["codes/loss"] == steps["codes/nats"] == [6, 7, 8, 9]
    shown = {name: [event.step for event in events.Images(name)] for name in events.Tags()["images"]}
    assert shown == {"images/reconstructions": [3, 5], "codes/samples": [7, 9]}


class Types(TorchDispatchMode):
    """Which types the convolutions and products inside take."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "conv" in str(function) or "mm" in str(function):
            self.seen |= {x.dtype for x in args if isinstance(x, torch.Tensor)}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["vqgan", "biggan"])
def test_a_training_computes_in_bfloat16_only_where_that_is_fast(kind, small, tmp_path, monkeypatch):
    """Emulated, as on most laptops, it takes up to twenty times as long."""
    pictures, recipe = small
    recipe = replace(recipe, kind=kind)
    for n, fast in enumerate({False, precision.bf16_is_fast("cpu")}):
        for module in (precision, vqgan):
            monkeypatch.setattr(module, "bf16_is_fast", lambda device, fast=fast: fast)
        with Types() as types:
            train_generator(pictures, tmp_path / f"model{n}", recipe, say=lambda line: None)
        assert (torch.bfloat16 in types.seen) == fast and torch.float32 in types.seen


def test_what_a_model_folder_cannot_do_is_told(small, tmp_path, monkeypatch, capsys):
    pictures, recipe = small
    model = str(tmp_path / "mine")
    train_generator(pictures, tmp_path / "mine", recipe, say=lambda line: None)
    for command, says in (
        (("experiment", "table2", "--out", str(tmp_path / "ex")), "experiments run in the pocket world"),
        (("annotate", "--out", str(tmp_path / "labels")), "has neither an oracle nor labels of its own"),
        (
            ("figures", "--only", "fig2", "--out", str(tmp_path / "fig")),
            "no annotations; label samples first",
        ),
    ):
        monkeypatch.setattr("sys.argv", ["bdgan", *command, "--profile", model])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2 and says in capsys.readouterr().err
    assert not (tmp_path / "ex").exists()
