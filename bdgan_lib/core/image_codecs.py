"""PNG and JPEG: pixels to bytes and back, with a limit on what a file may claim."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bdgan_lib.core.types import BdganError

MOST_PIXELS = 2**26  # 8192 x 8192; a file that claims more is refused before memory is asked for


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] (grey: masks) or [H, W, 3] (RGB) -> PNG bytes; `decode_png` gives the same array back."""
    # RLE: runs of equal bytes and no other repeats; as small for samples, three times as fast, and unlike
    # Pillow, OpenCV lets other threads work meanwhile
    return _encoded(array, ".png", [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])


def encode_jpeg(array: NDArray[np.uint8], quality: int = 95) -> bytes:
    """uint8 [H, W, 3] -> JPEG bytes, for `decode_image`; quality from 1 to 100, of which none is exact."""
    return _encoded(array, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(array: NDArray[np.uint8], kind: str, settings: list[int]) -> bytes:
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise BdganError(f"a picture came as {array.dtype} {list(array.shape)}; wanted uint8 [H, W(, 3)]")
    done, data = cv2.imencode(kind, array[..., ::-1] if array.ndim == 3 else array, settings)
    if not done:
        raise BdganError(f"OpenCV could not encode a picture of {list(array.shape)}")
    return data.tobytes()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """PNG bytes -> uint8 [H, W] (8-bit grey) or [H, W, 3] (RGB); BdganError when damaged or another kind."""
    with _opened(data, "PNG") as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("L", "RGB"):
        raise BdganError(f"the PNG has mode {mode}; wanted 8-bit grey or RGB, no palette, no alpha")
    return array


def decode_labels(data: bytes, most: int = 255) -> NDArray[Any]:
    """PNG bytes of any tool -> [H, W] label ids: grey values of 1 to 16 bits, or a palette's indices.

    uint8, or uint16 where `most` is above 255. BdganError when damaged, with colours or a value above `most`.
    """
    with _opened(data, "PNG") as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("1", "L", "P", "I", "I;16"):
        raise BdganError(
            f"the PNG has mode {mode}; wanted label ids as grey values or as a palette's indices"
        )
    if mode == "L" and data[24] in (2, 4):  # so many bits: Pillow stretches them to 0..255
        array //= 255 // (2 ** data[24] - 1)
    if array.max() > most:
        raise BdganError(f"the PNG holds label {array.max()}; wanted 0 to {most}")
    return array.astype(np.uint8 if most <= 255 else np.uint16)


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Bytes of a JPEG, PNG, WebP ... -> RGB [H, W, 3] uint8, turned upright; BdganError if damaged.

    Palette, CMYK and 16 bits a channel become 8-bit RGB, alpha is left out; floats are refused.
    """
    with _opened(data, "picture") as image:
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip them at 255
            grey = np.array(image)
            if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
                raise BdganError(f"its pixels are {grey.dtype}; wanted 8 or 16 bits a channel")
            return np.rint(grey / 257).astype(np.uint8)[..., None].repeat(3, -1)
        return np.array(image.convert("RGB"))


@contextmanager
def _opened(data: bytes, kind: str) -> Iterator[Image.Image]:
    """The image of a file's bytes; whatever goes wrong with it, while it is open, is a BdganError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",) if kind == "PNG" else None) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BdganError(
                    f"it claims {image.width} x {image.height} pixels, above {MOST_PIXELS:,}; scale it down"
                )
            yield image
    except Exception as error:  # damaged bytes make Pillow raise many kinds, some of them not its own
        raise BdganError(f"not a readable {kind} ({len(data)} bytes): {error}") from error
