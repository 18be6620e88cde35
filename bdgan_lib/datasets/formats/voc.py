"""Pascal VOC: JPEG images, palette PNGs of categories; torchvision and mmsegmentation read the folder."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdgan_lib.core.image_codecs import decode_encoded
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, ExportReport, SetItems

ROOT = Path("VOCdevkit", "VOC2012")  # where readers look
LISTS = ROOT / "ImageSets" / "Segmentation"
QUALITY = 95  # of the JPEGs, without chroma subsampling


def write_set(source: SetItems, folder: Path) -> ExportReport:
    """Write `VOCdevkit/VOC2012/`, all of it in the list `train`; category names, from 0, in `labels.txt`.

    Masks are exact, 255 is unlabelled. Readers expect JPEG images; the report's losses give their mean error.

    Raises:
        BdganError: there are more categories than 8 bits hold.
    """
    if len(source.names) > UNLABELLED:
        raise BdganError(
            f"expected at most 255 categories, got {len(source.names)}; choose coco or coco-panoptic"
        )
    report, error, colours = ExportReport(), 0.0, palette().tobytes()
    images, masks = folder / ROOT / "JPEGImages", folder / ROOT / "SegmentationClass"
    lists = folder / LISTS
    for path in (images, masks, lists):
        path.mkdir(parents=True)
    with (lists / "train.txt").open("w", encoding="ascii") as train:
        for item in source:
            report.images += 1
            jpeg = io.BytesIO()
            Image.fromarray(item.image).save(jpeg, "JPEG", quality=QUALITY, subsampling=0)
            error += float(np.abs(decode_encoded(jpeg.getvalue(), "JPEG").astype(int) - item.image).mean())
            (images / f"{item.id}.jpg").write_bytes(jpeg.getvalue())
            ids = np.where(item.categories == VOID_CATEGORY, UNLABELLED, item.categories).astype(np.uint8)
            mask = Image.fromarray(ids)
            mask.putpalette(colours)  # turns the values into palette indices
            mask.save(masks / f"{item.id}.png")
            train.write(f"{item.id}\n")
    (folder / ROOT / "labels.txt").write_text("".join(f"{n}\n" for n in source.names), encoding="utf-8")
    off = error / max(1, report.images)
    report.losses.append(f"images are JPEG of quality {QUALITY}: {off:.2f} of 255 off on average")
    return report


def palette() -> NDArray[np.uint8]:
    """VOC's 256 colours [256, 3]: bits of an index go in turn to red, green and blue, highest bits first."""
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            if 3 * bit + channel < 8:
                colours[:, channel] |= (np.arange(256) >> (3 * bit + channel) & 1).astype(np.uint8) << (
                    7 - bit
                )
    return colours
