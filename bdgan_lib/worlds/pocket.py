"""The pocket world: twelve classes on varied backgrounds; an image is a function of (class, seed)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bdgan_lib.core.types import BdganError
from bdgan_lib.worlds import animals, backgrounds, objects
from bdgan_lib.worlds.canvas import SIDE, Canvas, Draws
from bdgan_lib.worlds.rendering import downscale, render_many

LATENT_DIM = 64
_OBJECT_DIM = 36  # entries of the latent that decide the object; the others decide the background
_BELOW = ndtr(-2.0)  # share of a standard normal below -2

_BIRD, _FISH = animals.BIRD_PARTS, animals.FISH_PARTS
_WORLD: dict[str, tuple[Callable[[Canvas, Draws], None], tuple[str, ...]]] = {
    "robin": (animals.robin, _BIRD),
    "blue jay": (animals.blue_jay, _BIRD),
    "goldfinch": (animals.goldfinch, _BIRD),
    "clownfish": (animals.clownfish, _FISH),
    "angelfish": (animals.angelfish, _FISH),
    "trout": (animals.trout, _FISH),
    "mushroom": (objects.mushroom, objects.MUSHROOM_PARTS),
    "apple": (objects.apple, objects.APPLE_PARTS),
    "car": (objects.car, objects.CAR_PARTS),
    "mug": (objects.mug, objects.MUG_PARTS),
    "house": (objects.house, objects.HOUSE_PARTS),
    "flower": (objects.flower, objects.FLOWER_PARTS),
}
CLASSES = tuple(_WORLD)
DRAWN_BY = {name: draw for name, (draw, _) in _WORLD.items()}
PARTS = {name: parts for name, (_, parts) in _WORLD.items()}  # part k of a class has label k + 1


@dataclass(frozen=True)
class Scene:
    """One rendered picture with its exact labels."""

    image: NDArray[np.uint8]  # [size, size, 3]
    parts: NDArray[np.uint8]  # [size, size]; 0 = background, k = PARTS[class][k - 1]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """[size, size]; 1 = foreground."""
        return (self.parts > 0).astype(np.uint8)


@dataclass(frozen=True)
class SceneSet:
    """Many scenes as arrays."""

    images: NDArray[np.uint8]  # [N, size, size, 3]
    parts: NDArray[np.uint8]  # [N, size, size]
    class_ids: NDArray[np.int64]  # [N]
    latents: NDArray[np.float32]  # [N, LATENT_DIM]

    @property
    def masks(self) -> NDArray[np.uint8]:
        """[N, size, size]; 1 = foreground."""
        return (self.parts > 0).astype(np.uint8)

    @property
    def class_masks(self) -> NDArray[np.uint8]:
        """[N, size, size]; 0 = background, class id + 1 elsewhere."""
        return (self.masks * (self.class_ids[:, None, None] + 1)).astype(np.uint8)


def latent_of(seed: int) -> NDArray[np.float32]:
    """The latent that `render` uses for a seed: standard normal, truncated at +-2, [LATENT_DIM]."""
    uniforms = np.random.default_rng([seed, 0]).random(LATENT_DIM)
    return ndtri(_BELOW + uniforms * (1 - 2 * _BELOW)).astype(np.float32)


def render(class_id: int, seed: int, size: int = 64, latent: NDArray[np.float32] | None = None) -> Scene:
    """Draw one picture.

    Args:
        class_id: index into CLASSES.
        seed: decides everything that the latent does not (grain, textures); and the latent, if none is given.
        size: side in pixels; 64 is the pocket profile's, larger ones are for figures.
        latent: [LATENT_DIM] in [-2, 2]; each class gives its entries their meaning.

    Raises:
        BdganError: there is no such class.
    """
    if not 0 <= class_id < len(CLASSES):
        raise BdganError(f"expected class 0 to {len(CLASSES) - 1} ({', '.join(CLASSES)}), got {class_id}")
    latent = latent_of(seed) if latent is None else latent
    uniforms = (ndtr(latent.astype(np.float64)) - _BELOW) / (1 - 2 * _BELOW)
    noise = np.random.default_rng([seed, 1])
    of_object, of_background = Draws(uniforms[:_OBJECT_DIM], noise), Draws(uniforms[_OBJECT_DIM:], noise)
    over = max(1, round(SIDE / size)) if size < SIDE else 2
    name = CLASSES[class_id]

    weeds = of_background.chance(0.4 if name in _WEEDY else 0)
    background = _background(name, size * over, of_background)
    canvas = Canvas(np.ascontiguousarray(background, np.float32) * np.float32(255), of_object)
    DRAWN_BY[name](canvas, of_object)
    if weeds:
        under_water = PARTS[name] is _FISH
        backgrounds.blades(canvas, of_background, SIDE, 110 if under_water else 95, tall=under_water)
    image = downscale(canvas.image, size, 1.5, noise)
    return Scene(image, canvas.labels[over // 2 :: over, over // 2 :: over].copy())


def render_set(
    count: int, first_seed: int, size: int = 64, workers: int = 1, progress: bool = False
) -> SceneSet:
    """Render seeds first_seed, first_seed + 1, ...; scene i shows class i % 12, whatever the workers."""
    draw, label = partial(_scene, first_seed, size), "rendering" if progress else None
    drawn = render_many(draw, count, first_seed, workers, label)
    images, parts, latents = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return SceneSet(images, parts, np.arange(count) % len(CLASSES), latents)


def _scene(first_seed: int, size: int, seed: int) -> tuple[NDArray[np.generic], ...]:
    latent = latent_of(seed)
    scene = render((seed - first_seed) % len(CLASSES), seed, size, latent)
    return scene.image, scene.parts, latent


_WEEDY = ("clownfish", "angelfish", "trout", "mushroom", "house", "flower")
_foliage, _sky, _land = backgrounds.foliage, backgrounds.sky, backgrounds.land
_water, _room, _backdrop = backgrounds.water, backgrounds.room, backgrounds.backdrop
_SHARES: dict[tuple[str, ...], dict[Callable[..., NDArray[np.floating]], float]] = {
    ("robin", "blue jay", "goldfinch"): {_foliage: 0.5, _sky: 0.2, _land: 0.2, _backdrop: 0.1},
    ("clownfish", "angelfish", "trout"): {_water: 0.8, _backdrop: 0.2},
    ("mushroom",): {_land: 0.4, _foliage: 0.5, _backdrop: 0.1},
    ("apple", "mug"): {_room: 0.7, _backdrop: 0.15, _land: 0.15},
    ("car", "house"): {_land: 1.0},
    ("flower",): {_foliage: 0.55, _sky: 0.15, _land: 0.15, _backdrop: 0.15},
}
_BACKGROUNDS = {name: shares for names, shares in _SHARES.items() for name in names}
_LAND = {  # soils, and the horizon's range
    "mushroom": ("grass earth", 0.4, 0.7),
    "car": ("road road sand grass earth", 0.5, 0.66),
    "house": ("grass grass earth sand", 0.6, 0.78),
}


def _background(name: str, side: int, draws: Draws) -> NDArray[np.float32]:
    """A background that suits the class: one of a few kinds, by share."""
    pick = draws.unit()
    for kind, share in _BACKGROUNDS[name].items():  # noqa: B007 (the kind it stops at is the answer)
        pick -= share
        if pick < 0:
            break
    if kind is backgrounds.land:
        return backgrounds.land(side, draws, *_LAND.get(name, ("grass sand earth road", 0.5, 0.75)))
    return kind(side, draws)
