"""What we write reads the same by the tools' own rules, and what they write comes in as they fill it."""

import base64
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.datasets.formats import coco, cvat, labelme
from bdgan_lib.datasets.formats.shapes import LabelledImage

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[3] / "shared")
REAL = SHARED / "data" / "coco_mini" / "instances.json"
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 2))
LABELS = ("background", "beak", "wing")


def of_coco(file):
    """pycocotools' own view of a file: per image, (category, pixels) of each annotation."""
    theirs = COCO(file)
    return {
        Path(image["file_name"]).stem: [
            (theirs.cats[a["category_id"]]["name"], theirs.annToMask(a).astype(bool), a)
            for a in theirs.imgToAnns[id]
        ]
        for id, image in theirs.imgs.items()
    }


@settings(max_examples=60)
@given(mask=MASKS)
def test_pycocotools_reads_the_pixels_areas_and_boxes_we_wrote(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("coco")
    coco.write_annotations([LabelledImage("a", mask, LABELS, mask)], folder)
    found = of_coco(folder / "instances.json")
    assert len(found["a"]) == len(np.unique(mask[mask > 0]))
    for name, pixels, record in found["a"]:
        assert np.array_equal(pixels, mask == LABELS.index(name))
        assert record["area"] == pixels.sum() and not record["iscrowd"]
        packed = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        assert record["bbox"] == coco_mask.toBbox(packed).tolist()


def test_a_region_without_hole_goes_out_as_polygons_and_one_with_a_hole_as_runs(tmp_path):
    mask = np.zeros((9, 12), np.uint8)
    mask[1:4, 1:4], mask[4:6, 4:6], mask[8, 11] = 1, 1, 1  # two that touch at a corner, and a pixel apart
    mask[1:6, 7:11], mask[3, 8] = 2, 255
    coco.write_annotations([LabelledImage("a", mask, LABELS)], tmp_path)
    one, two, void = json.loads((tmp_path / "instances.json").read_text())["annotations"]
    assert len(one["segmentation"]) == 3 and set(two["segmentation"]) == {"size", "counts"}
    assert void["iscrowd"] == 1 and [one["category_id"], two["category_id"]] == [1, 2]


@pytest.mark.skipif(
    not REAL.is_file(), reason="the shared COCO file is not here; BDGAN_SHARED names its folder"
)
def test_the_real_file_is_read_as_pycocotools_does_and_goes_out_whole(tmp_path):
    real = of_coco(REAL)
    losses = []
    items = list(coco.read_annotations(REAL, losses))
    assert len(items) == len(real) == 16 and sum(map(len, real.values())) == 119
    for item in items:
        label = np.full(item.mask.shape, "background", object)
        number = np.zeros(item.mask.shape, int)
        lost = 0
        for k, (name, pixels, _) in enumerate(real[item.name], 1):
            lost += (number[pixels] != 0).sum()
            label[pixels], number[pixels] = name, k
        assert np.array_equal(np.array(item.labels, object)[item.mask], label)
        of_none = {k for k, (*_, record) in enumerate(real[item.name], 1) if record["iscrowd"]}
        pairs = np.unique([number[number > 0], item.instances[number > 0]], axis=1).T.tolist()
        assert all((ours == 0) == (k in of_none) for k, ours in pairs)
        assert len({ours for _, ours in pairs if ours}) == len([k for k, _ in pairs if k not in of_none])
        told = [int(loss.split()[1]) for loss in losses if item.name in loss and "earlier shape" in loss]
        assert sum(told) == lost, "each pixel lost to an overlap is told"
    assert sum("crowd" in loss for loss in losses) == 3

    coco.write_annotations(items, tmp_path)
    again = of_coco(tmp_path / "instances.json")
    for item in items:
        union = np.any([pixels for _, pixels, _ in real[item.name]], 0)
        parts = [pixels for _, pixels, _ in again[item.name]]
        assert np.array_equal(np.sum(parts, 0), union), "the same pixels, each once"
        for name in {name for name, *_ in real[item.name]}:
            now = sum(record["area"] for label, _, record in again[item.name] if label == name)
            assert now == (item.mask == item.labels.index(name)).sum()
    polygons = [isinstance(a["segmentation"], list) for found in again.values() for *_, a in found]
    assert sum(polygons) > 0.9 * len(polygons)


@settings(max_examples=60)
@given(mask=MASKS)
def test_labelmes_rule_fills_the_pixels_we_wrote(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("labelme")
    labelme.write_annotations([LabelledImage("a", mask, LABELS)], folder)
    record = json.loads((folder / "labels/a.json").read_text())
    found = np.zeros_like(mask)
    for shape in record["shapes"]:
        picture = Image.new("L", mask.shape[::-1])
        if shape["shape_type"] == "polygon":
            ImageDraw.Draw(picture).polygon([tuple(p) for p in shape["points"]], outline=1, fill=1)
            pixels = np.array(picture, bool)
        else:
            pixels = np.zeros(mask.shape, bool)
            (x0, y0), (x1, y1) = np.array(shape["points"], int)
            pixels[y0 : y1 + 1, x0 : x1 + 1] = decode_png(base64.b64decode(shape["mask"]))
        found[pixels] = LABELS.index(shape["label"])
    assert np.array_equal(found, mask)
    assert record["imagePath"] == "../images/a.png" and record["imageData"] is None


def test_a_blob_goes_to_labelme_as_one_polygon_to_drag(tmp_path):
    y, x = np.mgrid[:64, :64]
    mask = ((y - 30) ** 2 + (x - 33) ** 2 < 400).astype(np.uint8)
    mask[2, 2] = 1  # and a stray pixel as a mask
    labelme.write_annotations([LabelledImage("a", mask, LABELS, mask * 7)], tmp_path)
    shapes = json.loads((tmp_path / "labels/a.json").read_text())["shapes"]
    assert sorted(s["shape_type"] for s in shapes) == ["mask", "polygon"]
    assert all(s["group_id"] == 7 for s in shapes)


@settings(max_examples=40)
@given(mask=MASKS)
def test_cvats_rule_fills_the_pixels_we_wrote(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("cvat")
    cvat.write_annotations([LabelledImage("a", mask, LABELS)], folder)
    found = np.zeros_like(mask)
    for shape in ElementTree.parse(folder / "annotations.xml").iter("mask"):
        left, top, width = (int(shape.attrib[key]) for key in ("left", "top", "width"))
        place, value = 0, 0
        for run in shape.attrib["rle"].split(", "):
            for _ in range(int(run)):
                if value:
                    found[top + place // width, left + place % width] = LABELS.index(shape.attrib["label"])
                place += 1
            value = 1 - value
    assert np.array_equal(found, mask)


LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "a.jpg", "imageData": None,
    "imageHeight": 20, "imageWidth": 24,
    "shapes": [
        {"label": "wing", "points": [[2.0, 2.0], [8.0, 2.0], [8.0, 8.0]], "group_id": 0},
        {"label": "beak", "points": [[15, 5], [15, 8]], "group_id": 1000, "shape_type": "circle"},
        {"label": "beak", "points": [[22, 18], [20, 15]], "group_id": None, "shape_type": "rectangle"},
        {"label": "beak", "points": [[1, 15], [9, 15]], "group_id": None, "shape_type": "linestrip"},
    ],
}  # fmt: skip


def test_a_file_of_labelme_comes_in(tmp_path):
    (tmp_path / "photo-7.json").write_text(json.dumps(LABELME))
    losses = []
    (item,) = labelme.read_annotations(tmp_path, losses)
    assert item.name == "photo-7" and item.labels == ("background", "wing", "beak")
    assert (item.mask == 1).sum() == 28 and item.mask[2, 2] == item.mask[8, 8] == 1
    y, x = np.mgrid[:20, :24]
    disc = (y - 5) ** 2 + (x - 15) ** 2
    assert (item.mask[disc <= 8] == 2).all() and not (item.mask[(disc > 12) & (x > 8) & (y < 14)]).any()
    assert (item.mask[15:19, 20:23] == 2).all() and (item.mask[14:, 10:] == 2).sum() == 12
    assert item.instances[3, 4] == 1 and item.instances[5, 15] == 2 and item.instances[16, 21] == 3
    assert losses == [
        "photo-7: shape at 3: shape of kind 'linestrip' left out",
        "photo-7: object '0' is number 1 here",
        "photo-7: object 1000 is number 2 here",
    ]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>birds</name></task></meta>
<image id="3" name="day 1/photo.jpg" width="40" height="30">
  <box label="wing" source="manual" occluded="0" xtl="2.00" ytl="3.00" xbr="8.00" ybr="5.00" z_order="1"/>
  <box label="wing" xtl="20" ytl="10" xbr="30" ybr="14" rotation="90" z_order="0"/>
  <ellipse label="beak" cx="10" cy="20" rx="6" ry="3" z_order="0" group_id="4"/>
  <polygon label="beak" points="0.00,0.00;5.00,0.00;5.00,4.00;0.00,4.00" z_order="0"/>
  <mask label="claw" rle="1, 2, 2, 1" left="33" top="2" width="3" height="2" z_order="0"/>
  <points label="eye" points="3,3" z_order="0"/>
</image></annotations>"""


def test_a_file_of_cvat_comes_in(tmp_path):
    (tmp_path / "export.xml").write_text(CVAT)
    losses = []
    (item,) = cvat.read_annotations(tmp_path / "export.xml", losses)
    label = np.array(item.labels, object)[item.mask]
    assert item.name == "photo" and set(item.labels) == {"background", "wing", "beak", "claw"}
    assert (label[3:5, 2:8] == "wing").all() and (label[:3, :5] == "beak").all()
    assert (label[7:17, 23:27] == "wing").all() and (label == "wing").sum() == 12 + 40
    y, x = np.mgrid[:30, :40]
    assert (label[((x - 10) / 6) ** 2 + ((y - 20) / 3) ** 2 <= 0.9] == "beak").all()
    assert (label[item.instances == 4] == "beak").all() and (item.instances == 4).sum() > 50
    assert len({*item.instances[label != "background"].tolist()} - {0}) == 5, "each shape is an object"
    assert label[2:4, 33:36].tolist() == [
        ["background", "claw", "claw"],
        ["background", "background", "claw"],
    ]
    assert losses == [
        "photo: a 'points': shapes of this kind are left out",
        "photo: 3 pixels of an earlier shape went to a 'wing' over it",
    ]
