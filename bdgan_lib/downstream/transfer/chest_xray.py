"""Reads chest radiographs with lung masks: JSRT, Montgomery and Shenzhen, each in its authors' layout.

Labels are 0 = background, 1 = lung and, in JSRT, 2 = heart. Only JSRT has an official split; split the others
by index.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import PICTURES, read_image
from bdgan_lib.core.io import list_folder
from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.transfer.samples import Lazy, folder, require_files, segmented

LUNG, HEART = 1, 2
_JSRT_SIDE = 2048


def jsrt(root: Path, fold: int) -> Lazy[Segmented]:
    """JSRT's 247 films at 1024 x 1024 with the masks of SCR; where lung and heart overlap, it is heart.

    Layout: `All247images/NAME.IMG` (JSRT: 2048 x 2048 big-endian 16-bit words without a header, of which 12
    bits are used, 0 = white), and `scratch/foldF/masks/{left lung,right lung,heart}/NAME.gif` (SCR: 1024 x
    1024). SCR trains on one fold, 1 or 2, and tests on the other.

    Raises:
        BdganError: a folder or file is missing, or (at access) does not fit.
    """
    pictures = folder(Path(root), "All247images", "JSRT's films (All247images.zip)")
    masks = folder(Path(root), f"scratch/fold{fold}/masks", f"SCR's masks of fold {fold}")
    parts = [folder(masks, name, "SCR's masks") for name in ("left lung", "right lung", "heart")]
    keys = _stems(parts[0], "*.gif")
    require_files(p / f"{key}.gif" for key in keys for p in parts)
    require_files(pictures / f"{key}.IMG" for key in keys)

    def read(key: str) -> Segmented:
        left, right, heart = (_mask(part / f"{key}.gif") for part in parts)
        if not left.shape == right.shape == heart.shape:
            raise BdganError(f"expected masks of one size, got {left.shape}, {right.shape} and {heart.shape}")
        labels = np.where(left | right, LUNG, 0).astype(np.uint8)
        labels[heart] = HEART
        return segmented(_film(pictures / f"{key}.IMG"), labels, 3)

    return Lazy(keys, read)


def montgomery(root: Path) -> Lazy[Segmented]:
    """Montgomery County's 138 radiographs; labels 0 and 1.

    Layout: `MontgomerySet/CXR_png/NAME.png` and `MontgomerySet/ManualMask/{leftMask,rightMask}/NAME.png`.

    Raises:
        BdganError: a folder or file is missing, or (at access) does not fit.
    """
    pictures = folder(Path(root), "MontgomerySet/CXR_png", "the Montgomery set")
    parts = [folder(Path(root), f"MontgomerySet/ManualMask/{side}Mask", "the Montgomery set's masks")
             for side in ("left", "right")]  # fmt: skip
    keys = _stems(pictures, "*.png")
    require_files(part / f"{key}.png" for key in keys for part in parts)

    def read(key: str) -> Segmented:
        left, right = (_mask(part / f"{key}.png") for part in parts)
        if left.shape != right.shape:
            raise BdganError(f"expected masks of one size, got {left.shape} and {right.shape}")
        image = read_image(pictures / f"{key}.png")
        return segmented(image, (left | right).astype(np.uint8), 2)

    return Lazy(keys, read)


def shenzhen(root: Path) -> Lazy[Segmented]:
    """Shenzhen No. 3 Hospital's radiographs that have a mask (566 of 662); labels 0 and 1.

    Layout: `ChinaSet_AllFiles/CXR_png/NAME.png`, and `mask/NAME_mask.png`, the masks that Stirenko et al.
    (2018) published separately. An image without a mask is left out.

    Raises:
        BdganError: a folder or an image of a mask is missing, or (at access) a file does not fit.
    """
    pictures = folder(Path(root), "ChinaSet_AllFiles/CXR_png", "the Shenzhen set (ChinaSet_AllFiles.zip)")
    masks = folder(Path(root), "mask", "the masks of Stirenko et al.")
    keys = [stem.removesuffix("_mask") for stem in _stems(masks, "*_mask.png")]
    require_files(pictures / f"{key}.png" for key in keys)

    def read(key: str) -> Segmented:
        image = read_image(pictures / f"{key}.png")
        return segmented(image, _mask(masks / f"{key}_mask.png").astype(np.uint8), 2)

    return Lazy(keys, read)


def _stems(folder: Path, pattern: str) -> list[str]:
    stems = [path.stem for path in list_folder(folder, pattern)]
    if not stems:
        raise BdganError(f"{folder} holds no {pattern}")
    return stems


def _mask(path: Path) -> NDArray[np.bool_]:
    """The bright pixels of a mask with two values."""
    return read_image(path, (*PICTURES, "GIF"))[..., 0] > 127


def _film(path: Path) -> NDArray[np.uint8]:
    words = path.read_bytes()
    if len(words) != 2 * _JSRT_SIDE**2:
        raise BdganError(
            f"{path.name}: expected {2 * _JSRT_SIDE**2} bytes (2048 x 2048 words), got {len(words)}"
        )
    values = np.frombuffer(words, ">u2").reshape(_JSRT_SIDE, _JSRT_SIDE)
    if values.max() > 4095:
        raise BdganError(f"{path.name}: expected 12 bits, big-endian, got {values.max()}")
    halved = cv2.resize(values.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.rint(255 - halved * np.float32(255 / 4095)).astype(np.uint8)[..., None].repeat(3, 2)
