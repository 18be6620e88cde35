"""A generator of one's own pictures: check them, train, measure on others, write a model folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import atomic_file, atomic_folder, require_new_path, write_atomic
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.vqgan import VQGAN, load_vqgan
from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.metrics.fidelity import frechet_distance
from bdgan_lib.profiles.own_model import MODEL, SCORER
from bdgan_lib.recipes.common import write_half
from bdgan_lib.recipes.pictures import VIEW_MARGIN, PictureSet, read_picture_set, views
from bdgan_lib.recipes.vqgan import Recipe, VQGANTrainer
from bdgan_lib.training.supervised import FitConfig, fit, predict, seeded
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier

SIDES = (64, 128)
MOST_VIEWS, VIEWS_EACH = 24_000, 20  # augmented crops to train on: so many in all, and of each picture
CLASSIFIER_STEPS = 1_200
SAMPLES = 2_000  # that are measured
COPIES = 0.9  # least `nearest_ratio` of samples that are no copies
TRIAL_STEPS = 3  # whose time the estimate is taken from


_VQGAN = Recipe(image_steps=3_000, code_steps=4_000, adversarial=0.3, adversarial_from=0.5)


@dataclass(frozen=True)
class OwnRecipe:
    """Settings of a training on one's own pictures."""

    side: int = 64  # pixels
    hold_out: float = 0.1  # share of each class's pictures that measure and do not train
    vqgan: Recipe = _VQGAN
    seed: int = 0


def train_vqgan(
    source: str | Path,
    out: Path,
    recipe: OwnRecipe = OwnRecipe(),
    held_out: str | Path | None = None,
    device: str = "cpu",
    say: Callable[[str], object] = print,
) -> dict[str, float]:
    """Train a VQGAN on a folder of pictures and write a model folder, which is a profile.

    Interrupted, the same call goes on from its last checkpoint; they lie in the folder `<out>-run`.

    Args:
        source: see `read_picture_set`.
        out: the model folder; written whole at the end, or not at all.
        recipe: the settings.
        held_out: pictures of the same classes to measure on; None: a share of those in `source`.
        device: where to train.
        say: receives lines of progress.

    Returns:
        What was measured, as `report.json` holds it.

    Raises:
        BdganError: the pictures do not do, `out` exists, or the run is of other pictures or settings.
    """
    if recipe.side not in SIDES:
        raise BdganError(f"expected a side of {' or '.join(map(str, SIDES))} pixels, got {recipe.side}")
    out = require_new_path(Path(out))
    run = out.with_name(f"{out.name}-run")
    training, unseen = _pictures(source, held_out, recipe, say)
    run.mkdir(parents=True, exist_ok=True)
    count = min(MOST_VIEWS, VIEWS_EACH * len(training.images))
    images, class_ids = views(training, count, recipe.side, recipe.seed)
    classifier = _classifier(run, images, class_ids, len(training.classes), device)
    seen_images, unseen_images = (_resized(p.images, recipe.side) for p in (training, unseen))
    trainer = VQGANTrainer(
        np.concatenate([images, unseen_images]), np.concatenate([class_ids, unseen.class_ids]),
        len(unseen_images), classifier, _config(recipe.side, len(training.classes)), recipe.vqgan,
        run, device,
    )  # fmt: skip
    say(_estimate(trainer, run))
    trainer.train()
    with atomic_folder(out) as folder:
        trainer.export(folder, pictures=len(training.images), views=count)
        write_half(folder / SCORER, classifier.state_dict())
        model = {"kind": "vqgan", "classes": list(training.classes), "side": recipe.side}
        write_json(folder / MODEL, model, ascii_only=False)
        generator = load_vqgan(folder, training.classes, device)
        report = measured(generator, classifier, seen_images, unseen_images, unseen.class_ids)
        write_json(folder / "report.json", {**report, "dropped": [list(row) for row in training.dropped]})
        write_atomic(folder / "samples.png", encode_png(_sheet(generator)))
    if report["nearest_ratio"] < COPIES:
        say(
            f"warning: samples lie nearer to the training pictures than held-out pictures do (ratio "
            f"{report['nearest_ratio']}, below {COPIES}): some may be copies; give more pictures"
        )
    return report


def measured(
    generator: VQGAN,
    classifier: Classifier,
    seen: NDArray[np.uint8],
    unseen: NDArray[np.uint8],
    unseen_ids: NDArray[np.int64],
) -> dict[str, float]:
    """How good samples are, in features of a classifier of the training pictures.

    Args:
        generator: of the samples.
        classifier: on the generator's device; its pooled features are the space of all distances.
        seen: training pictures [N, S, S, 3].
        unseen: held-out pictures [M, S, S, 3].
        unseen_ids: their classes [M].

    Returns:
        Figures by name. `frechet_over_real`: the Fréchet distance of samples to held-out pictures over that
        of training pictures to them; left out where there are fewer pictures than features.
        `class_accuracy`: the share of samples that the classifier takes for their class, and
        `real_accuracy` that of held-out pictures. `reconstruction_psnr`: of held-out pictures, in dB.
        `nearest_ratio`: the median distance of samples to the nearest training picture over that of
        held-out pictures.
    """
    samples, ids = _samples(generator)
    mine, theirs, real = map(classifier.features_of, (samples, seen, unseen))
    remade = np.concatenate([
        to_uint8(generator.decode(generator.encode(from_uint8(part).to(generator.device))))
        for part in np.array_split(unseen, -(-len(unseen) // 50))
    ])  # fmt: skip
    error = np.square(remade.astype(float) - unseen).mean((1, 2, 3)).clip(1e-9)
    figures = {
        "class_accuracy": _accuracy(classifier, samples, ids),
        "real_accuracy": _accuracy(classifier, unseen, unseen_ids),
        "reconstruction_psnr": float((10 * np.log10(255**2 / error)).mean()),
        "nearest_ratio": float(
            np.median(_nearest(mine, theirs)) / max(np.median(_nearest(real, theirs)), 1e-9)
        ),
    }
    if min(len(seen), len(unseen)) > mine.shape[1]:
        figures["frechet_over_real"] = frechet_distance(mine, real) / max(
            frechet_distance(theirs, real), 1e-9
        )
    return {name: round(value, 4) for name, value in figures.items()}


def _pictures(
    source: str | Path, held_out: str | Path | None, recipe: OwnRecipe, say: Callable[[str], object]
) -> tuple[PictureSet, PictureSet]:
    full = round(VIEW_MARGIN * recipe.side)
    pictures = read_picture_set(source, full, progress=True)
    if len(pictures.classes) > VQGANConfig.codes:  # the transformer begins with a class as its first code
        raise BdganError(
            f"{source} has {len(pictures.classes)} classes; expected {VQGANConfig.codes} or fewer"
        )
    for name, why in pictures.dropped:
        say(f"left out {name}: {why}")
    if held_out is None:
        training, unseen = pictures.split(recipe.hold_out)
        training = replace(training, dropped=pictures.dropped)
    else:
        training, unseen = pictures, read_picture_set(held_out, full)
        if unseen.classes != training.classes:
            other = sorted({*unseen.classes} ^ {*training.classes})[0]
            raise BdganError(f"{held_out} and {source} differ in class {other!r}; both need the same folders")
    say(
        f"{len(training.images)} pictures of {len(training.classes)} classes to train on, "
        f"{len(unseen.images)} to measure on, {len(pictures.dropped)} left out"
    )
    return training, unseen


def _config(side: int, classes: int) -> VQGANConfig:
    """8 x 8 codes for both sides."""
    multiples = (1, 1, 2, 4) if side == 64 else (1, 1, 2, 2, 4)
    return VQGANConfig(resolution=side, num_classes=classes, ch_mult=multiples)


def _classifier(
    run: Path, images: NDArray[np.uint8], class_ids: NDArray[np.int64], classes: int, device: str
) -> Classifier:
    """A classifier of the training pictures, trained once."""
    data = sha256(images.data)
    data.update(class_ids.data)
    path = run / f"classifier-{data.hexdigest()[:12]}.pt"
    classifier = seeded(lambda: Classifier(classes), 1)
    if path.exists():
        load_strict(classifier, torch.load(path, weights_only=True), str(path))
    else:
        config = FitConfig(CLASSIFIER_STEPS, 48, seed=1)
        fit(classifier, images, class_ids, config, device, progress="classifier")
        with atomic_file(path) as file:
            torch.save(classifier.cpu().state_dict(), file)
    rounded = {k: v.half().to(v.dtype) for k, v in classifier.state_dict().items()}  # as it is written
    classifier.load_state_dict(rounded)
    return classifier.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _estimate(trainer: VQGANTrainer, run: Path) -> str:
    """What the training will take, from a few steps that are not kept; nothing if it was begun."""
    if (run / "images.pt").exists():
        return f"going on from the checkpoints in {run}"
    recipe, network = trainer.recipe, trainer.network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seconds = []
    late = max(recipe.plain_steps + 1, int(recipe.adversarial_from * recipe.image_steps))  # all parts run
    for loss_of in (trainer._image_loss, trainer._code_loss):
        trainer.codes = torch.zeros(len(trainer.images), network.config.side**2, dtype=torch.int64)
        start = time.monotonic()
        for _ in range(TRIAL_STEPS):
            loss_of(late).backward()
        seconds.append((time.monotonic() - start) / TRIAL_STEPS)
        network.zero_grad(set_to_none=True)
    network.load_state_dict(before)
    trainer.used.zero_()
    minutes = (recipe.image_steps * seconds[0] + recipe.code_steps * seconds[1]) / 60
    gigabytes = psutil.Process().memory_info().rss / 2**30
    return (
        f"about {minutes:.0f} minutes and {gigabytes:.1f} GB of memory; samples and checkpoints go to {run} "
        "every few hundred steps"
    )


def _samples(generator: VQGAN) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    numbers = torch.arange(min(SAMPLES, GENERATOR["model folder, quality"].count))
    ids, seeds = numbers % len(generator.classes), numbers + GENERATOR["model folder, quality"].first
    parts = [
        to_uint8(generator.sample(k, s, Sampling(), features=False).images)
        for k, s in zip(ids.split(50), seeds.split(50), strict=True)
    ]
    return np.concatenate(parts), ids.numpy()


def _sheet(generator: VQGAN) -> NDArray[np.uint8]:
    """Eight samples of each class, a row each."""
    classes = min(len(generator.classes), 24)
    ids, seeds = torch.arange(classes).repeat_interleave(8), torch.arange(8).repeat(classes)
    parts = zip(ids.split(48), seeds.split(48), strict=True)
    images = [to_uint8(generator.sample(k, s, features=False).images) for k, s in parts]
    return grid([*np.concatenate(images)], columns=8)


def _accuracy(classifier: Classifier, images: NDArray[np.uint8], ids: NDArray[np.int64]) -> float:
    device = str(classifier.head.weight.device)
    return float(np.mean(predict(classifier, images, device=device).argmax(1).numpy() == ids))


def _nearest(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distance of each point [N, D] to the nearest of the others [M, D]."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(others).query(points)[0])


def _resized(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
