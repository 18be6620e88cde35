"""A chest radiograph with lungs and heart outlined: the pocket world's stand-in for JSRT and its kin.

An additive phantom: tissue adds to the density along a ray, air in the lungs takes away; bright is dense.
Lengths are shares of the side, y points down. The patient faces us: the heart lies on the picture's right.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.worlds.canvas import Draws, Points, ellipse, points, ribbon, smooth, texture_bank
from bdgan_lib.worlds.rendering import downscale, draws_of

CHEST_LABELS = ("ground", "lung", "heart")


class _Film:
    """Densities [side, side], and shapes laid on them in the patient's frame."""

    def __init__(self, side: int, draws: Draws) -> None:
        self.side, self.density = side, np.zeros((side, side), np.float32)
        turn, zoom = draws.span(-0.1, 0.1), draws.span(0.92, 1.25)
        c, s = np.cos(turn), np.sin(turn)
        self.matrix = np.array([[c, s], [-s, c]], np.float32) * zoom
        self.matrix[:, 0] *= draws.span(0.92, 1.08)
        self.shift = np.array([draws.span(0.46, 0.54), draws.span(0.47, 0.55)], np.float32)

    def cover(self, outline: Points) -> NDArray[np.uint8]:
        """[side, side]; 1 = within the outline."""
        corners = ((outline - 0.5) @ self.matrix + self.shift) * self.side
        cover = np.zeros((self.side, self.side), np.uint8)
        cv2.fillPoly(cover, [np.round(corners * 16 - 8).astype(np.int32)], 1, shift=4)
        return cover

    def add(self, outline: Points, amount: float, soft: float) -> None:
        """Add a tissue whose edge is blurred over `soft` of the side."""
        self.density += amount * _blurred(self.cover(outline).astype(np.float32), soft * self.side)


def chest(seed: int, size: int = 64) -> Segmented:
    """A frontal radiograph; labels are indices into CHEST_LABELS; lung is what the heart does not cover.

    Opacities, a raised diaphragm, exposure, cables and grain vary; where the lung is opaque it is still lung.
    """
    draws = draws_of(seed, 4)
    over = max(2, round(128 / size))
    side = size * over
    film = _Film(side, draws)
    _body(film, draws)
    lungs = [_lung(draws, -1), _lung(draws, 1)]
    heart = _heart(draws)
    air = draws.span(0.3, 0.5)
    lung_cover = np.maximum(film.cover(lungs[0]), film.cover(lungs[1]))
    heart_cover = film.cover(heart)
    film.density -= air * _blurred((lung_cover * (1 - 0.8 * heart_cover)).astype(np.float32), 0.012 * side)
    vessels = cv2.resize(texture_bank()[draws.index(40)], (side, side))
    film.density += draws.span(0.02, 0.05) * vessels * lung_cover
    _opacities(film, draws, lung_cover)
    film.add(heart, draws.span(0.03, 0.14), 0.015)
    _bones(film, draws)
    labels = lung_cover.copy()
    labels[heart_cover > 0] = 2
    return Segmented(_exposed(film, draws, size), labels[over // 2 :: over, over // 2 :: over].copy())


def _body(film: _Film, draws: Draws) -> None:
    wide, neck = draws.span(0.42, 0.52), draws.span(0.08, 0.12)
    half = [(neck, -0.3), (neck, 0.04), (wide, 0.16), (wide + 0.05, 0.5), (wide, 1.4)]
    trunk = _mirrored(half)
    film.add(smooth(trunk), 0.45, 0.02)
    film.add(smooth(trunk * points(0.8, 1) + points(0.1, 0.05)), 0.12, 0.1)
    film.add(points(0, 0.78, 1, 0.78, 1, 1.5, 0, 1.5), draws.span(0.08, 0.22), 0.06)  # the abdomen
    film.add(ribbon(points(0.5, -0.3, 0.5, 0.5, 0.5, 1.3), draws.span(0.09, 0.13)), 0.16, 0.02)  # the spine
    film.add(ribbon(points(0.5, -0.1, 0.5, 0.26), 0.035), -0.08, 0.01)  # the windpipe
    film.add(smooth(points(0.43, 0.2, 0.57, 0.2, 0.6, 0.5, 0.58, 0.75, 0.42, 0.75, 0.42, 0.5)), 0.14, 0.03)


def _mirrored(half: list[tuple[float, float]]) -> Points:
    """A closed outline from its right half, in shares of the side off the middle."""
    return np.array([(0.5 + x, y) for x, y in half] + [(0.5 - x, y) for x, y in half[::-1]], np.float32)


def _lung(draws: Draws, direction: int) -> Points:
    """One lung's outline; direction -1: on the picture's left."""
    apex, base, wide = draws.span(0.13, 0.2), draws.span(0.68, 0.82), draws.span(0.27, 0.34)
    inner, dome, flare = draws.span(0.05, 0.08), draws.span(0.02, 0.09), draws.span(0.0, 0.04)
    if direction < 0:
        base -= 0.03  # the liver lifts the right side
    half = [(inner + 0.06, apex), (0.75 * wide, apex + 0.06), (wide, apex + 0.22)]
    half += [(wide + flare, base - 0.12), (wide + flare, base + 0.03), (0.7 * wide, base - 0.5 * dome)]
    half += [(0.4 * wide, base - dome), (inner, base - 0.03), (inner + 0.02, 0.5), (inner, 0.34)]
    return smooth(np.array([(0.5 + direction * x, y) for x, y in half], np.float32), 2)


def _heart(draws: Draws) -> Points:
    wide, low, tilt = draws.span(0.13, 0.2), draws.span(0.6, 0.66), draws.span(0.35, 0.75)
    return ellipse(0.5 + 0.4 * wide, low, wide, draws.span(0.1, 0.14), tilt)


def _opacities(film: _Film, draws: Draws, lung_cover: NDArray[np.uint8]) -> None:
    """Patches of fluid or scar in the lungs, and nodules."""
    for _ in range(draws.index(5)):
        x, y, r = draws.span(0.2, 0.8), draws.span(0.25, 0.75), draws.span(0.02, 0.14)
        patch = _blurred(film.cover(ellipse(x, y, r, r * draws.span(0.6, 1.4))).astype(np.float32),
                         draws.span(0.01, 0.05) * film.side)  # fmt: skip
        film.density += draws.span(0.08, 0.4) * patch * lung_cover


def _bones(film: _Film, draws: Draws) -> None:
    """Ribs and collar bones, with brighter rims as tubes have."""
    step, drop, bright = draws.span(0.075, 0.095), draws.span(0.05, 0.16), draws.span(0.03, 0.085)
    first, reach = draws.span(0.12, 0.18), draws.span(0.32, 0.38)
    t = np.linspace(0, 1, 10, dtype=np.float32)
    for direction in (-1, 1):
        for i in range(8):
            out = reach * min(1.0, 0.6 + 0.12 * i)
            x = 0.5 + direction * (0.04 + out * np.sin(1.57 * t))
            y = first + step * i - 0.05 * np.sin(3.14 * t) + drop * t**2 * 1.6
            path = np.stack([x, y], 1).astype(np.float32)
            film.add(ribbon(path, 0.036), bright, 0.004)
            film.add(ribbon(path, 0.02), -0.4 * bright, 0.004)
        slope = draws.span(-0.06, 0.03)
        film.add(ribbon(points(0.5 + direction * 0.04, 0.17, 0.5 + direction * 0.2, 0.14 + slope / 2,
                               0.5 + direction * 0.42, 0.12 + slope), 0.032), 0.09, 0.004)  # fmt: skip


def _exposed(film: _Film, draws: Draws, size: int) -> NDArray[np.uint8]:
    """The film as a picture: a cable and a marker now and then, contrast, blur, grain."""
    if draws.chance(0.3):
        x, bend = draws.span(0.3, 0.7), draws.span(-0.2, 0.2)
        film.add(ribbon(points(x, 0, x + bend / 3, 0.4, x + bend, 0.7), 0.007), 0.3, 0.002)
    if draws.chance(0.5):
        x, y = draws.span(0.04, 0.12), draws.span(0.05, 0.15)
        letter = points(0, 0, 0.02, 0, 0.02, 0.05, 0.05, 0.05, 0.05, 0.07, 0, 0.07) + points(x, y)
        film.add(letter, 0.6, 0.002)
    low, high, gamma = draws.span(-0.15, 0.1), draws.span(0.75, 1.1), draws.span(0.7, 1.5)
    slope, shade = draws.span(-0.12, 0.12), draws.span(0.5, 1.2)
    density = film.density + slope * np.linspace(-1, 1, film.side, dtype=np.float32)
    density = _blurred(density, shade * film.side / 128)
    grey = 255 * np.clip((density - low) / (high - low), 0, 1) ** np.float32(gamma)
    return downscale(grey, size, draws.span(2, 7), draws.noise)[..., None].repeat(3, 2)


def _blurred(field: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    """Two box blurs, which are near a Gaussian's and several times faster."""
    n = max(1, round(width)) * 2 + 1
    return cv2.blur(cv2.blur(field, (n, n)), (n, n))
