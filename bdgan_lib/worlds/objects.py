"""Mushroom, apple, car, mug, house and flower, drawn as the animals are."""

import numpy as np

from bdgan_lib.worlds.animals import place
from bdgan_lib.worlds.canvas import (
    BLACK,
    WHITE,
    Canvas,
    Draws,
    ellipse,
    points,
    rectangle,
    rgb,
    ribbon,
    smooth,
)

MUSHROOM_PARTS = ("cap", "stem", "gills", "spot")
APPLE_PARTS = ("fruit", "stalk", "leaf")
CAR_PARTS = ("body", "window", "wheel", "lamp")
MUG_PARTS = ("body", "handle", "inside", "decor")
HOUSE_PARTS = ("wall", "roof", "door", "window", "chimney")
FLOWER_PARTS = ("petal", "centre", "stem", "leaf")


def mushroom(canvas: Canvas, draws: Draws) -> None:
    """A mushroom: cap, stem, gills, spots."""
    cap_part, stem_part, gill_part, spot_part = range(1, 5)
    place(canvas, draws, (54, 72), 0.12, 0.54)
    pale = draws.hsv((30, 50), (0.05, 0.25), (0.8, 0.97))
    width, foot = draws.span(0.15, 0.24), draws.span(1.1, 1.5)
    ringed, red, tone = draws.chance(0.5), draws.chance(0.6), draws.hsv((-8, 14), (0.75, 0.95), (0.65, 0.92))
    high, wide, spots, phase = draws.span(0.65, 0.95), draws.span(0.72, 0.95), draws.index(4), draws.unit()
    brown = np.array([tone[0] * 0.8, 0.25 + 0.45 * tone[0] * phase, tone[2] + 0.08], np.float32)
    cap = tone if red else brown
    canvas.shadow(0.8, 0.6, 0.14)
    w, bulb = width, width * foot
    stem = points(-w, -0.15, w, -0.15, 0.9 * w, 0.4, bulb, 0.8, 0, 0.88, -bulb, 0.8, -0.9 * w, 0.4)
    canvas.part(smooth(stem), pale, stem_part, puff=0.4, texture=0.03)
    if ringed:
        ring = points(-1.5 * w, 0.22, 0, 0.1, 1.5 * w, 0.22, 1.2 * w, 0.3, 0, 0.26, -1.2 * w, 0.3)
        canvas.part(smooth(ring, 2), pale * 0.95, stem_part)
    canvas.part(ellipse(0, -0.08, wide * 0.88, 0.15), pale * 0.78, gill_part, puff=0.15)
    left = points(-wide, -0.02, -0.9 * wide, -0.42 * high, -0.4, -0.88 * high, 0.1, -0.95 * high)
    right = points(0.5, -0.82 * high, 0.92 * wide, -0.4 * high, wide, -0.02)
    dome = np.concatenate([left, right, points(0.5 * wide, -0.1, -0.5 * wide, -0.1)])
    canvas.part(smooth(dome), cap, cap_part, puff=0.42, texture=0.02)
    for i in range(3 * spots):
        x, y = 1.3 * ((phase + 0.755 * i) % 1) - 0.65, -high * (0.2 + 0.6 * ((0.5 * phase + 0.57 * i) % 1))
        size = (0.07 + 0.035 * (i % 2)) * (1 - 0.4 * abs(x))
        canvas.part(ellipse(x, y, size, size * 0.85), WHITE * 0.97, spot_part, puff=0.2, inside=cap_part)


def apple(canvas: Canvas, draws: Draws) -> None:
    """An apple with its stalk and leaf."""
    fruit, stalk, leaf_part = range(1, 4)
    place(canvas, draws, (52, 68), 0.25, 0.53)
    kind, tone, lean = draws.unit(), draws.unit(), draws.span(-0.1, 0.1)
    red, green = rgb(-10 + 18 * tone, 0.85, 0.75), rgb(75 + 25 * tone, 0.65, 0.7)
    skin = red if kind < 0.5 else green if kind < 0.8 else rgb(42 + 14 * tone, 0.75, 0.93)
    skin, wide, high = skin * draws.span(0.85, 1.08), draws.span(0.95, 1.08), draws.span(0.9, 1.05)
    blushed, blush = draws.chance(0.5), draws.hsv((5, 60), (0.6, 0.9), (0.75, 0.95))
    bx, by = draws.span(-0.45, 0.45), draws.span(-0.1, 0.3)
    leafy, droop = draws.chance(0.75), draws.span(-0.7, -0.1)
    leaf = draws.hsv((85, 125), (0.5, 0.8), (0.4, 0.7))
    canvas.shadow(0.72, 0.75, 0.16, 0.45)
    twig = ribbon(points(0, -0.5, 0.03, -0.72, 0.12 + lean, -0.92), [0.07, 0.07, 0.1])
    canvas.part(twig, rgb(28, 0.55, 0.3), stalk, puff=0.2)
    half = [(0.4 * wide, -0.72 * high), (0.82 * wide, -0.45), (0.84 * wide, 0.1)]
    half += [(0.55 * wide, 0.68 * high), (0.22, 0.78 * high)]
    outline = [(0, -0.5), *half, (0, 0.7 * high), *[(-x, y) for x, y in reversed(half)]]
    canvas.part(smooth(np.array(outline, np.float32)), skin, fruit, puff=0.48, texture=0.02)
    if blushed:
        for q in (0.65, 0.5, 0.35, 0.2):
            canvas.part(ellipse(bx, by, q * 0.8, q), blush, fruit, puff=0, inside=fruit, alpha=0.13)
    canvas.part(ellipse(0.02, -0.5, 0.2, 0.07), skin * 0.55, fruit, puff=0.1, inside=fruit)
    canvas.part(ellipse(-0.38, -0.3, 0.14, 0.1, 0.5), WHITE, fruit, puff=0, alpha=0.55, inside=fruit)
    if leafy:
        upper = points(0.05, -0.72, 0.2, -0.72 + 0.4 * droop, 0.55, -0.75 + 0.5 * droop)
        lower = points(0.68, -0.72 + 0.6 * droop, 0.45, -0.58 + 0.3 * droop, 0.2, -0.6)
        canvas.part(smooth(np.concatenate([upper, lower]), 2), leaf, leaf_part, puff=0.35, texture=0.03)


def car(canvas: Canvas, draws: Draws) -> None:
    """A car from the side."""
    body, window, wheel, lamp = range(1, 5)
    place(canvas, draws, (58, 76), 0.05, 0.56, 0.06)
    bright = draws.hsv((0, 360), (0.6, 0.9), (0.5, 0.95))
    grey, plain = draws.span(0.2, 0.95), draws.chance(0.25)
    paint = np.array([grey, grey, grey], np.float32) if plain else bright
    roof, shift, van = draws.span(-0.62, -0.48), draws.span(-0.08, 0.08), draws.chance(0.25)
    glass, line = draws.hsv((190, 220), (0.15, 0.4), (0.35, 0.8)), draws.chance(0.5)
    radius, rim = draws.span(0.2, 0.26), draws.span(0.55, 0.85)
    canvas.shadow(0.42, 1.1, 0.12, 0.5)
    cabin = points(-0.72 + shift, -0.08, -0.52 + shift, roof, 0.22 + shift, roof, 0.56, -0.08)
    if van:
        cabin = points(-0.98, -0.05, -0.94, roof - 0.05, 0.3, roof - 0.05, 0.6, -0.05)
    canvas.part(smooth(cabin, 1), paint * 0.97, body)
    left, right, top = cabin[1, 0] + 0.07, cabin[2, 0] - 0.03, roof + 0.07
    middle = (left + right) / 2
    rear = points(cabin[0, 0] + 0.15, -0.1, left + 0.03, top, middle - 0.03, top, middle - 0.03, -0.1)
    front = points(middle + 0.03, -0.1, middle + 0.03, top, right, top, 0.44, -0.1)
    for pane in (rear, front):
        canvas.part(pane, glass, window, puff=0.15, gradient=0.15)
    upper = points(-1.08, 0.28, -1.1, 0.02, -0.95, -0.1, 0.5, -0.12, 0.95, -0.02, 1.1, 0.1)
    hull = np.concatenate([upper, points(1.1, 0.3, 0.6, 0.33, -0.6, 0.33)])
    canvas.part(smooth(hull, 2), paint, body, puff=0.35)
    if line:
        strip = ribbon(points(-1.08, 0.14, 0, 0.13, 1.08, 0.15), 0.06)
        canvas.part(strip, paint * 0.6, body, puff=0, inside=body)
    gap = ribbon(points(middle, -0.08, middle + 0.01, 0.26), 0.03)
    canvas.part(gap, paint * 0.55, body, puff=0, inside=body)
    canvas.part(ellipse(1.02, 0.08, 0.08, 0.07), rgb(50, 0.3, 1), lamp, puff=0.1)
    canvas.part(ellipse(-1.05, 0.08, 0.06, 0.07), rgb(0, 0.9, 0.85), lamp, puff=0.1)
    for x in (-0.6, 0.6):
        canvas.part(ellipse(x, 0.32, radius, radius), BLACK * 1.6, wheel, puff=0.2)
        hub = ellipse(x, 0.32, radius * 0.55, radius * 0.55)
        canvas.part(hub, np.full(3, rim, np.float32), wheel, puff=0.25)


def mug(canvas: Canvas, draws: Draws) -> None:
    """A mug with its handle."""
    body, handle, inside, decor = range(1, 5)
    place(canvas, draws, (50, 66), 0.08, 0.52)
    glaze = draws.hsv((0, 360), (0.35, 0.85), (0.5, 0.95))
    white, shade = draws.chance(0.3), draws.span(0.85, 0.98)
    if white:
        glaze = shade * WHITE
    wide, taper, high = draws.span(0.5, 0.66), draws.span(0.78, 1.02), draws.span(0.62, 0.78)
    reach, loop, thick = draws.span(0.3, 0.42), draws.span(0.28, 0.4), draws.span(0.12, 0.17)
    motif, ink = draws.unit(), draws.hsv((0, 360), (0.2, 0.9), (0.3, 1))
    level, coffee = draws.span(-0.3, 0.3), draws.chance(0.7)
    canvas.shadow(0.72, 0.8, 0.15, 0.45)
    t = np.linspace(-1.35, 1.35, 12)
    ear = np.stack([0.92 * wide + reach * np.cos(t), 0.02 + loop * np.sin(t)], 1)
    canvas.part(ribbon(ear, thick), glaze * 0.92, handle, puff=0.4)
    bottom = ellipse(0, high, wide * taper, 0.14)[:15]
    wall = np.concatenate([points(wide, -high), bottom, points(-wide, -high)])
    canvas.part(wall, glaze, body, puff=0.42, texture=0.015)
    if motif < 0.4:
        t = np.linspace(-0.9, 0.9, 7)
        band = ribbon(np.stack([t, level + 0.12 * (1 - t**2)], 1), 0.12 + 0.4 * motif)
        canvas.part(band, ink, decor, puff=0.1, inside=body)
    elif motif < 0.6:
        for i in range(7):
            x, y = ((level + 0.755 * i) % 1) - 0.5, 0.9 * ((level + 0.57 * i) % 1) - 0.3
            canvas.part(ellipse(x, y, 0.09, 0.09), ink, decor, puff=0, inside=body)
    elif motif < 0.8:
        q = 0.2
        heart = points(0, 0.3 + q, -1.3 * q, 0.05, -0.8 * q, -0.15, 0, 0, 0.8 * q, -0.15, 1.3 * q, 0.05)
        canvas.part(smooth(heart, 2), ink, decor, puff=0.1, inside=body)
    canvas.part(ellipse(0, -high, wide, 0.15), glaze * 1.02, body, puff=0.1)
    content = rgb(22, 0.65, 0.28) if coffee else glaze * 0.55
    canvas.part(ellipse(0, 0.01 - high, 0.88 * wide, 0.11), content, inside, puff=0.15)


def house(canvas: Canvas, draws: Draws) -> None:
    """A house with roof, door, windows, chimney."""
    wall, roof, door, window, chimney = range(1, 6)
    place(canvas, draws, (54, 72), 0.03, 0.55, 0.06, (0.85, 1.15))
    plaster = draws.hsv((0, 60), (0.05, 0.5), (0.6, 0.97))
    tiles, slate = draws.hsv((-10, 30), (0.45, 0.8), (0.35, 0.7)), draws.chance(0.35)
    blue, eaves = draws.chance(0.3), draws.span(0.88, 1.0)
    peak, wide, top = draws.span(-0.95, -0.7), draws.span(0.7, 0.84), draws.span(-0.2, -0.05)
    hipped, flat = draws.chance(0.45), draws.span(0.3, 0.6)
    smoking, stack, entry = draws.chance(0.6), draws.span(-0.5, 0.5), draws.index(3) - 1
    timber, lit, gable = draws.hsv((0, 360), (0.3, 0.8), (0.25, 0.7)), draws.chance(0.4), draws.chance(0.4)
    canvas.shadow(0.82, 0.95, 0.1, 0.35)
    if smoking:
        shaft = rectangle(stack - 0.1, peak * 0.95, stack + 0.1, -0.2)
        canvas.part(shaft, rgb(12, 0.55, 0.45), chimney, puff=0.2, texture=0.04)
    wall_paint = plaster[[2, 1, 0]] if blue else plaster
    front = rectangle(-wide, top - 0.05, wide, 0.82)
    canvas.part(front, wall_paint, wall, puff=0.15, texture=0.02, gradient=-0.06)
    ridge = (-flat, peak, flat, peak) if hipped else (0, peak)
    slope = points(-eaves, top, *ridge, eaves, top)
    canvas.part(slope, tiles[[2, 2, 0]] if slate else tiles, roof, puff=0.2, texture=0.05, gradient=0.08)
    x_door = 0.4 * entry * wide / 0.8
    canvas.part(rectangle(x_door - 0.15, 0.3, x_door + 0.15, 0.82), timber, door, puff=0.15)
    canvas.part(ellipse(x_door + 0.09, 0.58, 0.035, 0.035), rgb(50, 0.6, 0.95), door, puff=0)
    pane = rgb(52, 0.5, 0.95) if lit else rgb(205, 0.35, 0.65)
    for x in (-0.46 * wide / 0.8, 0.0, 0.46 * wide / 0.8):
        if abs(x - x_door) >= 0.2:
            canvas.part(rectangle(x - 0.16, 0.2, x + 0.16, 0.54), WHITE, window, puff=0)
            canvas.part(rectangle(x - 0.11, 0.26, x + 0.11, 0.48), pane, window, puff=0.05, gradient=0.1)
    if gable:
        canvas.part(ellipse(0, (peak + top) / 2 + 0.12, 0.12, 0.12), pane, window, puff=0.1)


def flower(canvas: Canvas, draws: Draws) -> None:
    """A flower on its stem."""
    petal, centre, stem, leaf = range(1, 5)
    place(canvas, draws, (54, 70), 0.15)
    green, bend = draws.hsv((85, 130), (0.45, 0.8), (0.3, 0.6)), draws.span(-0.18, 0.18)
    leaf_of = lambda side: (side, draws.chance(0.85), draws.span(0.45, 0.75), draws.span(-0.35, -0.05))
    leaves = [leaf_of(-1), leaf_of(1)]
    count, kind, tone = (5, 6, 8, 10)[draws.index(4)], draws.index(5), draws.unit()
    hue, saturation = ((-20, 0.75), (265, 0.6), (42, 0.85), (312, 0.55), (30, 0.05))[kind]
    paint, bright = rgb(hue + 28 * tone, saturation, 0.9), draws.span(0.88, 1.08)
    reach, plump = draws.span(0.5, 0.62), draws.span(0.95, 1.15)
    turn, tilt = draws.unit(), draws.span(0.75, 1)
    eye, dark, size = draws.hsv((38, 52), (0.7, 0.95), (0.75, 1)), draws.chance(0.3), draws.span(0.15, 0.24)
    x, y = 0.0, -0.3
    canvas.part(ribbon(points(x, y, 0.6 * bend, 0.3, bend, 0.75, 0.9 * bend, 1.35), 0.1), green, stem)
    for side, there, high, lift in leaves:
        if there:
            upper = points(0.8 * bend, high, side * 0.3, high - 0.16 + lift, side * 0.68, high - 0.18 + lift)
            lower = points(side * 0.72, high - 0.1 + lift, side * 0.4, high + 0.06 + 0.4 * lift)
            blade = smooth(np.concatenate([upper, lower]), 2)
            canvas.part(blade, green * 1.05, leaf, puff=0.35, texture=0.03)
    width = min(0.3, 1.75 / count) * plump * reach / 0.6
    for i in range(count):
        angle = 2 * np.pi * (i + turn) / count
        c, s = np.cos(angle), np.sin(angle)
        outline = ellipse(0.58 * reach, 0, 0.52 * reach, width) @ np.array([[c, s], [-s, c]], np.float32)
        outline = outline * np.array([1, tilt], np.float32) + np.array([x, y], np.float32)
        canvas.part(outline, paint * bright * (0.96 + 0.08 * (i % 2)), petal, puff=0.35, texture=0.02)
    canvas.part(ellipse(x, y, size, size * tilt), eye * (0.35 if dark else 1), centre, puff=0.4, texture=0.08)
