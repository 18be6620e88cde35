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
from bdgan_lib.core.io import atomic_file, atomic_folder, require_new_path, require_outside, write_atomic
from bdgan_lib.core.model_files import write_json
from bdgan_lib.core.types import BdganError, printable
from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.profiles.own_model import LOADERS, MODEL, SCORER
from bdgan_lib.recipes.biggan import BigGANTrainer, small_config
from bdgan_lib.recipes.biggan import Recipe as BigGANRecipe
from bdgan_lib.recipes.common import write_half
from bdgan_lib.recipes.picture_latents import picture_latents
from bdgan_lib.recipes.pictures import VIEW_MARGIN, PictureSet, read_picture_set, root_of, views
from bdgan_lib.recipes.quality import SAMPLES, measured, sample_sheet
from bdgan_lib.recipes.vqgan import Recipe as VQGANRecipe
from bdgan_lib.recipes.vqgan import VQGANTrainer
from bdgan_lib.synthesis.folder import only_writer
from bdgan_lib.training.logs import Logger, TrainingLog
from bdgan_lib.training.supervised import FitConfig, fit, seeded
from bdgan_lib.worlds.networks import Classifier

SIDES = (64, 128)
MOST_VIEWS, VIEWS_EACH = 24_000, 20  # augmented crops to train on: so many in all, and of each picture
CLASSIFIER = FitConfig(1_200, 48, seed=1)
Z_DIM = 32  # of a BigGAN
NEAREST = "nearest.png"  # samples beside their nearest training pictures
COPIES = 0.9  # least `nearest_ratio` of samples that are no copies
TRIAL_STEPS = 3  # whose time the estimate is taken from, after one that is slower
_CLASSIFIER = "classifier-"  # its file in the folder of the run begins so

_VQGAN = VQGANRecipe(image_steps=3_000, adversarial=0.3)
_BIGGAN = BigGANRecipe(warm_steps=6_000, adversarial_steps=6_000, random_latents=True, augment=True)


@dataclass(frozen=True)
class OwnRecipe:
    """Settings of a training on one's own pictures."""

    kind: str = "vqgan"  # or "biggan"
    side: int = 64  # pixels
    hold_out: float = 0.1  # share of each class's pictures that measure and do not train
    vqgan: VQGANRecipe = _VQGAN
    biggan: BigGANRecipe = _BIGGAN
    seed: int = 0


def train_generator(
    source: str | Path,
    out: Path,
    recipe: OwnRecipe = OwnRecipe(),
    held_out: str | Path | None = None,
    device: str = "cpu",
    say: Callable[[str], object] = print,
    logger: Logger | None = None,
) -> dict[str, float]:
    """Train a VQGAN or a BigGAN-deep on a folder of pictures and write a model folder, which is a profile.

    Interrupted, the same call goes on from its last checkpoint; they lie in the folder `<out>-run`.

    Args:
        source: see `read_picture_set`.
        out: the model folder; written whole at the end, or not at all.
        recipe: the settings.
        held_out: pictures of the same classes to measure on; None: a share of those in `source`.
        device: where to train.
        say: receives lines of progress.
        logger: receives figures and pictures of the training; None for none.

    Returns:
        What was measured, as `report.json` holds it.

    Raises:
        BdganError: the pictures cannot be used, `out` exists or lies in their folder, or the run is of other
            pictures or settings or goes on elsewhere.
    """
    if recipe.kind not in LOADERS:
        raise BdganError(f"expected a generator of kind {' or '.join(LOADERS)}, got {recipe.kind!r}")
    if recipe.side not in SIDES:
        raise BdganError(f"expected a side of {' or '.join(map(str, SIDES))} pixels, got {recipe.side}")
    out = Path(out)
    run = run_folder(out)
    require_outside(out, *(root_of(Path(folder)) for folder in (source, held_out) if folder is not None))
    training, unseen = _pictures(source, held_out, recipe, say)
    run.mkdir(parents=True, exist_ok=True)
    with only_writer(run):
        return _train(training, unseen, out, run, recipe, device, say, logger)


def run_folder(out: Path) -> Path:
    """Where the checkpoints of a new model folder lie: beside it.

    Raises:
        BdganError: the model folder exists.
    """
    return require_new_path(out).with_name(f"{out.name}-run")


def _train(
    training: PictureSet,
    unseen: PictureSet,
    out: Path,
    run: Path,
    recipe: OwnRecipe,
    device: str,
    say: Callable[[str], object],
    logger: Logger | None,
) -> dict[str, float]:
    """Train, measure and write the model folder."""
    count = min(MOST_VIEWS, VIEWS_EACH * len(training.images))
    images, place, crops = views(training.images, count, recipe.side, recipe.seed)
    class_ids = training.class_ids[place]
    log = TrainingLog.of(logger)
    seen, others = (_resized(pictures.images, recipe.side) for pictures in (training, unseen))

    def trainer_of(classifier: Classifier, log: TrainingLog | None = None) -> VQGANTrainer | BigGANTrainer:
        """A new one each time."""
        if recipe.kind == "biggan":
            latents = picture_latents(training.images, training.class_ids, place, crops, Z_DIM)
            config = small_config(recipe.side, len(training.classes), Z_DIM)
            settings = replace(recipe.biggan, seed=recipe.seed)
            return BigGANTrainer(
                images, class_ids, latents, 0, classifier, config, settings, run, device, log
            )
        return VQGANTrainer(
            np.concatenate([images, others]), np.concatenate([class_ids, unseen.class_ids]), len(others),
            classifier, _config(recipe.side, len(training.classes)), replace(recipe.vqgan, seed=recipe.seed),
            run, device, log,
        )  # fmt: skip

    if any(not path.name.startswith(_CLASSIFIER) for path in run.glob("*.pt")):
        say(f"going on from the checkpoints in {run}")
    else:
        trial = seeded(lambda: Classifier(len(training.classes)), 1)
        minutes = _minutes(trial, images, class_ids, device, lambda: trainer_of(_frozen(trial, device)))
        gigabytes = psutil.Process().memory_info().rss / 2**30
        say(
            f"about {minutes:.0f} minutes and {gigabytes:.1f} GB of memory; samples and checkpoints go to "
            f"{run} every few hundred steps"
        )
    classifier = _classifier(run, images, class_ids, len(training.classes), device, log)
    trainer = trainer_of(classifier, log and log.at("", CLASSIFIER.steps))
    trainer.train()
    say(f"trained; {SAMPLES:,} samples are drawn and measured beside the pictures")
    with atomic_folder(out) as folder:
        trainer.export(folder, pictures=len(training.images), views=count)
        write_half(folder / SCORER, classifier.state_dict())
        model = {"kind": recipe.kind, "classes": list(training.classes), "side": recipe.side}
        write_json(folder / MODEL, model, ascii_only=False)
        generator = LOADERS[recipe.kind](folder, training.classes, device)
        report, nearest = measured(generator, classifier, seen, others, unseen.class_ids)
        write_json(folder / "report.json", {**report, "dropped": [list(row) for row in training.dropped]})
        write_atomic(folder / "samples.png", encode_png(sample_sheet(generator)))
    write_atomic(run / NEAREST, encode_png(nearest))  # training pictures stay out of a model that is shared
    if report["class_accuracy"] < report["real_accuracy"] / 2:
        say(
            f"warning: only {report['class_accuracy']:.0%} of the samples are taken for their class, of "
            f"held-out pictures {report['real_accuracy']:.0%}; look at {out / 'samples.png'}, and train for "
            "more steps"
        )
    if report["nearest_ratio"] < COPIES:
        say(
            f"warning: samples lie nearer to the training pictures than held-out pictures do (ratio "
            f"{report['nearest_ratio']}, below {COPIES}; training pictures to one another: "
            f"{report['training_nearest_ratio']}). {run / NEAREST} shows the nearest samples beside "
            "their training pictures: if they are copies, give more pictures"
        )
    return report


def _pictures(
    source: str | Path, held_out: str | Path | None, recipe: OwnRecipe, say: Callable[[str], object]
) -> tuple[PictureSet, PictureSet]:
    full = round(VIEW_MARGIN * recipe.side)
    # the smaller set first: what is wrong with it is told before the other is read
    measuring = None if held_out is None else read_picture_set(held_out, full)
    pictures = read_picture_set(source, full, progress=True)
    if len(pictures.classes) > VQGANConfig.codes:  # the transformer begins with a class as its first code
        raise BdganError(
            f"{source} has {len(pictures.classes)} classes; expected {VQGANConfig.codes} or fewer"
        )
    if measuring is None or held_out is None:
        training, unseen = pictures.split(recipe.hold_out)
        training = replace(training, dropped=pictures.dropped)
    else:
        training, unseen = pictures, measuring
        if unseen.classes != training.classes:
            other = sorted({*unseen.classes} ^ {*training.classes})[0]
            raise BdganError(f"{held_out} and {source} differ in class {other!r}; both need the same folders")
        unseen = _without(unseen, training, held_out)
    dropped = [*training.dropped, *((f"{held_out}: {name}", why) for name, why in unseen.dropped)]
    for name, why in dropped:
        say(printable(f"left out {name}: {why}"))
    say(
        f"{len(training.images)} pictures of {len(training.classes)} classes to train on, "
        f"{len(unseen.images)} to measure on, {len(dropped)} left out"
    )
    return training, unseen


def _without(unseen: PictureSet, training: PictureSet, held_out: str | Path) -> PictureSet:
    """The held-out pictures but those that also train, which would measure nothing."""
    known = {image.tobytes(): name for image, name in zip(training.images, training.names, strict=True)}
    equals = [known.get(image.tobytes()) for image in unseen.images]
    left = unseen.chosen(np.array([same is None for same in equals]))
    for k, label in enumerate(unseen.classes):
        if k not in left.class_ids:
            raise BdganError(
                f"{held_out}: every picture of class {label!r} is one of the training pictures too; give "
                "others"
            )
    dropped = [
        (name, f"the same picture as {same}, which trains")
        for name, same in zip(unseen.names, equals, strict=True)
        if same is not None
    ]
    return replace(left, dropped=(*unseen.dropped, *dropped))


def _config(side: int, classes: int) -> VQGANConfig:
    """8 x 8 codes for both sides."""
    multiples = (1, 1, 2, 4) if side == 64 else (1, 1, 2, 2, 4)
    return VQGANConfig(resolution=side, num_classes=classes, ch_mult=multiples)


def _classifier(
    run: Path,
    images: NDArray[np.uint8],
    class_ids: NDArray[np.int64],
    classes: int,
    device: str,
    log: TrainingLog | None,
) -> Classifier:
    """A classifier of the training pictures, trained once."""
    data = sha256(images.data)
    data.update(class_ids.data)
    path = run / f"{_CLASSIFIER}{data.hexdigest()[:12]}.pt"
    classifier = seeded(lambda: Classifier(classes), 1)
    if path.exists():
        try:
            tensors = torch.load(path, weights_only=True)
        except Exception as error:  # torch, zipfile and pickle each raise their own
            raise BdganError(
                f"{path} is unreadable ({type(error).__name__}); remove it to train it anew"
            ) from error
        load_strict(classifier, tensors, str(path))
    elif any(run.glob(f"{_CLASSIFIER}*.pt")):
        raise BdganError(
            f"{run} is of another training (other pictures or another seed); go on with those, give another "
            "--out, or remove it"
        )
    else:
        log = log and log.at("classifier", 0)
        fit(classifier, images, class_ids, CLASSIFIER, device, progress="classifier", logger=log)
        with atomic_file(path) as file:
            torch.save(classifier.cpu().state_dict(), file)
    rounded = {k: v.half().to(v.dtype) for k, v in classifier.state_dict().items()}  # as it is written
    classifier.load_state_dict(rounded)
    return _frozen(classifier, device)


def _frozen(classifier: Classifier, device: str) -> Classifier:
    return classifier.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _minutes(
    classifier: Classifier,
    images: NDArray[np.uint8],
    class_ids: NDArray[np.int64],
    device: str,
    trainer_of: Callable[[], VQGANTrainer | BigGANTrainer],
) -> float:
    """How long the training will take, from a few steps of networks that serve nothing else."""
    fit(classifier, images, class_ids, replace(CLASSIFIER, steps=1), device)
    start = time.monotonic()
    fit(classifier, images, class_ids, replace(CLASSIFIER, steps=TRIAL_STEPS), device)
    seconds = CLASSIFIER.steps * (time.monotonic() - start)
    for steps, loss_of in trainer_of().stages():
        loss_of().backward()
        start = time.monotonic()
        for _ in range(TRIAL_STEPS):
            loss_of().backward()
        seconds += steps * (time.monotonic() - start)
    return seconds / TRIAL_STEPS / 60


def _resized(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
