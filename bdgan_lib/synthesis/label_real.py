"""Labels for real images, by encoding them for a label head (paper section 3.3; only VQGAN can encode)."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.base import ImageEncoder
from bdgan_lib.heads.base import Head


def center_square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The centre square of an image [H, W, 3], resized to [side, side, 3].

    Raises:
        BdganError: the image is not uint8 [H, W, 3].
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BdganError(f"expected an image as uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = image[top : top + short, left : left + short]
    interpolation = cv2.INTER_AREA if side < short else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (side, side), interpolation=interpolation), np.uint8)


def label_images(
    generator: ImageEncoder,
    head: Head,
    images: NDArray[np.uint8],
    class_ids: NDArray[np.integer],
    batch_size: int = 50,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Masks [N, S, S] of real images and the JS divergence [N, S, S] of the ensemble, in nats.

    Args:
        generator: encodes the images and reads features from the codes.
        head: labels the features.
        images: [N, S, S, 3], of the generator's image size S (see `center_square`).
        class_ids: the known class of each image, [N].
        batch_size: images computed at once.

    Raises:
        BdganError: no images, another number of classes, another image size or an unknown class.
    """
    if len(images) != len(class_ids) or not len(images):
        raise BdganError(
            f"expected 1 or more images and a class for each, got {len(images)} and {len(class_ids)}"
        )
    labelled = []
    for first in range(0, len(images), batch_size):
        ids = torch.from_numpy(np.asarray(class_ids[first : first + batch_size], np.int64))
        codes = generator.encode(from_uint8(images[first : first + batch_size]))
        labelled.append(head.label(generator.features(codes, ids), ids))
    masks, divergence = zip(*labelled, strict=True)
    return np.concatenate(masks), np.concatenate(divergence)
