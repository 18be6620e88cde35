"""How good the samples of a model folder's generator are, beside pictures that did not train it."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tqdm import tqdm

from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.seeds import GENERATOR
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.inversion import invert
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.metrics.fidelity import frechet_distance
from bdgan_lib.training.supervised import predict
from bdgan_lib.visualization.grids import grid
from bdgan_lib.worlds.networks import Classifier

SAMPLES = 2_000  # that are measured
PAIRS = 24  # samples that lie nearest to a training picture, shown beside it
INVERTED = 40  # held-out pictures whose latents are searched, of a generator that cannot encode them


def measured(
    generator: FeatureGenerator | VQGAN,
    classifier: Classifier,
    seen: NDArray[np.uint8],
    unseen: NDArray[np.uint8],
    unseen_ids: NDArray[np.int64],
) -> tuple[dict[str, float], NDArray[np.uint8]]:
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
        `real_accuracy` that of held-out pictures. `reconstruction_psnr`: of held-out pictures that a VQGAN
        encodes, in dB. `inversion_psnr`, of a BigGAN: of the samples that gradient descent finds for 40 of
        them, the median.
        `nearest_ratio`: the median distance of samples to the nearest training picture over that of
        held-out pictures; `training_nearest_ratio` the same of training pictures, each to the nearest
        other one: a perfect generator of what it was shown would be as near.
        And a sheet of the samples that lie nearest to a training picture, each to the left of it.
    """
    samples, ids = _samples(generator)
    mine, theirs, real = map(classifier.features_of, (samples, seen, unseen))
    tree = cKDTree(theirs)
    distances, nearest = tree.query(mine)
    unit = max(np.median(tree.query(real)[0]), 1e-9)
    figures = {
        "class_accuracy": _accuracy(classifier, samples, ids),
        "real_accuracy": _accuracy(classifier, unseen, unseen_ids),
        "nearest_ratio": float(np.median(distances) / unit),
        "training_nearest_ratio": float(np.median(tree.query(theirs, k=2)[0][:, 1]) / unit),
    }
    if isinstance(generator, VQGAN):
        figures["reconstruction_psnr"] = float(_reconstruction_psnr(generator, unseen).mean())
    else:
        chosen = np.linspace(0, len(unseen) - 1, min(INVERTED, len(unseen))).astype(int)
        ids = unseen_ids[chosen]
        inverted = invert(generator, unseen[chosen], ids, classifier.maps, progress="inversion")
        figures["inversion_psnr"] = float(np.median(inverted.psnr))
    if min(len(seen), len(unseen)) > mine.shape[1]:
        figures["frechet_over_real"] = frechet_distance(mine, real) / max(
            frechet_distance(theirs, real), 1e-9
        )
    first = np.argsort(distances, kind="stable")[:PAIRS]
    pairs = np.stack([samples[first], seen[nearest[first]]], 1)
    return {name: round(value, 4) for name, value in figures.items()}, grid([*np.concatenate(pairs)], 8)


def _samples(generator: FeatureGenerator | VQGAN) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    numbers = torch.arange(min(SAMPLES, GENERATOR["model folder, quality"].count))
    ids, seeds = numbers % len(generator.classes), numbers + GENERATOR["model folder, quality"].first
    parts = [
        to_uint8(generator.sample(k, s, Sampling(), features=False).images)
        for k, s in tqdm([*zip(ids.split(50), seeds.split(50), strict=True)], "samples", leave=False)
    ]
    return np.concatenate(parts), ids.numpy()


def sample_sheet(generator: FeatureGenerator | VQGAN) -> NDArray[np.uint8]:
    """Eight samples of each class, a row each."""
    classes = min(len(generator.classes), 24)
    ids, seeds = torch.arange(classes).repeat_interleave(8), torch.arange(8).repeat(classes)
    parts = zip(ids.split(48), seeds.split(48), strict=True)
    images = [to_uint8(generator.sample(k, s, features=False).images) for k, s in parts]
    return grid([*np.concatenate(images)], columns=8)


def _reconstruction_psnr(generator: VQGAN, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each image [N, S, S, 3], in dB."""
    remade = np.concatenate([
        to_uint8(generator.decode(generator.encode(from_uint8(part).to(generator.device))))
        for part in np.array_split(images, -(-len(images) // 50))
    ])  # fmt: skip
    error = np.square(remade.astype(float) - images).mean((1, 2, 3)).clip(1e-9)
    return np.asarray(10 * np.log10(255**2 / error))


def _accuracy(classifier: Classifier, images: NDArray[np.uint8], ids: NDArray[np.int64]) -> float:
    device = str(classifier.head.weight.device)
    return float(np.mean(predict(classifier, images, device=device).argmax(1).numpy() == ids))
