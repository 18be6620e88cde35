"""What helps a hand: GrabCut from a box and dabs, superpixels, and masks as polygons of few vertices."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.strokes import brush
from bdgan_lib.core.polygons import Ring, fill, outline, simplified, smooth
from bdgan_lib.core.types import BdganError

Image = NDArray[np.uint8]  # [H, W, 3]
Mask = NDArray[np.bool_]  # [H, W]
Points = Sequence[Sequence[float]]  # (x, y) in pixels; pixel (i, j) covers [j, j + 1] x [i, i + 1]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def grabcut(
    image: Image,
    box: Box | None = None,
    inside: Points = (),
    outside: Points = (),
    iterations: int = 2,  # on 64 pixels 1, 2, 3, 5 give IoU .87, .87, .86, .80; an enlarged copy is no better
    radius: float = 1.5,  # of a dab, in pixels
) -> Mask:
    """The object in a box, or at dabs, as its colours and contrast tell it from the ground, [H, W].

    GrabCut (Rother et al. 2004): outside the box all is ground; in it, colour models of object and ground and
    a minimal cut take turns. Dabs hold where the models are wrong. The same call gives the same mask.

    BdganError for an empty box, a box or a dab outside the image, and if neither box nor dab came.
    """
    height, width = image.shape[:2]
    if box is None and not len(inside) and not len(outside):
        raise BdganError("GrabCut got neither a box nor a dab; draw a box around the object first")
    known = np.full((height, width), cv2.GC_PR_FGD, np.uint8)
    if box is not None:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise BdganError(f"box {box} came; wanted x0 < x1 and y0 < y1 within {width} x {height} pixels")
        known[:] = cv2.GC_BGD
        known[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = cv2.GC_PR_FGD
    for points, value in ((outside, cv2.GC_BGD), (inside, cv2.GC_FGD)):
        for x, y in points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise BdganError(f"a dab at ({x}, {y}) came; wanted one within {width} x {height} pixels")
            known[brush([(x, y)], radius, height, width)] = value
    free, object_, ground = known == cv2.GC_PR_FGD, known == cv2.GC_FGD, known == cv2.GC_BGD
    if not ground.any():  # nothing is said of it: the rim is likeliest
        ground = np.ones_like(free)
        ground[1:-1, 1:-1] = False
    if box is None and object_.any():  # a start: each pixel goes to the dabs of the nearer colour
        colours = image.astype(float)
        far, near = (np.linalg.norm(colours - colours[at].mean(0), axis=2) for at in (object_, ground))
        ground = far > near
    known[free & ground] = cv2.GC_PR_BGD
    return _cut(image, known, iterations)


def snap_to_image(image: Image, foreground: NDArray[np.floating], sure: float = 0.9) -> Mask:
    """A head's probability of foreground [H, W] as a mask whose outline lies at the image's edges.

    Where the head is less than `sure`, GrabCut decides: the head knows what is the object, the image where it
    ends. After two labels per class of the pocket this halves the corrections that are left.
    """
    known = np.where(foreground > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    known[foreground >= sure] = cv2.GC_FGD
    known[foreground <= 1 - sure] = cv2.GC_BGD
    return _cut(image, known, iterations=1)


def superpixels(image: Image, count: int = 100) -> NDArray[np.int64]:
    """About `count` connected regions of one colour each, numbered from 0, [H, W] (SLIC, Achanta et al.)."""
    from skimage.segmentation import slic

    if count < 1:
        raise BdganError(f"{count} superpixels were asked for; ask for 1 or more")
    return slic(image, n_segments=count, compactness=20, start_label=0)


def superpixel_at(image: Image, x: float, y: float, count: int = 100) -> Mask:
    """The superpixel at this point, [H, W]; BdganError for a point outside the image."""
    height, width = image.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise BdganError(f"point ({x}, {y}) came; wanted one within {width} x {height} pixels")
    found = superpixels(image, count)
    return found == found[int(y), int(x)]


def editable_rings(mask: Mask, tolerance: float | None = None, bound: float = 0.97) -> list[Ring]:
    """A mask as rings with few vertices, for a hand to move: `fill` brings nearly the same mask back.

    The outline is simplified by `tolerance` pixels; by default by as many as keep the overlap with the mask
    at `bound` or above. A region or hole that this would lose keeps all its vertices.
    """
    rings = [smooth(ring) for ring in outline(mask)]

    def kept(tolerance: float) -> list[Ring]:
        found = []
        for ring in rings:
            simple = simplified([ring], tolerance)
            found.append(simple[0] if simple and fill(simple, *mask.shape).any() else ring)
        return found

    if tolerance is not None:
        return kept(tolerance)
    for choice in max(mask.shape) / 8 * 0.8 ** np.arange(24):  # from coarse to fine: 64 pixels from 8 to 0.05
        found = kept(choice)
        if overlap(fill(found, *mask.shape), mask) >= bound:
            return found
    return rings


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks, in [0, 1]; of two empty ones 1."""
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0


def _cut(image: Image, known: NDArray[np.uint8], iterations: int) -> Mask:
    """GrabCut from a map [H, W] of what is known; where only one side is there, nothing is cut."""
    if 0 < _is_ground(known).sum() < known.size:
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(image[..., ::-1])
        cv2.grabCut(bgr, known, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return ~_is_ground(known)


def _is_ground(known: NDArray[np.uint8]) -> Mask:
    return np.isin(known, (cv2.GC_BGD, cv2.GC_PR_BGD))
