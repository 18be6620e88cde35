"""Backgrounds (sky, land, water, rooms): smooth functions of random numbers, [side, side, 3] in [0, 1]."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.worlds.canvas import SIDE, WHITE, Canvas, Colour, Draws, points, rgb, ribbon

Field = NDArray[np.floating]
_WAVES = points(1.3, 0.6, -0.7, 1.5, 2.1, -1.2, 0.9, 2.6, -2.9, 0.8, 1.8, 3.1)  # cycles per side


def _axes(side: int) -> tuple[Field, Field]:
    t = (np.arange(side, dtype=np.float32) + 0.5) / side
    return t[None, :], t[:, None]


def _clouds(side: int, draws: Draws) -> Field:
    """A smooth field, mean 0 and deviation about 1: six waves of random phase."""
    x, y = _axes(48)
    field = np.zeros((48, 48), np.float32)
    for i, (fx, fy) in enumerate(_WAVES):
        field += 0.86**i * np.cos(2 * np.pi * (fx * x + fy * y + draws.unit()))
    return cv2.resize(field * np.float32(0.75), (side, side), interpolation=cv2.INTER_LINEAR)


def _blend(a: Colour | Field, b: Colour, share: Field) -> Field:
    """From a colour or picture `a` towards a colour `b`."""
    channels = zip(np.moveaxis(a, -1, 0), b, strict=True)  # one by one: numpy is slow along an axis of three
    return np.stack([low + (high - low) * share for low, high in channels], -1)


def _times(colour: Colour, tone: Field) -> Field:
    return np.stack([channel * tone for channel in colour], -1)


def _two_tone(side: int, a: Colour, b: Colour, draws: Draws, sharp: float = 2.0) -> Field:
    return _blend(a, b, 1 / (1 + np.exp(-sharp * _clouds(side, draws))))


def _below(side: int, level: float, wave: float, phase: float) -> NDArray[np.bool_]:
    """Where a picture lies below a wavy line; level and wave as shares of the side."""
    x, y = _axes(side)
    return y > level + wave * (np.sin(7 * x + 6.28 * phase) + 0.5 * np.sin(17 * x + 12.6 * phase))


def sky(side: int, draws: Draws) -> Field:
    """A sky with or without clouds, [side, side, 3] in [0, 1]."""
    top, bottom = draws.hsv((195, 225), (0.25, 0.7), (0.65, 1)), draws.hsv((180, 230), (0.03, 0.3), (0.85, 1))
    cloudy, evening = draws.span(-0.6, 0.25), draws.chance(0.2)
    if evening:
        bottom = rgb(30, 0.35, 0.95)
    _, y = _axes(side)
    picture = _blend(top, bottom, np.broadcast_to(y, (side, side)))
    white = np.clip(0.45 * _clouds(side, draws) + cloudy, 0, 0.8)
    return _blend(picture, WHITE, white)


def land(
    side: int, draws: Draws, soils: str = "grass sand earth road", low: float = 0.45, high: float = 0.75
) -> Field:
    """A sky over a far tree line and soil."""
    horizon, soil = draws.span(low, high), soils.split()[draws.index(len(soils.split()))]
    hue, tone, hills, phase = draws.unit(), draws.span(0.85, 1.15), draws.span(-0.03, 0.12), draws.unit()
    far = rgb(80 + 130 * hue, 0.35, 0.5)
    near = {
        "grass": rgb(75 + 45 * hue, 0.6, 0.5),
        "sand": rgb(35 + 12 * hue, 0.4, 0.8),
        "earth": rgb(18 + 20 * hue, 0.45, 0.42),
        "road": rgb(230, 0.04, 0.35 + 0.2 * hue),
    }[soil]
    picture = sky(side, draws)
    if hills > 0:
        picture[_below(side, horizon - hills, 0.015, phase)] = far
    x, y = _axes(side)
    below = y[:, 0] > horizon
    y = y[below]
    soil_tone = tone * (1.08 - 0.3 * (y - horizon)) * (1 + 0.05 * np.sin(40 * x + 90 * y + 6.28 * phase))
    picture[below] = _times(near, soil_tone)
    return picture


def foliage(side: int, draws: Draws) -> Field:
    """Leaves out of focus, with a few round highlights."""
    hue, count, step, light = draws.span(0, 1), draws.index(6), draws.unit(), draws.span(0.5, 0.95)
    dark = draws.hsv((60, 150), (0.25, 0.6), (0.2, 0.5))
    bright = draws.hsv((50, 130), (0.3, 0.6), (0.5, 0.8))
    picture = np.ascontiguousarray(_two_tone(48, dark, bright, draws))
    for i in range(count):
        centre = (int(48 * ((step + 0.618 * i) % 1)), int(48 * ((1.7 * step + 0.382 * i) % 1)))
        cv2.circle(picture, centre, 3 + i % 4, rgb(50 + 120 * hue + 9 * i, 0.3, light).tolist(), -1)
    return cv2.resize(cv2.blur(picture, (5, 5)), (side, side), interpolation=cv2.INTER_LINEAR)


def water(side: int, draws: Draws) -> Field:
    """Water that darkens with depth, often over a pale bed."""
    hue, bed, phase = draws.span(165, 225), draws.span(0.72, 1.2), draws.unit()
    top = draws.hsv((hue - 8, hue + 8), (0.3, 0.75), (0.6, 0.95))
    deep = draws.hsv((hue, hue + 20), (0.5, 0.9), (0.2, 0.5))
    stone = draws.hsv((30, 62), (0.2, 0.45), (0.45, 0.75))
    _, y = _axes(side)
    waves = 1 + 0.06 * _clouds(side, draws)
    picture = _blend(top, deep, np.broadcast_to(y, (side, side))) * waves[..., None]
    picture[_below(side, bed, 0.015, phase)] = stone
    return picture


def room(side: int, draws: Draws) -> Field:
    """A wall and a table, lit from one side."""
    wall = draws.hsv((0, 360), (0.05, 0.45), (0.45, 0.95))
    table, wooden = draws.hsv((0, 360), (0.05, 0.45), (0.3, 0.85)), draws.chance(0.7)
    hue, edge, side_light, phase = draws.unit(), draws.span(0.5, 0.78), draws.span(-0.18, 0.18), draws.unit()
    if wooden:
        table = rgb(15 + 30 * hue, 0.5, 0.35 + 0.4 * phase)
    x, y = _axes(side)
    grain = 1 + 0.04 * np.sin(60 * y + 4 * np.sin(5 * x + 6.28 * phase))
    lit, falling = 1 + side_light * (2 * x - 1), 1.08 - 0.16 * y
    channels = (np.where(y > edge, low * grain, high) for low, high in zip(table, wall, strict=True))
    return np.stack([channel * lit * falling for channel in channels], -1)


def backdrop(side: int, draws: Draws) -> Field:
    """Two soft colours."""
    hue = draws.span(0, 360)
    a = draws.hsv((hue - 25, hue + 25), (0.15, 0.6), (0.25, 0.6))
    b = draws.hsv((hue - 50, hue + 50), (0.1, 0.55), (0.5, 0.95))
    return _two_tone(side, a, b, draws, sharp=1.4)


def blades(canvas: Canvas, draws: Draws, foot: float, hue: float, tall: bool) -> None:
    """Grass or water weed, in design pixels, in front of what is there (and so unlabelled)."""
    count, start, height, bend = 3 + draws.index(5), draws.unit(), draws.span(0.6, 1.3), draws.span(-12, 12)
    canvas.reset_pose()
    t = np.linspace(0, 1, 6, dtype=np.float32)
    for i in range(count):
        x = SIDE * ((start + 0.618 * i) % 1)
        length = height * (26 + 16 * np.sin(2.4 * i + 6.28 * start) if tall else 16 + 6 * np.sin(2.4 * i))
        sway = 4 * np.sin(6 * t + i) if tall else 0
        path = np.stack([x + bend * t**2 + sway, foot - length * t], 1)
        green = rgb(hue + 5 * (i % 4), 0.6, 0.4 + 0.05 * (i % 3))
        canvas.part(ribbon(path, np.linspace(6, 1, 6)), green, puff=0)


def perch(canvas: Canvas, draws: Draws, foot: float) -> None:
    """A twig behind the bird's feet, in the bird's frame, with a few leaves."""
    wave, slope, width = draws.span(0, 6.28), draws.span(-0.06, 0.06), draws.span(0.1, 0.18)
    bark, leaves, where = draws.hsv((18, 38), (0.25, 0.55), (0.25, 0.55)), draws.index(4), draws.unit()
    x = np.linspace(-2.6, 2.6, 8, dtype=np.float32)
    twig = np.stack([x, foot + 0.05 * np.sin(2 * x + wave) + slope * x], 1)
    canvas.part(ribbon(twig, width), bark, puff=0.4, texture=0.05)
    for i in range(leaves):
        x_leaf = (-1) ** i * (1.05 + 0.5 * ((where + 0.37 * i) % 1))
        left, right = (x_leaf - 0.22, foot - 0.02), (x_leaf + 0.25, foot - 0.05)
        leaf = points(*left, x_leaf, foot - 0.22 + 0.1 * i, *right, x_leaf, foot + 0.05)
        canvas.part(leaf, rgb(80 + 40 * where, 0.6, 0.55))
