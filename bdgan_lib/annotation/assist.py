"""Annotation aids: GrabCut from a box and dabs, superpixels, and masks as polygons with few vertices."""

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
    """Segment the object in a box, or at dabs, by colour and contrast: a mask [H, W].

    GrabCut (Rother et al. 2004): everything outside the box is background; inside it, fitting colour models
    of object and background alternates with a minimal cut. The same call gives the same mask.

    Args:
        image: [H, W, 3].
        box: around the object, in pixels; what is outside the image is cut off.
        inside: dabs on the object.
        outside: dabs on the background. Dabs are kept whatever the colour models say.
        iterations: of fitting and cutting.
        radius: of a dab, in pixels.

    Raises:
        BdganError: an empty box, one outside the image, a dab outside it, or neither box nor dab.
    """
    height, width = image.shape[:2]
    if box is None and not len(inside) and not len(outside):
        raise BdganError("GrabCut got neither a box nor a dab; draw a box around the object first")
    known = np.full((height, width), cv2.GC_PR_FGD, np.uint8)
    if box is not None:
        (x0, x1), (y0, y1) = np.clip(box[::2], 0, width), np.clip(box[1::2], 0, height)
        if not (x0 < x1 and y0 < y1):
            raise BdganError(
                f"the box has no pixel of the {width} x {height} image; drag it from one corner of the "
                "object to the opposite one"
            )
        known[:] = cv2.GC_BGD
        known[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = cv2.GC_PR_FGD
    for points, value in ((outside, cv2.GC_BGD), (inside, cv2.GC_FGD)):
        for x, y in points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise BdganError(f"the dab at {x:.0f}, {y:.0f} is outside the image; click inside")
            known[brush([(x, y)], radius, height, width)] = value
    free, object_, background = known == cv2.GC_PR_FGD, known == cv2.GC_FGD, known == cv2.GC_BGD
    if not background.any():  # without any dab on it, it is most likely at the rim
        background = np.ones_like(free)
        background[1:-1, 1:-1] = False
    if box is None and object_.any():  # initialise each pixel by the dabs of the nearer colour
        colours = image.astype(float)
        far, near = (np.linalg.norm(colours - colours[at].mean(0), axis=2) for at in (object_, background))
        background = far > near
    known[free & background] = cv2.GC_PR_BGD
    return _cut(image, known, iterations)


def snap_to_image(image: Image, foreground: NDArray[np.floating], confident: float = 0.9) -> Mask:
    """Turn a head's probability of foreground [H, W] into a mask whose outline follows the image's edges.

    GrabCut decides wherever the head's probability of either label is below `confident`. With two labels per
    class of the pocket profile this halves the corrections that remain.
    """
    known = np.where(foreground > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    known[foreground >= confident] = cv2.GC_FGD
    known[foreground <= 1 - confident] = cv2.GC_BGD
    return _cut(image, known, iterations=1)


def superpixels(image: Image, count: int = 100) -> NDArray[np.int64]:
    """About `count` connected regions of one colour each, numbered from 0: [H, W] (SLIC, Achanta et al.)."""
    from skimage.segmentation import slic

    if count < 1:
        raise BdganError(f"expected 1 or more superpixels, got {count}")
    return slic(image, n_segments=count, compactness=20, start_label=0)


def editable_rings(mask: Mask, tolerance: float | None = None, bound: float = 0.97) -> list[Ring]:
    """A mask as polygon rings with few vertices, to edit by hand; `fill` gives nearly the same mask back.

    A region or hole that simplification would lose keeps all its vertices.

    Args:
        mask: [H, W].
        tolerance: of the simplified outline, in pixels; None: the largest that keeps the overlap.
        bound: least overlap (IoU) with the mask, where `tolerance` is None.
    """
    rings = [smooth(ring) for ring in outline(mask)]

    def simplify(tolerance: float) -> list[Ring]:
        simple = [(ring, simplified([ring], tolerance)) for ring in rings]
        return [new[0] if new and fill(new, *mask.shape).any() else ring for ring, new in simple]

    if tolerance is not None:
        return simplify(tolerance)
    for step in max(mask.shape) / 8 * 0.8 ** np.arange(24):  # from coarse to fine: of 64 pixels 8 to 0.05
        simple = simplify(step)
        if overlap(fill(simple, *mask.shape), mask) >= bound:
            return simple
    return rings


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks, in [0, 1]; 1 for two empty ones."""
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else 1.0


def _cut(image: Image, known: NDArray[np.uint8], iterations: int) -> Mask:
    """GrabCut from a map [H, W] of GC_ labels; if all are of one side, nothing is cut."""
    if 0 < _is_background(known).sum() < known.size:
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(image[..., ::-1])
        cv2.grabCut(bgr, known, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return ~_is_background(known)


def _is_background(known: NDArray[np.uint8]) -> Mask:
    return np.isin(known, (cv2.GC_BGD, cv2.GC_PR_BGD))
