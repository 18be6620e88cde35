"""Readers of published data sets, on small folders in their official layout; torchvision's readers agree."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import Cityscapes, VOCDetection, VOCSegmentation

from bdgan_lib.core.labelled_arrays import Segmented
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.transfer import chest_xray, cityscapes, coco, voc
from bdgan_lib.downstream.transfer.samples import Lazy, resized

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[4] / "shared")
PHOTOGRAPHS = SHARED / "data" / "coco_mini"
RNG = np.random.default_rng(0)


def save(path, array, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([(7 * i) % 256 for i in range(768)])
    image.save(path)


def picture(height=20, width=30):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def labels(values, height=20, width=30):
    return RNG.choice(np.array(values, np.uint8), (height, width))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# Pascal VOC ---------------------------------------------------------------------------------------

OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>1</truncated><difficult>{hard}</difficult>
  <bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>
  <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def xml(*objects):
    head = "<annotation><folder>VOC</folder><size><width>30</width></size>"
    return f"{head}{''.join(objects)}</annotation>"


DOG = OBJECT.format(name="dog", hard=0, x0=1, y0=3, x1=30, y1=20)
CAT = OBJECT.format(name="cat", hard=1, x0="4.7000001", y0=2, x1=9, y1=8)


@pytest.fixture
def voc_root(tmp_path):
    """07 and 12; each split one picture, the validation set of segmentation two."""
    for year, splits in (("2007", ("trainval", "test")), ("2012", ("trainval",))):
        base = tmp_path / "VOCdevkit" / f"VOC{year}"
        for split in splits:
            id = f"{year}_{split}"
            save(base / "JPEGImages" / f"{id}.jpg", picture())
            write(base / "Annotations" / f"{id}.xml", xml(DOG, CAT) if split == "test" else xml(DOG))
            write(base / "ImageSets" / "Main" / f"{split}.txt", f"{id}\n")
    for folder, split, ids in (("", "val", "ab"), ("Aug", "train_aug", "abc")):
        for id in ids:
            save(base / "JPEGImages" / f"{id}.jpg", picture())
            path = base / f"SegmentationClass{folder}" / f"{id}.png"
            save(path, labels([0, 8, 20, 255]), palette=not folder)
        write(base / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(ids) + "\n")
    return tmp_path


def test_voc_boxes_are_the_files(voc_root):
    [item] = voc.detection(voc_root, voc.TEST_07)
    assert item.boxes.tolist() == [[0, 2, 30, 20], [np.float32(3.7000001), 1, 9, 8]]
    assert [voc.VOC_CLASSES[k] for k in item.class_ids] == ["dog", "cat"]
    assert item.ignored.tolist() == [False, True] and item.masks is None
    train = voc.detection(voc_root, voc.TRAINVAL_07_12)
    assert train.keys == ("2007/2007_trainval", "2012/2012_trainval")
    theirs, notes = VOCDetection(voc_root, "2007", "test")[0]
    assert np.array_equal(item.image, np.asarray(theirs))
    assert [o["name"] for o in notes["annotation"]["object"]] == ["dog", "cat"]


def test_voc_masks_are_the_files(voc_root):
    ours, theirs = voc.segmentation(voc_root, "val"), VOCSegmentation(voc_root, "2012", "val")
    assert len(ours) == len(theirs) == 2
    for item, (image, mask) in zip(ours, theirs, strict=True):
        assert np.array_equal(item.image, np.asarray(image)) and np.array_equal(item.labels, np.asarray(mask))
    assert voc.segmentation(voc_root, "train_aug").keys == ("a", "b", "c")


def test_the_augmented_list_has_two_names(voc_root):
    lists = voc_root / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train_aug.txt").rename(lists / "trainaug.txt")
    assert len(voc.segmentation(voc_root, "train_aug")) == 3


@pytest.mark.parametrize(("notes", "why"), [
    ("<annotation><object>", "not plain XML"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "not plain XML"),
    (xml(DOG.replace("dog", "unicorn")), "unicorn"),
    (xml(DOG.replace("<xmax>30", "<xmax>31")), "dog, 1 3 31 20, leaves 30 x 20"),
    (xml(DOG.replace("<xmin>1<", "<xmin>nan<")), "dog, nan"),
    (xml(DOG.replace("<ymax>20</ymax>", "")), "box of its dog is incomplete"),
])  # fmt: skip
def test_a_bad_annotation_of_voc_is_named(voc_root, notes, why):
    write(voc_root / "VOCdevkit/VOC2007/Annotations/2007_test.xml", notes)
    with pytest.raises(BdganError, match=rf"2007/2007_test: .*{why}"):
        voc.detection(voc_root, voc.TEST_07)[0]


def test_a_voc_that_lacks_something_is_named(voc_root):
    base = voc_root / "VOCdevkit/VOC2012"
    with pytest.raises(BdganError, match="VOC 2012 has no split 'test'"):
        voc.detection(voc_root, [("2012", "test")])
    with pytest.raises(BdganError, match=r"VOC2009 is missing; expected Pascal VOC 2009"):
        voc.segmentation(voc_root, "val", "2009")
    write(base / "ImageSets/Segmentation/train.txt", "../../secret\n")
    with pytest.raises(BdganError, match=r"secret.*not a safe file name"):
        voc.segmentation(voc_root, "train")
    save(base / "SegmentationClass/a.png", labels([0, 21]))
    save(base / "SegmentationClass/b.png", labels([0], 20, 29))
    with pytest.raises(BdganError, match="a: expected mask labels 0 to 20, or 255, got 21"):
        voc.segmentation(voc_root, "val")[0]
    sizes = r"b: expected image and mask of one size, got \[20, 30\] and \[20, 29\]"
    with pytest.raises(BdganError, match=sizes):
        voc.segmentation(voc_root, "val")[1]
    (base / "SegmentationClass/b.png").unlink()
    with pytest.raises(BdganError, match=r"b\.png is missing"):
        voc.segmentation(voc_root, "val")
    (base / "JPEGImages/a.jpg").write_bytes(b"no picture")
    with pytest.raises(BdganError, match="a: not a readable picture"):
        voc.segmentation(voc_root, "train_aug")[0]


# Cityscapes ---------------------------------------------------------------------------------------


@pytest.fixture
def city_root(tmp_path):
    for split, frames in (("train", ("bonn/bonn_000000_000019", "aachen/aachen_000001_000019")),
                          ("val", ("ulm/ulm_000000_000019",))):  # fmt: skip
        for frame in frames:
            save(tmp_path / "leftImg8bit" / split / f"{frame}_leftImg8bit.png", picture())
            mask = labels(range(34))
            save(tmp_path / "gtFine" / split / f"{frame}_gtFine_labelIds.png", mask)
    return tmp_path


def test_cityscapes_labels_are_the_19_that_are_scored(city_root):
    assert cityscapes.CITYSCAPES_LABELS[:3] == ("road", "sidewalk", "building")
    assert cityscapes.CITYSCAPES_LABELS[13] == "car" and len(cityscapes.CITYSCAPES_LABELS) == 19
    ours = cityscapes.segmentation(city_root, "train")
    assert ours.keys == ("aachen/aachen_000001_000019", "bonn/bonn_000000_000019")
    theirs = Cityscapes(city_root, "train", target_type="semantic")
    by_name = {Path(file).stem.removesuffix("_leftImg8bit"): k for k, file in enumerate(theirs.images)}
    train_id = {c.id: c.train_id for c in Cityscapes.classes}
    for key, item in zip(ours.keys, ours, strict=True):
        image, mask = theirs[by_name[key.split("/")[1]]]
        assert np.array_equal(item.image, np.asarray(image))
        assert np.array_equal(item.labels, np.vectorize(train_id.get)(np.asarray(mask)))


def test_a_cityscapes_that_lacks_something_is_named(city_root):
    with pytest.raises(BdganError, match="'train' or 'val'"):
        cityscapes.segmentation(city_root, "test")
    mask = city_root / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"
    save(mask, labels([7, 40]))
    with pytest.raises(BdganError, match=r"ulm/ulm_0+_0+19: expected mask labels 0 to 18, or 255, got 254"):
        cityscapes.segmentation(city_root, "val")[0]
    mask.unlink()
    with pytest.raises(BdganError, match=r"labelIds\.png is missing"):
        cityscapes.segmentation(city_root, "val")
    for folder in ("gtFine", "leftImg8bit"):
        (city_root / folder / "val").rename(city_root / folder / "away")
        with pytest.raises(BdganError, match=rf"{folder}/val is missing"):
            cityscapes.segmentation(city_root, "val")
        (city_root / "gtFine" / "val").mkdir(exist_ok=True)


# MS-COCO ------------------------------------------------------------------------------------------

SQUARE = [[3, 2, 9, 2, 9, 8, 3, 8]]


def note(**changes):
    plain = {"id": 5, "image_id": 9, "category_id": 18, "bbox": [3, 2, 6, 6], "iscrowd": 0, "area": 36.0}
    return plain | {"segmentation": SQUARE} | changes


@pytest.fixture
def coco_root(tmp_path):
    def make(*notes, **changes):
        record = {
            "images": [{"id": 9, "file_name": "000000000009.jpg", "height": 20, "width": 30},
                       {"id": 2, "file_name": "000000000002.jpg", "height": 20, "width": 30}],
            "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
            "annotations": list(notes),
        } | changes  # fmt: skip
        for name in ("000000000009.jpg", "000000000002.jpg"):
            save(tmp_path / "val2017" / name, picture())
        write(tmp_path / "annotations" / "instances_val2017.json", json.dumps(record))
        return tmp_path

    return make


def test_coco_objects_are_the_files(coco_root):
    crowd = {"size": [20, 30], "counts": [0, 40, 560]}  # the first two columns
    root = coco_root(note(), note(id=6, category_id=90, iscrowd=1, segmentation=crowd, bbox=[0, 0, 2, 20]),
                     note(id=7, bbox=[3, 2, 0, 6]))  # fmt: skip
    found = coco.detection(root, "val2017")
    assert found.classes == ("dog", "toothbrush") and found.samples.keys == ("2", "9")
    empty, item = found.samples
    assert empty.boxes.shape == (0, 4) and empty.masks.shape == (0, 20, 30) and len(empty.class_ids) == 0
    assert item.boxes.tolist() == [[3, 2, 9, 8], [0, 0, 2, 20], [3, 2, 3, 8]]
    assert item.class_ids.tolist() == [0, 1, 0] and item.ignored.tolist() == [False, True, True]
    assert item.masks[0].sum() == 36 and item.masks[0, 2:8, 3:9].all()
    assert item.masks[1].sum() == 40 and item.masks[1, :, :2].all()


@pytest.mark.parametrize(("changes", "why"), [
    ({"category_id": 3}, "annotation 5"),
    ({"bbox": [3, 2, 6]}, "annotation 5"),
    ({"bbox": [3, 2, 600, 6]}, "annotation 5: its box leaves 30 x 20"),
    ({"bbox": [3, 2, float("nan"), 6]}, "annotation 5: its box leaves"),
    ({"segmentation": []}, "annotation 5: it has no polygon"),
    ({"segmentation": [[1, 2, 3, 4]]}, "annotation 5: expected 3 or more points"),
    ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "annotation 5: its points lie far outside"),
    ({"segmentation": {"size": [20, 31], "counts": [620]}}, "annotation 5: its runs are of"),
    ({"segmentation": {"size": [20, 30], "counts": [10**12]}}, "annotation 5: run lengths"),
    ({"segmentation": None}, "annotation 5"),
])  # fmt: skip
def test_a_bad_annotation_of_coco_is_named(coco_root, changes, why):
    found = coco.detection(coco_root(note(**changes)), "val2017")
    with pytest.raises(BdganError, match=f"9: {why}"):
        found.samples[1]


@pytest.mark.parametrize(("changes", "why"), [
    ({"annotations": [note(image_id=3)]}, "does not fit COCO's instances"),
    ({"annotations": None}, "does not fit COCO's instances"),
    ({"categories": [{"name": "dog"}]}, "does not fit COCO's instances"),
    ({"images": [{"id": 9, "file_name": "../a.jpg", "height": 20, "width": 30}]}, "leads outside"),
    ({"images": [{"id": 9, "file_name": "b.jpg", "height": 20, "width": 30}]}, "b.jpg is missing"),
])  # fmt: skip
def test_a_bad_file_of_coco_is_named(coco_root, changes, why):
    with pytest.raises(BdganError, match=why):
        coco.detection(coco_root(**changes), "val2017")


def test_a_coco_that_lacks_something_is_named(coco_root):
    root = coco_root(note())
    with pytest.raises(BdganError, match="no split 'train2017'"):
        coco.detection(root, "train2017")
    save(root / "val2017" / "000000000009.jpg", picture(20, 31))
    with pytest.raises(BdganError, match=r"000000000009\.jpg is \[20, 31\], the file says \[20, 30\]"):
        coco.detection(root, "val2017").samples[1]
    (root / "val2017").rename(root / "away")
    with pytest.raises(BdganError, match="val2017 is missing"):
        coco.detection(root, "val2017")


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs the 16 photographs of coco_mini")
def test_photographs_are_read_as_pycocotools_reads_them(capfd):
    from pycocotools.coco import COCO

    notes = PHOTOGRAPHS / "instances.json"
    found, theirs = coco.instances(notes, PHOTOGRAPHS / "images"), COCO(notes)
    assert len(found.samples) == 16
    for key, item in zip(found.samples.keys, found.samples, strict=True):
        notes = theirs.imgToAnns[int(key)]
        assert len(notes) == len(item.masks)
        names = [theirs.cats[n["category_id"]]["name"] for n in notes]
        assert [found.classes[k] for k in item.class_ids] == names
        for n, box, mask, ignored in zip(notes, item.boxes, item.masks, item.ignored, strict=True):
            assert np.array_equal(mask, theirs.annToMask(n).astype(bool)) and ignored == n["iscrowd"]
            np.testing.assert_allclose([*box[:2], *(box[2:] - box[:2])], n["bbox"], atol=1e-3)


# Chest radiographs --------------------------------------------------------------------------------


def halves(side):
    left, right = np.zeros((2, side, side), np.uint8)
    left[2:-2, side // 2 + 1 : -1], right[2:-2, 1 : side // 2 - 1] = 255, 255
    return left, right


def test_montgomery_joins_two_masks(tmp_path):
    base, (left, right) = tmp_path / "MontgomerySet", halves(24)
    image = picture(24, 24)[..., 0]
    save(base / "CXR_png" / "MCUCXR_0001_0.png", image)
    for side, mask in (("left", left), ("right", right)):
        save(base / "ManualMask" / f"{side}Mask" / "MCUCXR_0001_0.png", mask.astype(bool))
    [item] = chest_xray.montgomery(tmp_path)
    assert np.array_equal(item.image, image[..., None].repeat(3, 2))
    assert np.array_equal(item.labels, (left | right) // 255)
    save(base / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png", left[1:])
    with pytest.raises(BdganError, match=r"MCUCXR_0001_0: .* of one size, got \(23, 24\) and \(24, 24\)"):
        chest_xray.montgomery(tmp_path)[0]
    (base / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png").unlink()
    with pytest.raises(BdganError, match=r"leftMask.MCUCXR_0001_0\.png is missing"):
        chest_xray.montgomery(tmp_path)


def test_shenzhen_reads_what_has_a_mask(tmp_path):
    masks = sum(halves(24))
    for k in (1, 2):
        save(tmp_path / "ChinaSet_AllFiles/CXR_png" / f"CHNCXR_000{k}_0.png", picture(24, 24))
    save(tmp_path / "mask" / "CHNCXR_0002_0_mask.png", masks)
    found = chest_xray.shenzhen(tmp_path)
    assert found.keys == ("CHNCXR_0002_0",) and np.array_equal(found[0].labels, masks // 255)
    save(tmp_path / "mask" / "CHNCXR_0003_0_mask.png", masks)
    with pytest.raises(BdganError, match=r"CHNCXR_0003_0\.png is missing"):
        chest_xray.shenzhen(tmp_path)
    with pytest.raises(BdganError, match="CXR_png is missing; expected the Shenzhen set"):
        chest_xray.shenzhen(tmp_path / "elsewhere")


def test_jsrt_reads_raw_films(tmp_path):
    left, right = halves(1024)
    heart = np.zeros_like(left)
    heart[600:900, 400:700] = 255
    film = RNG.integers(0, 4096, (1024, 1024)).repeat(2, 0).repeat(2, 1)
    film[:2, :4] = [[0, 0, 4095, 4095]] * 2
    path = tmp_path / "All247images" / "JPCLN001.IMG"
    path.parent.mkdir()
    path.write_bytes(film.astype(">u2").tobytes())
    for name, mask in (("left lung", left), ("right lung", right), ("heart", heart)):
        save(tmp_path / "scratch/fold1/masks" / name / "JPCLN001.gif", mask)
    [item] = chest_xray.jsrt(tmp_path, fold=1)
    assert item.image.shape == (1024, 1024, 3) and item.image[0, :2, 0].tolist() == [255, 0], "0 is white"
    wanted = np.where(heart > 0, 2, (left | right) > 0)
    assert np.array_equal(item.labels, wanted)
    with pytest.raises(BdganError, match="fold2/masks is missing"):
        chest_xray.jsrt(tmp_path, fold=2)
    turned, cut = film.astype("<u2"), film[1:].astype(">u2")
    for words, why in ((turned, "expected 12 bits"), (cut, "expected 8388608 bytes")):
        path.write_bytes(words.tobytes())
        with pytest.raises(BdganError, match=f"JPCLN001: .*{why}"):
            chest_xray.jsrt(tmp_path, fold=1)[0]
    path.unlink()
    with pytest.raises(BdganError, match=r"JPCLN001\.IMG is missing"):
        chest_xray.jsrt(tmp_path, fold=1)


# What they have in common -------------------------------------------------------------------------


def test_a_lazy_sequence_reads_when_asked():
    read = []
    items = Lazy("abcd", lambda key: read.append(key) or key.upper())
    assert len(items) == 4 and not read
    assert items[-1] == "D" and list(items[1:3]) == ["B", "C"] and read == ["d", "b", "c"]
    with pytest.raises(IndexError):
        items[4]


def test_resized_samples_keep_their_labels():
    sample = Segmented(np.full((8, 12, 3), 77, np.uint8), np.full((8, 12), 255, np.uint8))
    sample.labels[:, :6] = 3
    for size in ((4, 6), (16, 24), (5, 7)):
        [item] = resized([sample], *size)
        assert item.labels.shape == size and item.image.shape == (*size, 3)
        assert (item.image == 77).all() and set(np.unique(item.labels).tolist()) == {3, 255}
