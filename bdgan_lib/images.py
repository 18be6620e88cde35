"""Images: the one place where a value range is converted; colours, sheets, PNG; files saved safely."""

import colorsys
import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from bdgan_lib.types import UNLABELLED, BdganError

# Okabe & Ito, "Color Universal Design" (2008): distinct for all common kinds of colour vision.
_OKABE_ITO = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178),
              (213, 94, 0), (204, 121, 167))  # fmt: skip
_GREY = (128, 128, 128)  # unlabelled
MOST_PIXELS = 2**26  # 8192 x 8192; a file that claims more is refused before memory is asked for


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """[B, 3, H, W] float in [-1, 1] -> uint8 [B, H, W, 3]; rounds, and clips what lies outside.

    Raises BdganError for another shape, and for NaN (a generator that was never initialised returns it).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise BdganError(f"images came as {list(images.shape)}; wanted [B, 3, H, W] in [-1, 1]")
    pixels = (images.detach().float() + 1.0) * 127.5
    if torch.isnan(pixels).any():
        raise BdganError("images hold NaN; wanted [-1, 1]: check that the generator's weights are loaded")
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, H, W, 3] or [H, W, 3] -> float32 [B, 3, H, W] in [-1, 1]; `to_uint8` inverts it."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise BdganError(
            f"images came as {images.dtype} {list(images.shape)}; wanted uint8 [B, H, W, 3] or [H, W, 3]"
        )
    batch = torch.tensor(np.ascontiguousarray(images if images.ndim == 4 else images[None]))
    return (batch.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous()


def palette(n: int) -> NDArray[np.uint8]:
    """n colours, [n, 3] uint8: 0 is black ground; palette(m) is the start of palette(n) for every m < n.

    The first eight stay apart for colour-blind readers; later ones differ in lightness as well as in hue.
    """
    if n < 1:
        raise BdganError(f"a palette of {n} colours was asked for; ask for at least 1")
    colours = list(_OKABE_ITO[:n])
    for k in range(len(colours), n):
        hue = (k * 0.6180339887) % 1.0  # golden-ratio steps never come back to the same hue
        colour = colorsys.hls_to_rgb(hue, (0.3, 0.7, 0.5, 0.8, 0.4)[k % 5], (0.95, 0.65, 0.8)[k % 3])
        red, green, blue = (round(255 * c) for c in colour)
        colours.append((red, green, blue))
    return np.array(colours, dtype=np.uint8)


def colour_mask(mask: NDArray[np.uint8], n: int | None = None) -> NDArray[np.uint8]:
    """uint8 [H, W] label ids -> uint8 [H, W, 3] colours; 255 (unlabelled) is grey.

    n: how many labels there are; a larger one in the mask is then a BdganError.
    """
    mask = _checked_mask(mask)
    if n is not None and np.any((mask >= n) & (mask != UNLABELLED)):
        raise BdganError(
            f"the mask holds label {mask[mask != UNLABELLED].max()}, but n is {n}; wanted 0..{n - 1} or 255"
        )
    table = palette(256)
    table[UNLABELLED] = _GREY
    return table[mask]


def overlay(image: NDArray[np.uint8], mask: NDArray[np.uint8], alpha: float = 0.5) -> NDArray[np.uint8]:
    """The image [H, W, 3] with its labelled pixels tinted by alpha (0 image, 1 colour); label 0 is clear."""
    image, mask = _checked_image(image), _checked_mask(mask)
    if image.shape[:2] != mask.shape:
        raise BdganError(f"image {list(image.shape)} and mask {list(mask.shape)} differ; wanted one size")
    if not 0.0 <= alpha <= 1.0:
        raise BdganError(f"alpha is {alpha}; give a number from 0 to 1")
    tint = alpha * (mask > 0)[..., None]
    return np.rint((1 - tint) * image + tint * colour_mask(mask)).astype(np.uint8)


def grid(
    images: Sequence[NDArray[np.uint8]], columns: int, pad: int = 2, scale: int = 1
) -> NDArray[np.uint8]:
    """Pictures of one size, row by row, on white: uint8 [rows * (scale * H + pad) + pad, ..., 3].

    scale: whole-number enlargement, pixels stay square and sharp. An unfinished last row ends white.
    """
    pictures = [_checked_image(image) for image in images]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1 or columns < 1 or pad < 0 or scale < 1:
        raise BdganError(
            f"grid got {len(pictures)} images of sizes {sorted(sizes)}, columns {columns}, pad {pad}, "
            f"scale {scale}; wanted one image or more, all of one size, columns and scale from 1, pad from 0"
        )
    height, width = (scale * side + pad for side in pictures[0].shape[:2])  # one cell
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height + pad, columns * width + pad, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = (i // columns) * height + pad, (i % columns) * width + pad
        sheet[y : y + height - pad, x : x + width - pad] = picture.repeat(scale, 0).repeat(scale, 1)
    return sheet


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


def located(path: str | os.PathLike[str]) -> Path:
    """A path; for an address such as "s3://bucket/folder" one that fsspec serves, with the same methods.

    BdganError where the package for that is missing.
    """
    if not isinstance(path, str) or "://" not in path:
        return path if hasattr(path, "fs") else Path(path)  # type: ignore[return-value]
    try:
        from upath import UPath
    except ImportError as error:
        raise BdganError(f"{path} is no local folder; pip install 'bdgan-lib[cloud]' to reach it") from error
    return cast(Path, UPath(path))


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to, and to read back, that appears under `path` whole or not at all.

    The bytes go to a temporary name in the same folder, are flushed to the disk, then renamed. After an error
    (no space left, Ctrl-C) the temporary file is gone and what stood at `path` before stands there still. An
    object store gets the whole file in one piece, from a temporary one here.
    """
    path = located(path)
    if hasattr(path, "fs"):
        with NamedTemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.flush()
            path.fs.put_file(file.name, path.path)  # type: ignore[attr-defined]
        return
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x+b") as file:  # not mkstemp: the file shall have the user's usual permissions
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to `path` whole or not at all (see `atomic_file`); OSError when the disk refuses."""
    with atomic_file(path) as file:
        file.write(data)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of_open(file)


def sha256_of_open(file: BinaryIO) -> str:
    """The same of an open file, from its beginning."""
    digest = sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Make a rename outlast a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BdganError(f"an image came as {image.dtype} {list(image.shape)}; wanted uint8 [H, W, 3]")
    return image


def _checked_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mask = np.asarray(mask)
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise BdganError(f"a mask came as {mask.dtype} {list(mask.shape)}; wanted uint8 [H, W]")
    return mask
