"""The stream of random numbers, smooth shapes, and a canvas that shades parts and keeps their labels.

Lengths are in design pixels: the picture is SIDE wide whatever the output size.
"""

import colorsys
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 192  # design pixels; output pixels are means of 3 x 3 or more of the raster
WHITE, BLACK = np.array([0.97, 0.97, 0.96], np.float32), np.array([0.05, 0.04, 0.05], np.float32)

Points = NDArray[np.floating]  # [N, 2] x, y
Colour = NDArray[np.floating]  # [3] RGB in [0, 1]
Span = tuple[float, float]


class Draws:
    """The stream of random decisions behind a picture: first the entries of a latent, then the seed's noise.

    A function that draws a class takes all its numbers before it branches, so that an entry of the latent
    always means the same within the class.
    """

    def __init__(self, uniforms: NDArray[np.float64], noise: np.random.Generator) -> None:
        self._uniforms = iter(uniforms.tolist())
        self.noise = noise

    def unit(self) -> float:
        """The next number in [0, 1)."""
        value = next(self._uniforms, None)
        return self.noise.random() if value is None else min(value, 0.999999)

    def span(self, low: float, high: float) -> float:
        """A number in [low, high]."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def index(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self.unit() * n)

    def hsv(self, hue: Span, saturation: Span, value: Span) -> Colour:
        """A colour: hue in degrees (any turn), saturation and value in [0, 1]."""
        h, s, v = self.span(*hue), self.span(*saturation), self.span(*value)
        return rgb(h, s, v)


def rgb(hue: float, saturation: float, value: float) -> Colour:
    """Hue in degrees, saturation and value in [0, 1] -> RGB [3] in [0, 1]."""
    saturation, value = min(1, max(0, saturation)), min(1, max(0, value))
    return np.array(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value), np.float32)


def points(*xy: float) -> Points:
    """A polygon from x, y, x, y, ..."""
    return np.array(xy, np.float32).reshape(-1, 2)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """The corners of an upright rectangle, [4, 2]."""
    return points(left, top, right, top, right, bottom, left, bottom)


def smooth(polygon: Points, rounds: int = 3) -> Points:
    """Round the corners of a closed polygon (Chaikin's corner cutting)."""
    for _ in range(rounds):
        after = np.roll(polygon, -1, axis=0)
        polygon = np.stack([0.75 * polygon + 0.25 * after, 0.25 * polygon + 0.75 * after], 1).reshape(-1, 2)
    return polygon


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Points:
    """An ellipse's outline, [28, 2], turned by an angle in radians."""
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], 1).astype(np.float32)


def ribbon(path: Points, width: float | Sequence[float] | NDArray[np.floating]) -> Points:
    """The outline of a thick line along `path`; `width` may vary from point to point."""
    path = np.asarray(path, np.float32)
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
    half = np.broadcast_to(np.asarray(width, np.float32), (len(path),))[:, None] / 2
    return np.concatenate([path + across * half, (path - across * half)[::-1]]).astype(np.float32)


@lru_cache(maxsize=1)
def texture_bank() -> list[NDArray[np.float32]]:
    """Forty smooth random fields of 256 x 256, mean 0 and deviation 1."""
    noise = np.random.default_rng(7)
    bank = []
    for _ in range(40):
        field = np.zeros((256, 256), np.float32)
        for octave, cells in enumerate([8, 16, 32, 64]):
            coarse = noise.standard_normal((cells, cells)).astype(np.float32)
            field += 0.62**octave * cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)
        bank.append((field - field.mean()) / field.std())
    return bank


class Canvas:
    """A raster with colours [0, 255] and part labels; parts are drawn in the frame set by `pose`."""

    def __init__(self, background: NDArray[np.float32], draws: Draws) -> None:
        self.image = background  # [side, side, 3] float32 in [0, 255]
        self.labels = np.zeros(background.shape[:2], np.uint8)
        self.side = background.shape[0]
        self.zoom = self.side / SIDE
        self.noise = draws.noise
        angle = draws.span(-2.5, -0.6)
        self.light = np.cos(angle), np.sin(angle)  # towards the light; y points down
        self.ambient = draws.span(0.88, 1.08)
        self.reset_pose()

    def reset_pose(self) -> None:
        """Draw in design pixels."""
        self._matrix, self.centre, self.scale = np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 1.0

    def pose(self, cx: float, cy: float, scale: float, angle: float, mirrored: bool, aspect: float) -> None:
        """Draw in the object's frame: unit length `scale` design pixels, turned by `angle` radians."""
        c, s = np.cos(angle), np.sin(angle)
        matrix = np.array([[c, -s], [s, c]]) @ np.diag([(-1 if mirrored else 1) * scale * aspect, scale])
        self._matrix, self.centre = matrix.T.astype(np.float32), np.array([cx, cy], np.float32)
        self.scale = scale

    def part(
        self,
        outline: Points,
        colour: Colour,
        label: int = 0,
        *,
        puff: float = 0.3,
        texture: float = 0.0,
        inside: int | None = None,
        alpha: float = 1.0,
        gradient: float = 0.0,
    ) -> None:
        """Fill an outline and label its pixels.

        Args:
            outline: in the frame set by `pose`.
            colour: before shading.
            label: 0 is the background.
            puff: how strongly the shape is shaded as if swollen.
            texture: deviation of a brightness texture.
            inside: paint only where the canvas has this label.
            alpha: opacity; below 1 no label changes.
            gradient: brightness added at the top and taken away at the bottom.
        """
        outline = (outline @ self._matrix + self.centre) * self.zoom
        x0, y0 = np.floor(outline.min(0)).astype(int) - 1
        x1, y1 = np.ceil(outline.max(0)).astype(int) + 2
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, self.side), min(y1, self.side)
        if right - left < 2 or bottom - top < 2:
            return
        cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(cover, [np.round((outline - (x0, y0)) * 16).astype(np.int32)], 255, shift=4)
        shade = self._shade(cover, puff)
        if gradient:
            shade = shade + np.linspace(gradient, -gradient, len(shade), dtype=np.float32)[:, None]
        seen = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
        here = slice(top, bottom), slice(left, right)
        shade, mask = shade[seen], cover[seen] > 0
        if texture:
            shade = shade + texture * self._texture(*shade.shape)
        if inside is not None:
            mask &= self.labels[here] == inside
        target, colour = self.image[here], colour * np.float32(255)
        paint = shade[mask][:, None] * colour
        if alpha == 1:
            target[mask], self.labels[here][mask] = paint, label
        else:
            target[mask] = alpha * paint + (1 - alpha) * target[mask]

    def shadow(self, dy: float, rx: float, ry: float, strength: float = 0.4) -> None:
        """Darken the floor under an object, in units of its frame; call it before the object is drawn."""
        soft = np.zeros((48, 48), np.float32)
        cx, cy = self.centre[0] / 4, (self.centre[1] + dy * self.scale) / 4
        radii = max(1, int(rx * self.scale / 4)), max(1, int(ry * self.scale / 4))
        cv2.ellipse(soft, (int(cx), int(cy)), radii, 0, 0, 360, strength, -1)
        self.image *= 1 - cv2.resize(cv2.blur(soft, (5, 5)), (self.side, self.side))[..., None]

    def _shade(self, cover: NDArray[np.uint8], puff: float) -> NDArray[np.float32]:
        """Brightness of a swollen shape: its blurred cover taken as a height, lit from `light`."""
        if not puff:
            return np.full(cover.shape, self.ambient, np.float32)
        size = max(3, min(cover.shape) // 2) | 1
        height = cv2.blur(cover.astype(np.float32), (size, size), borderType=cv2.BORDER_CONSTANT)
        height = cv2.blur(height, (max(3, size // 3) | 1,) * 2, borderType=cv2.BORDER_CONSTANT)
        slope = size / 8 / 255 * puff
        shade = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=-slope * self.light[0])
        shade += cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=-slope * self.light[1])
        rim = 0.12  # darker towards the rim
        return shade + (self.ambient - rim) + height * np.float32(rim / 255)

    def _texture(self, height: int, width: int) -> NDArray[np.float32]:
        field = texture_bank()[int(self.noise.integers(40))]
        rows, columns = (max(2, min(256, round(n / self.zoom))) for n in (height, width))
        y, x = int(self.noise.integers(257 - rows)), int(self.noise.integers(257 - columns))
        return cv2.resize(field[y : y + rows, x : x + columns], (width, height))
