"""YOLO segmentation: a text file of polygons per image. Masks lose some pixels, and the loss is measured."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, ExportReport, SetItems

IMAGES = "images/train"
Points = NDArray[np.int32]  # [N, 2] (x, y), pixels of the region


def write_set(source: SetItems, folder: Path) -> ExportReport:
    """Write `images/train/`, `labels/train/` and `data.yaml`; the YOLO class is category - 1.

    A line is one piece of a region, whose holes are joined to its outline by seams; pieces of fewer than
    three corners are left out. Unlabelled pixels become background. The report's mean IoU, over regions,
    compares the region with the text's polygons, filled as readers do (cv2.fillPoly).
    """
    report, ious = ExportReport(), list[float]()
    split = dropped = unlabelled = 0
    images, labels = folder / IMAGES, folder / "labels" / "train"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for item in source:
        report.images += 1
        (images / item.stored.image_name).write_bytes(item.stored.image)
        size, lines = np.array(item.mask.shape[::-1]), list[str]()
        for category, pixels in item.regions():
            if category == VOID_CATEGORY:
                unlabelled += int(pixels.sum())
                continue
            report.regions += 1
            pieces = _pieces(pixels)
            kept = [_text(piece, size) for piece in pieces if len(piece) >= 3]
            dropped += len(pieces) - len(kept)
            split += len(kept) > 1
            lines += [f"{category - 1} {text}" for text in kept]
            filled = _filled(kept, size)
            ious.append(float((filled & pixels).sum() / (filled | pixels).sum()))
        (labels / f"{item.id}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    write_data_yaml(folder, source.names, IMAGES, f"{IMAGES}  # there is no split: name your own")
    report.mean_iou = float(np.mean(ious)) if ious else 1.0
    for count, what in (
        (split, "regions in several pieces became as many objects"),
        (dropped, "pieces of fewer than three corners were left out"),
        (unlabelled, "unlabelled pixels became background"),
    ):
        report.losses += [f"{count:,} {what}"] * (count > 0)
    return report


def write_data_yaml(folder: Path, names: Sequence[str], train: str, val: str) -> None:
    """Write `data.yaml`, with where the images are and the names of all categories but 0."""
    lines = [f"train: {train}", f"val: {val}", "names:"]
    lines += [f"  {id}: {_quoted(name)}" for id, name in enumerate(names[1:])]
    (folder / "data.yaml").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _quoted(name: str) -> str:
    """A name as a YAML string in ASCII: as in JSON, but YAML knows no surrogate pairs."""
    escape = "\\U{:08x}".format
    return f'"{"".join(escape(ord(c)) if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in name)}"'


def _pieces(pixels: NDArray[np.bool_]) -> list[Points]:
    """A polygon for each connected piece, with its holes joined to it by seams."""
    contours, tree = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings: dict[int, Points] = {}
    parents = tree[0, :, 3].tolist()
    for i in sorted(range(len(contours)), key=lambda i: parents[i] >= 0):  # outlines before holes
        ring = _stairs(contours[i][:, 0], pixels)
        if parents[i] < 0:
            rings[i] = ring
            continue
        outer = rings[parents[i]]
        a, b = np.unravel_index(
            np.square(outer[:, None] - ring[None]).sum(-1).argmin(), (len(outer), len(ring))
        )
        rings[parents[i]] = np.concatenate([outer[: a + 1], ring[b:], ring[: b + 1], outer[a:]])
    return list(rings.values())


def _stairs(ring: Points, pixels: NDArray[np.bool_]) -> Points:
    """The ring with steps in place of each edge that goes up to the right or down to the left.

    Ultralytics puts points on every edge and truncates them. On such an edge x and y cross whole numbers at
    different points, so that pixels beside the edge are filled as well. The steps are pixels of the region.
    """
    points = list[tuple[int, int]]()
    for (x, y), (x_end, y_end) in zip(ring.tolist(), np.roll(ring, -1, 0).tolist(), strict=True):
        points.append((x, y))
        right, down = int(np.sign(x_end - x)), int(np.sign(y_end - y))
        while right * down < 0 and x != x_end:
            corner = (x + right, y) if pixels[y, x + right] else (x, y + down)
            x, y = x + right, y + down
            points += [corner] * bool(pixels[corner[::-1]]) + [(x, y)] * (x != x_end)
    return np.array(points, np.int32)


def _text(piece: Points, size: NDArray[np.integer]) -> str:
    # plus about a quarter pixel, so that readers that round and readers that truncate get the same pixel
    return " ".join(f"{x:.6f}" for x in ((piece + 0.27) / size).ravel())


def _filled(texts: list[str], size: NDArray[np.integer]) -> NDArray[np.bool_]:
    canvas = np.zeros(size[::-1], np.uint8)
    for text in texts:
        points = np.array(text.split(), float).reshape(-1, 2) * size
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas > 0
