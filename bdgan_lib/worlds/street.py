"""A street from a driver's seat, with a label for every pixel: the pocket world's stand-in for Cityscapes.

A pinhole camera one unit above flat ground: what stands `x` units to the right and is seen at `k` pixels per
unit has its foot at (vx + x k, horizon + k). Lengths in pixels are design pixels, as in canvas.py.
"""

import numpy as np

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.worlds import backgrounds
from bdgan_lib.worlds.canvas import (
    BLACK,
    SIDE,
    WHITE,
    Canvas,
    Colour,
    Draws,
    Points,
    ellipse,
    points,
    rectangle,
    rgb,
    ribbon,
    smooth,
)
from bdgan_lib.worlds.rendering import downscale, draws_of

STREET_LABELS = ("sky", "building", "road", "pavement", "vegetation", "vehicle", "person", "pole")
SKY, BUILDING, ROAD, PAVEMENT, VEGETATION, VEHICLE, PERSON, POLE = range(8)
_NEAR, _FAR = 125.0, 3.0  # pixels per unit where the ground leaves the picture, and where it meets the far


class _Camera:
    """The perspective of the ground, and what is drawn on it."""

    def __init__(self, canvas: Canvas, draws: Draws) -> None:
        self.canvas = canvas
        self.vx, self.horizon = SIDE * draws.span(0.34, 0.66), SIDE * draws.span(0.4, 0.54)

    def on_ground(self, x: float, k: float, height: float = 0.0) -> tuple[float, float]:
        return self.vx + x * k, self.horizon + (1 - height) * k

    def strip(self, left: float, right: float, colour: Colour, label: int, far: float, near: float) -> None:
        """Ground between two lines along the street, seen from `far` to `near` pixels per unit."""
        corners = [self.on_ground(left, far), self.on_ground(right, far)]
        corners += [self.on_ground(right, near), self.on_ground(left, near)]
        self.canvas.part(np.array(corners, np.float32), colour, label, puff=0, texture=0.04)

    def wall(self, x: float, far: float, near: float, low: float, high: float) -> Points:
        """A piece of a wall along the street, from one height to another (in units)."""
        corners = [self.on_ground(x, far, high), self.on_ground(x, near, high)]
        return np.array(corners + [self.on_ground(x, near, low), self.on_ground(x, far, low)], np.float32)


def street(seed: int, size: int = 96) -> Segmented:
    """A street with houses, trees, traffic and people; labels are indices into STREET_LABELS."""
    draws = draws_of(seed, 3)
    over = max(2, round(SIDE / size))
    side = size * over
    dusk, haze = draws.span(0.55, 1.1), draws.span(0.0, 0.25)
    canvas = Canvas(np.ascontiguousarray(backgrounds.sky(side, draws), np.float32) * np.float32(255), draws)
    camera = _Camera(canvas, draws)
    road, walk, verge = draws.span(1.6, 2.6), draws.span(0.5, 1.1), max(0.0, draws.span(-0.6, 0.9))
    centre = draws.span(-0.3, 0.9)  # of the road: the driver keeps to one side

    _far(canvas, camera, draws)
    _road(camera, draws, centre, road, walk, verge)
    for direction in (-1, 1):
        _row(canvas, camera, draws, centre + direction * (road + walk + verge), direction)
    grey = np.float32(255 * (0.75 + 0.1 * dusk))  # haze hides what is far: before the traffic, which is near
    canvas.image += (grey - canvas.image) * (haze * (canvas.labels != SKY)).astype(np.float32)[..., None]
    _traffic(canvas, camera, draws, centre, road, walk)
    tint = np.array([1.0, draws.span(0.94, 1.0), draws.span(0.85, 1.05)], np.float32)
    picture = downscale(canvas.image * np.float32(dusk) * tint, size, 2.5, draws.noise)
    return Segmented(picture, canvas.labels[over // 2 :: over, over // 2 :: over].copy())


def _far(canvas: Canvas, camera: _Camera, draws: Draws) -> None:
    """A skyline and tree tops along the horizon."""
    tone = draws.hsv((0, 260), (0.03, 0.2), (0.5, 0.75))
    for i in range(9):
        x, wide, high = 22 * i + draws.span(-8, 8), draws.span(12, 26), draws.span(4, 26)
        built, shade = draws.chance(0.6), draws.span(0.8, 1.15)
        y = camera.horizon + 2
        if built:
            canvas.part(rectangle(x, y - high, x + wide, y), tone * shade, BUILDING, puff=0)
        else:
            crown = ellipse(x + wide / 2, y, 0.7 * wide, 0.5 * high + 4)
            canvas.part(crown, rgb(100, 0.35, 0.45) * shade, VEGETATION, puff=0.1, texture=0.08)


def _road(camera: _Camera, draws: Draws, centre: float, road: float, walk: float, verge: float) -> None:
    asphalt, stone = draws.span(0.22, 0.5), draws.span(0.4, 0.7)
    tarmac, slabs = rgb(220, 0.05, asphalt), rgb(draws.span(20, 60), draws.span(0.03, 0.18), stone)
    green = draws.hsv((70, 120), (0.3, 0.65), (0.3, 0.55))
    bed, label = (green, VEGETATION) if verge > 0 else (slabs, PAVEMENT)
    floor = rectangle(-9, camera.horizon, SIDE + 9, SIDE + 9)
    camera.canvas.part(floor, bed, label, puff=0, texture=0.05)
    camera.strip(centre - road - walk, centre + road + walk, slabs, PAVEMENT, 0.5, _NEAR)
    camera.strip(centre - road, centre + road, tarmac, ROAD, 0.5, _NEAR)
    paint, phase, worn = WHITE * draws.span(0.7, 0.95), draws.unit(), draws.span(0.3, 0.9)
    for i in range(9):  # dashes of equal length on the ground: their scale goes with 1 / distance
        far, near = (_NEAR / (1 + 1.5 * (i + phase + length)) for length in (0.5, 0))
        ends = (-0.05, far), (0.05, far), (0.05, near), (-0.05, near)
        line = np.array([camera.on_ground(centre + w, k) for w, k in ends], np.float32)
        camera.canvas.part(line, paint, ROAD, puff=0, alpha=worn)


def _row(canvas: Canvas, camera: _Camera, draws: Draws, x: float, direction: int) -> None:
    """Houses, gaps and trees along one side, far to near."""
    k = _FAR
    while 0 < camera.on_ground(x, k)[0] < SIDE:
        near = min(k * draws.span(1.35, 2.1), 2 * _NEAR)
        kind, high, shade = draws.unit(), draws.span(2.2, 7), draws.span(0.8, 1.1)
        wall = draws.hsv((0, 60), (0.05, 0.5), (0.35, 0.9))
        floors, bays, ink = 1 + draws.index(4), 1 + draws.index(4), draws.span(0.25, 0.7)
        if kind < 0.62:
            canvas.part(camera.wall(x, k, near, 0, high), wall * shade, BUILDING, puff=0, texture=0.04)
            pane = rgb(205, 0.3, ink)
            for floor in range(floors):
                low, top = (high * (floor + share) / floors for share in (0.3, 0.75))
                for bay in range(bays):  # evenly along the wall, so harmonically in k
                    ends = [1 / (1 / k + (1 / near - 1 / k) * (bay + share) / bays) for share in (0.25, 0.75)]
                    canvas.part(camera.wall(x, ends[0], ends[1], low, top), pane, BUILDING, puff=0)
        else:
            _tree(canvas, camera, draws, x - 0.3 * direction, (k + near) / 2, high * 0.35 + 0.8)
        k = near


def _tree(canvas: Canvas, camera: _Camera, draws: Draws, x: float, k: float, high: float) -> None:
    green, crowns = draws.hsv((75, 130), (0.3, 0.7), (0.22, 0.55)), 2 + draws.index(3)
    _stand(canvas, camera, x, k)
    canvas.part(ribbon(points(0, 0.05, 0.02, -0.5 * high, 0, -high), 0.16), rgb(28, 0.4, 0.32), VEGETATION)
    for i in range(crowns):
        cx, cy, r = draws.span(-0.4, 0.4), -high - draws.span(-0.2, 0.5), draws.span(0.45, 0.8)
        canvas.part(ellipse(cx, cy, r, 0.85 * r), green * (0.9 + 0.1 * i), VEGETATION, puff=0.3, texture=0.1)
    canvas.reset_pose()


def _traffic(canvas: Canvas, camera: _Camera, draws: Draws, centre: float, road: float, walk: float) -> None:
    """Vehicles, people and poles, far to near."""
    items = []
    for _ in range(1 + draws.index(4)):
        lane = draws.index(4)  # parked left, oncoming, ahead, parked right
        x = centre + (-0.86, -0.42, 0.42, 0.86)[lane] * road
        items.append((10 ** draws.span(0.9, 1.85), x, _vehicle))
    for _ in range(draws.index(6)):
        side, crossing = (-1, 1)[draws.index(2)], draws.chance(0.2)
        x = centre + (draws.span(-road, road) if crossing else side * (road + draws.span(0.1, 0.9) * walk))
        items.append((10 ** draws.span(1.2, 1.95), x, _person))
    for _ in range(1 + draws.index(3)):
        x = centre + (-1, 1)[draws.index(2)] * (road + 0.1)
        items.append((10 ** draws.span(1.2, 1.9), x, _pole))
    for k, x, draw in sorted(items, key=lambda item: item[0]):
        _stand(canvas, camera, x, k)
        draw(canvas, draws)
    canvas.reset_pose()


def _stand(canvas: Canvas, camera: _Camera, x: float, k: float) -> None:
    """Draw in units, upright on the ground at x; up is negative."""
    canvas.pose(*camera.on_ground(x, k), k, 0.0, False, 1.0)


def _vehicle(canvas: Canvas, draws: Draws) -> None:
    """A car or a van from behind or before."""
    paint, grey, plain = draws.hsv((0, 360), (0.5, 0.9), (0.3, 0.9)), draws.span(0.12, 0.9), draws.chance(0.5)
    tall, wide, rear = draws.chance(0.3), draws.span(0.6, 0.72), draws.chance(0.6)
    coat = np.array([grey, grey, grey], np.float32) if plain else paint
    top, glass = (-1.65 if tall else -1.08), rgb(210, 0.25, draws.span(0.2, 0.6))
    canvas.part(rectangle(-wide, 0.02, wide, -0.2), BLACK * 1.5, VEHICLE, puff=0)
    for x in (-wide + 0.12, wide - 0.12):
        canvas.part(rectangle(x - 0.1, 0.04, x + 0.1, -0.3), BLACK, VEHICLE, puff=0)
    lean = 0.03 if tall else 0.16
    cabin = points(-wide, -0.5, -wide + lean, top, wide - lean, top, wide, -0.5)
    canvas.part(smooth(cabin, 1), coat * 0.95, VEHICLE, puff=0.2)
    boot = smooth(points(-wide, -0.12, -wide, -0.72, wide, -0.72, wide, -0.12), 2)
    canvas.part(boot, coat, VEHICLE, puff=0.3)
    inset = lean + 0.08
    window = points(-wide + 0.1, -0.68, -wide + inset, top + 0.1, wide - inset, top + 0.1, wide - 0.1, -0.68)
    canvas.part(window, glass, VEHICLE, puff=0.1, gradient=0.1)
    lamp = rgb(0, 0.9, 0.8) if rear else rgb(50, 0.2, 1)
    for x in (-wide + 0.11, wide - 0.11):
        canvas.part(ellipse(x, -0.5, 0.09, 0.07), lamp, VEHICLE, puff=0)
    canvas.part(rectangle(-0.16, -0.3, 0.16, -0.22), WHITE, VEHICLE, puff=0)


def _person(canvas: Canvas, draws: Draws) -> None:
    coat, legs = draws.hsv((0, 360), (0.1, 0.8), (0.15, 0.85)), draws.hsv((200, 260), (0.1, 0.5), (0.1, 0.5))
    skin, hair = rgb(24, draws.span(0.3, 0.6), draws.span(0.3, 0.95)), rgb(30, 0.5, draws.span(0.05, 0.5))
    stride, high = draws.span(0.0, 0.16), draws.span(0.9, 1.1)
    for foot in (-stride, stride):
        canvas.part(ribbon(points(0, -0.6, foot / 2, -0.3, foot, 0.0) * high, 0.13), legs, PERSON, puff=0.2)
    torso = points(-0.17, -0.95, 0.17, -0.95, 0.2, -0.6, 0.13, -0.5, -0.13, -0.5, -0.2, -0.6) * high
    canvas.part(smooth(torso, 2), coat, PERSON, puff=0.3)
    canvas.part(ellipse(0, -1.08 * high, 0.1, 0.12), skin, PERSON, puff=0.2)
    canvas.part(ellipse(0, -1.15 * high, 0.1, 0.07), hair, PERSON, puff=0)


def _pole(canvas: Canvas, draws: Draws) -> None:
    """A lamp post, a sign or a traffic light."""
    kind, high, steel = draws.index(3), draws.span(2.2, 3.6), rgb(210, 0.05, draws.span(0.2, 0.55))
    hue, arm = draws.unit(), (-0.5, 0.5)[draws.index(2)]
    canvas.part(ribbon(points(0, 0, 0, -high), 0.12), steel, POLE, puff=0.2)
    if kind == 0:
        canvas.part(ribbon(points(0, -high, arm, -high - 0.1), 0.08), steel, POLE, puff=0)
    elif kind == 1:
        face = rgb(230, 0.8, 0.7) if hue < 0.4 else rgb(0, 0.85, 0.8) if hue < 0.8 else rgb(48, 0.9, 0.9)
        canvas.part(ellipse(0, -high, 0.32, 0.32), face, POLE, puff=0)
        canvas.part(ellipse(0, -high, 0.18, 0.18), WHITE, POLE, puff=0)
    else:
        canvas.part(rectangle(-0.16, -high - 0.5, 0.16, -high + 0.2), BLACK * 1.5, POLE, puff=0)
        lit = int(3 * hue)
        lamp = ellipse(0, -high - 0.36 + 0.23 * lit, 0.1, 0.1)
        canvas.part(lamp, rgb((0, 45, 130)[lit], 0.8, 1), POLE, puff=0)
