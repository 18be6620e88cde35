"""Birds and fish. A function draws one class: it first takes its random numbers, then paints back to front.

Labels count from 1 in the order of the names in PARTS.
"""

import numpy as np

from bdgan_lib.worlds.backgrounds import perch
from bdgan_lib.worlds.canvas import BLACK, SIDE, WHITE, Canvas, Draws, ellipse, points, rgb, ribbon, smooth

BIRD_PARTS = ("body", "head", "wing", "tail", "beak", "leg")
FISH_PARTS = ("body", "stripe", "tail", "fin", "eye")


def place(
    canvas: Canvas,
    draws: Draws,
    size: tuple[float, float] = (50, 70),
    turn: float = 0.18,
    cy: float = 0.5,
    jitter: float = 0.08,
    aspect: tuple[float, float] = (0.9, 1.12),
) -> None:
    """Set the canvas to the frame of an object with a random place, size, turn, mirror side and aspect."""
    x, y = draws.span(0.5 - jitter, 0.5 + jitter), draws.span(cy - jitter, cy + jitter)
    scale, angle, mirrored = 1.1 * draws.span(*size), draws.span(-turn, turn), draws.chance(0.5)
    canvas.pose(SIDE * x, SIDE * y, scale, angle, mirrored, draws.span(*aspect))


def robin(canvas: Canvas, draws: Draws) -> None:
    """A robin on its perch."""
    back = draws.hsv((22, 36), (0.3, 0.55), (0.28, 0.48))
    belly = draws.hsv((10, 26), (0.75, 0.95), (0.75, 0.98))
    wing, tail = back * 0.85, back * 0.8
    _bird(canvas, draws, back, belly, wing, tail, rgb(42, 0.55, 0.6), tail_length=0.55, mark="bib")


def blue_jay(canvas: Canvas, draws: Draws) -> None:
    """A blue jay on its perch."""
    back = draws.hsv((208, 226), (0.6, 0.85), (0.6, 0.92))
    belly = draws.hsv((205, 225), (0.02, 0.12), (0.85, 0.97))
    wing = draws.hsv((212, 228), (0.7, 0.9), (0.45, 0.75))
    _bird(canvas, draws, back, belly, wing, wing * 1.05, rgb(0, 0, 0.18), tail_length=0.9, mark="crest")


def goldfinch(canvas: Canvas, draws: Draws) -> None:
    """A goldfinch on its perch."""
    back = draws.hsv((47, 58), (0.75, 0.98), (0.85, 1))
    belly = draws.hsv((48, 60), (0.5, 0.8), (0.9, 1))
    wing = draws.hsv((0, 60), (0.05, 0.2), (0.08, 0.2))
    _bird(canvas, draws, back, belly, wing, wing * 1.1, rgb(24, 0.75, 0.95), tail_length=0.45, mark="cap")


def _bird(canvas, draws, back, belly, wing, tail, beak, tail_length, mark) -> None:  # type: ignore[no-untyped-def]
    body_part, head_part, wing_part, tail_part, beak_part, leg_part = range(1, 7)
    place(canvas, draws, (52, 68), 0.22)
    fat, nod = draws.span(0.9, 1.1), draws.span(-0.12, 0.12)
    tail_turn, wing_lift = draws.span(-0.1, 0.35), draws.span(-0.15, 0.2)
    head_x, beak_length, perched = 0.48 + draws.span(-0.06, 0.06), draws.span(0.24, 0.32), draws.chance(0.75)
    foot = 0.78
    if perched:
        perch(canvas, draws, foot)

    along = np.array([-np.cos(tail_turn), np.sin(tail_turn)])
    across, root = np.array([along[1], -along[0]]), np.array([-0.62, 0.18])
    tip = root + along * tail_length
    fan = [root + across * 0.15, tip + across * 0.15, tip - along * 0.07]
    fan += [tip - across * 0.15, root - across * 0.14]
    canvas.part(np.array(fan, np.float32), tail, tail_part, puff=0.25, texture=0.04)
    leg = rgb(25, 0.45, 0.4) if mark != "crest" else rgb(0, 0, 0.2)
    for x in (-0.08, 0.14):
        shin = ribbon(points(x, 0.45, x + 0.03, 0.62, x + 0.03, foot + 0.06), 0.07)
        canvas.part(shin, leg, leg_part, puff=0)

    trunk: tuple[float, ...] = (-0.75, 0.12, -0.45, -0.22 * fat, 0, -0.38 * fat, 0.38, -0.42, 0.55, -0.1)
    trunk += (0.48, 0.28 * fat, 0.18, 0.56 * fat, -0.2, 0.52 * fat, -0.55, 0.34)
    canvas.part(smooth(points(*trunk)), back, body_part, puff=0.38, texture=0.03)
    breast = ellipse(0.22, 0.26, 0.4, 0.34 * fat, -0.55)
    canvas.part(breast, belly, body_part, puff=0.2, inside=body_part, texture=0.02)

    x, y, r = head_x, -0.5 + nod, 0.3
    if mark == "crest":
        crest = points(x + 0.05, y - 0.25, x - 0.14, y - 0.65, x - 0.28, y - 0.1)
        canvas.part(crest, back, head_part, puff=0.2)
    bill = points(x + 0.22, y - 0.1, x + 0.22 + beak_length, y + 0.03, x + 0.2, y + 0.12)
    canvas.part(bill, beak, beak_part, puff=0.25)
    canvas.part(ellipse(x, y, r, r * 0.95), back, head_part, puff=0.38)
    if mark == "bib":
        canvas.part(ellipse(x + 0.12, y + 0.16, 0.24, 0.22), belly, head_part, puff=0.15, inside=head_part)
    elif mark == "crest":
        canvas.part(ellipse(x + 0.14, y + 0.12, 0.2, 0.18), belly, head_part, puff=0.1, inside=head_part)
        collar = ribbon(points(x - 0.2, y + 0.28, x, y + 0.3, x + 0.26, y + 0.26), 0.07)
        canvas.part(collar, BLACK * 2, head_part, puff=0)
    else:
        canvas.part(ellipse(x + 0.1, y - 0.24, 0.28, 0.16, 0.3), wing, head_part, puff=0.2, inside=head_part)
    canvas.part(ellipse(x + 0.1, y - 0.03, 0.06, 0.06), BLACK, head_part, puff=0)
    canvas.part(ellipse(x + 0.12, y - 0.05, 0.022, 0.022), WHITE, head_part, puff=0)

    wing_tip = -0.72, 0.36 + wing_lift / 2
    feathers = points(0.28, -0.2, 0.2, 0.18, -0.2, 0.32, *wing_tip, -0.45, 0.06, -0.1, -0.22)
    canvas.part(smooth(feathers, 2), wing, wing_part, puff=0.35, texture=0.04)
    if mark == "cap":
        bar = ribbon(points(-0.4, 0.26, -0.1, 0.1, 0.15, 0.05), 0.07)
        canvas.part(bar, WHITE, wing_part, puff=0, inside=wing_part)
    elif mark == "crest":
        for q in (0.0, 0.18, 0.36):
            bar = ribbon(points(-0.15 - q, 0.2 * q, -0.22 - q, 0.3), 0.05)
            canvas.part(bar, WHITE, wing_part, puff=0, inside=wing_part)


BODY, STRIPE, TAIL, FIN, EYE = range(1, 6)


def clownfish(canvas: Canvas, draws: Draws) -> None:
    """A clownfish with its stripes."""
    place(canvas, draws, (50, 70), 0.3)
    orange, tall = draws.hsv((14, 30), (0.8, 1), (0.88, 1)), draws.span(0.93, 1.12)
    stripes = (0.36, 0.2, 0.1), (-0.1, 0.24, 0.12), (-0.58, 0.12, 0.05)
    bands = [(x, width * draws.span(0.85, 1.15), bow) for x, width, bow in stripes]
    fin = orange * 0.93
    canvas.part(smooth(points(-0.62, 0, -0.98, -0.32, -1.06, 0, -0.98, 0.32), 2), fin, TAIL)
    canvas.part(smooth(points(-0.35, -0.36, -0.05, -0.66, 0.3, -0.58, 0.42, -0.32), 2), fin, FIN, puff=0.25)
    canvas.part(smooth(points(-0.4, 0.34, -0.25, 0.62, 0.02, 0.55, 0.1, 0.36), 2), fin, FIN, puff=0.25)
    trunk: tuple[float, ...] = (-0.72, -0.1, -0.35, -0.38 * tall, 0.2, -0.46 * tall, 0.62, -0.32, 0.86, 0)
    trunk += (0.66, 0.3, 0.2, 0.46 * tall, -0.35, 0.38 * tall, -0.72, 0.1)
    canvas.part(smooth(points(*trunk)), orange, BODY, puff=0.4, texture=0.02)
    for x, width, bow in bands:
        y = np.linspace(-0.6, 0.6, 7)
        path = np.stack([x + bow * np.cos(2.6 * y), y], 1)
        canvas.part(ribbon(path, width + 0.09), BLACK, STRIPE, puff=0, inside=BODY)
        canvas.part(ribbon(path, width), WHITE, STRIPE, puff=0.1, inside=STRIPE)
    side_fin = smooth(points(0.12, 0.08, -0.18, 0.02, -0.2, 0.26, 0.05, 0.28), 2)
    canvas.part(side_fin, fin * 0.95, FIN, puff=0.25)
    _eye(canvas, 0.64, -0.08, 0.085)


def angelfish(canvas: Canvas, draws: Draws) -> None:
    """An angelfish, tall fins and stripes."""
    place(canvas, draws, (50, 66), 0.3)
    warm, blue = draws.hsv((40, 60), (0.1, 0.5), (0.8, 1)), draws.chance(0.35)
    dark, length = draws.hsv((200, 300), (0.1, 0.4), (0.08, 0.25)), draws.span(0.85, 1.05)
    body = np.array(warm[::-1], np.float32) if blue else warm
    bands = [(x, width * draws.span(0.8, 1.25)) for x, width in ((0.38, 0.1), (0.02, 0.15), (-0.36, 0.12))]
    fin = body * 0.85
    for side in (-1, 1):
        tip = -0.62, side * 0.98 * length, -0.5, side * 1.05 * length
        canvas.part(smooth(points(-0.25, side * 0.3, *tip, 0.15, side * 0.5), 2), fin, FIN, puff=0.2)
    canvas.part(ribbon(points(0.2, 0.35, 0.12, 0.7, -0.02, 1.02), [0.08, 0.06, 0.04]), fin, FIN, puff=0)
    canvas.part(smooth(points(-0.5, 0, -0.86, -0.28, -0.92, 0, -0.86, 0.28), 2), fin, TAIL, puff=0.25)
    upper = points(-0.6, -0.06, -0.35, -0.5, 0.08, -0.64, 0.45, -0.36)
    trunk = np.concatenate([upper, points(0.74, 0.02), upper[::-1] * points(1, -1)])
    canvas.part(smooth(trunk), body, BODY, puff=0.35, texture=0.02)
    for x, width in bands:
        y = np.linspace(-1.1, 1.1, 7)
        path = ribbon(np.stack([x - 0.12 * np.abs(y) ** 1.5, y], 1), width)
        canvas.part(path, dark, STRIPE, puff=0.1, inside=BODY)
        canvas.part(path, dark * 1.3, FIN, puff=0, inside=FIN)
    _eye(canvas, 0.48, -0.06, 0.08)


def trout(canvas: Canvas, draws: Draws) -> None:
    """A trout, spotted."""
    place(canvas, draws, (56, 72), 0.3)
    body = draws.hsv((70, 210), (0.12, 0.38), (0.42, 0.68))
    belly = draws.hsv((20, 50), (0.05, 0.3), (0.8, 0.97))
    pink, tall, spots = draws.hsv((345, 365), (0.35, 0.65), (0.7, 0.9)), draws.span(0.95, 1.2), draws.unit()
    fin = body * 0.85
    canvas.part(points(-0.78, 0, -1.16, -0.3, -1.04, 0, -1.16, 0.3), fin, TAIL, puff=0.25, texture=0.03)
    for outline in (
        points(-0.1, -0.22, -0.02, -0.48, 0.28, -0.3, 0.3, -0.2),
        points(-0.62, -0.1, -0.62, -0.3, -0.5, -0.14),
        points(-0.4, 0.18, -0.5, 0.42, -0.22, 0.22),
        points(0.3, 0.22, 0.14, 0.46, 0.42, 0.26),
    ):
        canvas.part(outline, fin, FIN, puff=0.2)
    trunk: tuple[float, ...] = (-0.86, -0.07, -0.4, -0.2 * tall, 0.2, -0.3 * tall, 0.7, -0.24, 1.06, 0.02)
    trunk += (0.7, 0.22, 0.2, 0.28 * tall, -0.4, 0.19 * tall, -0.86, 0.07)
    canvas.part(smooth(points(*trunk)), body, BODY, puff=0.35, texture=0.03)
    x = np.linspace(-1, 1.1, 6)
    canvas.part(ribbon(np.stack([x, np.full(6, 0.24)], 1), 0.22), belly, BODY, puff=0.1, inside=BODY)
    canvas.part(ribbon(points(-0.9, 0.02, 0, 0.02, 0.62, 0.02), 0.1), pink, STRIPE, puff=0, inside=BODY)
    for i in range(10):
        spot = ellipse(-0.65 + 0.13 * i, -0.12 + 0.06 * np.sin(2.4 * i + 6.28 * spots), 0.04, 0.034)
        canvas.part(spot, body * 0.35, BODY, puff=0, inside=BODY)
    _eye(canvas, 0.8, -0.06, 0.07)


def _eye(canvas: Canvas, x: float, y: float, radius: float) -> None:
    canvas.part(ellipse(x, y, radius, radius), WHITE, EYE, puff=0)
    canvas.part(ellipse(x + 0.01, y, radius * 0.6, radius * 0.6), BLACK, EYE, puff=0)
