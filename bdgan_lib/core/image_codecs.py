"""PNG and JPEG: pixels to bytes and back, with a limit on the size that a file may claim."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bdgan_lib.core.types import BdganError

MOST_PIXELS = 2**26  # 8192 x 8192; a file that claims more is refused before memory is allocated


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """PNG bytes of uint8 pixels [H, W] (grey: masks) or [H, W, 3] (RGB); `decode_png` inverts it."""
    # RLE compresses runs of equal bytes alone: files of samples are as small, and it is three times as fast.
    # OpenCV, unlike Pillow, lets other threads run meanwhile.
    return _encoded(array, ".png", [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])


def encode_jpeg(array: NDArray[np.uint8], quality: int = 95) -> bytes:
    """JPEG bytes of uint8 pixels [H, W, 3]; quality is 1 to 100, and even 100 changes some pixels."""
    return _encoded(array, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(array: NDArray[np.uint8], kind: str, settings: list[int]) -> bytes:
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise BdganError(
            f"expected a uint8 picture [H, W] or [H, W, 3], got {array.dtype} {list(array.shape)}"
        )
    done, data = cv2.imencode(kind, array[..., ::-1] if array.ndim == 3 else array, settings)
    if not done:
        raise BdganError(f"OpenCV could not encode a picture of shape {list(array.shape)}; try a smaller one")
    return data.tobytes()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """uint8 pixels [H, W] (8-bit grey) or [H, W, 3] (RGB) of a PNG's bytes.

    Raises:
        BdganError: the PNG is damaged or of another kind.
    """
    with _opened(data, "PNG") as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("L", "RGB"):
        raise BdganError(f"expected a PNG in 8-bit grey or RGB, without palette or alpha; got mode {mode}")
    return array


def decode_labels(data: bytes, most: int = 255) -> NDArray[np.unsignedinteger]:
    """Label ids [H, W] of a PNG by any tool: grey values of 1 to 16 bits, or a palette's indices.

    Args:
        data: the PNG's bytes.
        most: the largest label allowed; the result is uint8, or uint16 where this is above 255.

    Raises:
        BdganError: the PNG is damaged, in colours, or holds a label above `most`.
    """
    with _opened(data, "PNG") as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("1", "L", "P", "I", "I;16"):
        raise BdganError(f"expected label ids as grey values or as a palette's indices, got mode {mode}")
    if mode == "L" and data[24] in (2, 4):  # bits per pixel: Pillow stretches the values to 0..255
        array //= 255 // (2 ** data[24] - 1)
    if array.max() > most:
        raise BdganError(f"expected labels 0 to {most}, got {array.max()}")
    return array.astype(np.uint8 if most <= 255 else np.uint16)


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] uint8 of a JPEG, PNG, WebP ..., turned upright as its EXIF data say.

    Palettes, CMYK and 16 bits per channel become 8-bit RGB; alpha is dropped.

    Raises:
        BdganError: the file is damaged, or its pixels are floats.
    """
    with _opened(data, "picture") as image:
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip them at 255
            grey = np.array(image)
            if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
                raise BdganError(f"expected 8 or 16 bits per channel, got {grey.dtype} pixels")
            return np.rint(grey / 257).astype(np.uint8)[..., None].repeat(3, -1)
        return np.array(image.convert("RGB"))


@contextmanager
def _opened(data: bytes, kind: str) -> Iterator[Image.Image]:
    """The image of a file's bytes; any error while it is open becomes a BdganError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",) if kind == "PNG" else None) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BdganError(
                    f"it claims {image.width} x {image.height} pixels, above {MOST_PIXELS:,}; scale it down"
                )
            yield image
    except Exception as error:  # for damaged bytes Pillow raises many kinds of error
        raise BdganError(f"not a readable {kind} ({len(data)} bytes): {error}") from error
