"""PNG and JPEG: pixels to bytes and back, with a limit on the size that a file may claim."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from bdgan_lib.core.types import BdganError

MOST_PIXELS = 2**26  # 8192 x 8192; a file that claims more is refused before memory is allocated
PICTURES = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")  # read from people; other decoders may start programs
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp")  # of their files
_OPENING = Lock()  # holds while Pillow's limit is put aside
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_HEADER = 33  # bytes of a PNG before its second chunk
_TEXT = b"tEXtSoftware\0bdgan_lib sheet"
_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))
_JPEG_END = re.compile(rb"\xff[^\0\xd0-\xd7]")  # of the coded pixels: a marker that is no restart


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """PNG bytes of uint8 pixels [H, W] (grey: masks) or [H, W, 3] (RGB); `decode_png` inverts it.

    Raises:
        BdganError: the array has another type or shape, or is empty.
    """
    # RLE compresses runs of equal bytes alone: files of samples are as small, and it is three times as fast.
    # OpenCV, unlike Pillow, lets other threads run meanwhile.
    return _encoded(array, ".png", [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])


def encode_overview(array: NDArray[np.uint8]) -> bytes:
    """PNG bytes of a sheet of pictures, with a text in it that tells it as ours; see `is_overview`."""
    png = encode_png(array)
    return png[:_HEADER] + _MARK + png[_HEADER:]


def is_overview(png: bytes) -> bool:
    """Whether these are bytes of `encode_overview`."""
    return png[_HEADER:].startswith(_MARK)


def encode_jpeg(array: NDArray[np.uint8], quality: int = 95) -> bytes:
    """JPEG bytes of uint8 pixels [H, W, 3]; quality is 1 to 100, and even 100 changes some pixels.

    Raises:
        BdganError: as of `encode_png`.
    """
    return _encoded(array, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(array: NDArray[np.uint8], kind: str, settings: list[int]) -> bytes:
    array = np.asarray(array)
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise BdganError(
            f"expected a uint8 picture [H, W] or [H, W, 3], got {array.dtype} {list(array.shape)}"
        )
    # not array[..., ::-1], which is 40 times as slow to copy and stops other threads meanwhile
    done, data = cv2.imencode(
        kind, cv2.cvtColor(array, cv2.COLOR_RGB2BGR) if array.ndim == 3 else array, settings
    )
    if not done:
        raise BdganError(f"OpenCV could not encode a picture of shape {list(array.shape)}; try a smaller one")
    return data.tobytes()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """uint8 pixels [H, W] (8-bit grey) or [H, W, 3] (RGB) of a PNG's bytes.

    Raises:
        BdganError: the PNG is damaged or of another kind.
    """
    with _opened(data, ("PNG",)) as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("L", "RGB"):
        raise BdganError(f"expected a PNG in 8-bit grey or RGB, without palette or alpha; got mode {mode}")
    return array


def decode_encoded(data: bytes, kind: str) -> NDArray[np.uint8]:
    """uint8 pixels [H, W] or [H, W, 3] of bytes that are as `encode_png` or `encode_jpeg` writes them.

    Readers agree on such pixels: there is no palette, alpha, turn, second picture or hidden content.

    Args:
        data: the file.
        kind: "PNG" or "JPEG"; no other format is tried.

    Raises:
        BdganError: it is damaged, of another format, or holds more than a picture's size and pixels.
    """
    if kind == "PNG":
        _check_png(data)
        return decode_png(data)
    _check_jpeg(data)
    with _opened(data, ("JPEG",)) as jpeg:
        if jpeg.mode != "RGB":
            raise BdganError(f"expected a JPEG in RGB, got mode {jpeg.mode}")
        return np.array(jpeg)


def _check_png(data: bytes) -> None:
    """Check that IHDR of 8 bits in grey or RGB, IDATs and IEND stand there alone, with their checksums."""
    if not data.startswith(_PNG_START):
        raise BdganError(f"not a readable PNG ({len(data)} bytes): it does not begin as one")
    view, at, kinds = memoryview(data), 8, list[bytes]()
    while at + 12 <= len(data) and kinds[-1:] != [b"IEND"]:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]).to_bytes(4, "big") != view[end - 4 : end]:
            raise BdganError(f"chunk {kind!r:.20} at byte {at} is cut off or has a wrong checksum")
        kinds.append(kind)
        at = end
    if kinds != [b"IHDR", *[b"IDAT"] * (len(kinds) - 2), b"IEND"] or len(kinds) < 3 or at != len(data):
        surplus = sorted({str(kind) for kind in kinds} - {"b'IHDR'", "b'IDAT'", "b'IEND'"})
        raise BdganError(
            f"expected a PNG of IHDR, IDAT and IEND alone, got {', '.join(surplus[:5]) or 'another order'} "
            f"and {len(data) - at} bytes after them"
        )
    if data[24] != 8 or data[25] not in (0, 2) or data[28]:
        raise BdganError(
            "expected a PNG in 8-bit grey or RGB, without palette, alpha or interlacing; "
            f"got {data[24]} bits, colour type {data[25]}"
        )


def _check_jpeg(data: bytes) -> None:
    """Check that there is one picture from SOI to EOI, without EXIF, and nothing beside it."""
    at, marker = 2, 0
    if not data.startswith(b"\xff\xd8"):
        raise BdganError(f"not a readable JPEG ({len(data)} bytes): it does not begin as one")
    while marker != 0xDA and at + 4 <= len(data):  # to the start of the only scan
        start, marker, length = struct.unpack_from(">BBH", data, at)
        if start != 0xFF or marker not in (0xE0, 0xDB, 0xC0, 0xC4, 0xDD, 0xDA):  # JFIF, tables, size, scan
            raise BdganError(f"expected a plain JPEG, got the segment {start:02x}{marker:02x} at byte {at}")
        at += 2 + length
    end = _JPEG_END.search(data, at)
    if marker != 0xDA or not end or end[0] != b"\xff\xd9" or end.end() != len(data):
        raise BdganError("expected one plain JPEG, got a cut one, several scans or bytes after its end")


def decode_labels(data: bytes, most: int = 255) -> NDArray[np.unsignedinteger]:
    """Label ids [H, W] of a PNG by any tool: grey values of 1 to 16 bits, or a palette's indices.

    Args:
        data: the PNG's bytes.
        most: the largest label allowed; the result is uint8, or uint16 where this is above 255.

    Raises:
        BdganError: the PNG is damaged, in colours, or holds a label above `most`.
    """
    with _opened(data, ("PNG",)) as png:
        mode, array = png.mode, np.array(png)
    if mode not in ("1", "L", "P", "I", "I;16"):
        raise BdganError(f"expected label ids as grey values or as a palette's indices, got mode {mode}")
    if mode == "L" and data[24] in (2, 4):  # bits per pixel: Pillow stretches the values to 0..255
        array //= 255 // (2 ** data[24] - 1)
    if array.max() > most:
        raise BdganError(f"expected labels 0 to {most}, got {array.max()}")
    return array.astype(np.uint8 if most <= 255 else np.uint16)


def decode_image(data: bytes, formats: tuple[str, ...] = PICTURES) -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] uint8 of a file in one of the formats, turned upright as its EXIF data say.

    Palettes, CMYK and 16 bits per channel become 8-bit RGB; alpha is dropped.

    Raises:
        BdganError: the file is damaged, in another format or too large, or its pixels are floats or have
            more than 16 bits.
    """
    with _opened(data, formats) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip them at 255
            grey = np.array(image)
            if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
                raise BdganError(f"expected 8 or 16 bits per channel, got {grey.dtype} pixels")
            return np.rint(grey / 257).astype(np.uint8)[..., None].repeat(3, -1)
        return np.array(image.convert("RGB"))


def read_image(path: Path, formats: tuple[str, ...] = PICTURES) -> NDArray[np.uint8]:
    """`decode_image` of a file, whose name stands in every error."""
    with _naming(path):
        return decode_image(path.read_bytes(), formats)


def upright_size(path: Path, formats: tuple[str, ...] = PICTURES) -> tuple[int, int]:
    """Height and width of the image that `read_image` gives of a file.

    Of a JPEG or PNG that is not cut off only the headers are read. Any other file is decoded.

    Raises:
        BdganError: the file is damaged or in another format.
    """
    with _naming(path):
        if _is_uncut(path):
            with _opened(path, formats) as image:
                turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
                return (image.width, image.height) if turned else (image.height, image.width)
        height, width, _ = decode_image(path.read_bytes(), formats).shape
        return height, width


def _is_uncut(path: Path) -> bool:
    """Whether a file is a JPEG or PNG to its end, with what turns it before the pixels."""
    with path.open("rb") as file:
        start, kinds = file.read(8), list[bytes]()
        if start.startswith(b"\xff\xd8"):
            file.seek(-2, 2)
            return file.read() == b"\xff\xd9"
        while start == _PNG_START[:8] and kinds[-1:] != [b"IEND"] and len(head := file.read(8)) == 8:
            kinds.append(head[4:])
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    late = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return late[-1:] == [b"IEND"] and not {b"eXIf", b"iTXt", b"tEXt", b"zTXt"} & {*late}


def read_labels(path: Path) -> NDArray[np.unsignedinteger]:
    """`decode_labels` of a file, whose name stands in every error."""
    with _naming(path):
        return decode_labels(path.read_bytes())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except BdganError as error:
        raise BdganError(f"{error}; the file is {path}") from error


def open_picture(file: Path | IO[bytes], formats: tuple[str, ...]) -> Image.Image:
    """Open a picture, whose pixels are not read yet, however large it is: compare its size with MOST_PIXELS.

    Pillow's limit is higher, and it tells of it by a warning on stderr.
    """
    if {"TIFF", "WEBP"} & {*formats}:  # else Pillow loads all its plugins to open them
        from PIL import TiffImagePlugin, WebPImagePlugin  # noqa: F401
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _opened(source: bytes | Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """The image of a file or of its bytes; any error while it is open becomes a BdganError."""
    kind = formats[0] if len(formats) == 1 else "picture"
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    try:
        with open_picture(source if isinstance(source, Path) else io.BytesIO(source), formats) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BdganError(
                    f"it claims {image.width} x {image.height} pixels, above {MOST_PIXELS:,}; scale it down"
                )
            yield image
    except Image.UnidentifiedImageError as error:
        raise BdganError(f"not a readable {kind} ({size} bytes), expected {', '.join(formats)}") from error
    except Exception as error:  # for damaged bytes Pillow raises many kinds of error
        raise BdganError(f"not a readable {kind} ({size} bytes): {error}") from error
