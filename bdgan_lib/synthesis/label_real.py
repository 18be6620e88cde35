"""Labels for real images: encoded, so that a label head can read them (paper section 3.3; only VQGAN can)."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import ImageEncoder
from bdgan_lib.heads.base import Head


def center_square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The centre square of an image [H, W, 3], resized to [side, side, 3]; BdganError for another kind."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BdganError(f"an image came as {image.dtype} {list(image.shape)}; wanted uint8 [H, W, 3]")
    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = image[top : top + short, left : left + short]
    shrinks = side < short
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def label_images(
    generator: ImageEncoder,
    head: Head,
    images: NDArray[np.uint8],
    class_ids: NDArray[np.integer],
    batch_size: int = 50,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels of images [N, S, S, 3] of known classes [N], and the members' JS divergence; see `Head.label`.

    BdganError for images of another side than the generator's (see `fitted`).
    """
    if len(images) != len(class_ids) or not len(images):
        raise BdganError(f"{len(images)} images and {len(class_ids)} classes came; wanted 1 or more, as many")
    found = []
    for first in range(0, len(images), batch_size):
        ids = torch.from_numpy(np.asarray(class_ids[first : first + batch_size], np.int64))
        codes = generator.encode(from_uint8(images[first : first + batch_size]))
        found.append(head.label(generator.features(codes, ids), ids))
    labels, divergence = zip(*found, strict=True)
    return np.concatenate(labels), np.concatenate(divergence)
