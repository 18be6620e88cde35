"""Laws of exports: through the consumer's own reader every mask comes back, or the loss was told."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats.export import ABOUT, EXPORTS, export_set
from bdgan_lib.datasets.formats.set_items import SetItems
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest

LABELS = ["background", "beak", "wing", "tail"]
ULTRALYTICS = r"[^\x09\x0A\x0D\x20-\x7E\x85\xA0-\uD7FF\uE000-\uFFFD\U00010000-\U0010ffff]+"  # what it drops
KINDS = {"foreground": {}, "parts": {"k": 4}, "named parts": {"k": 4, "labels": LABELS}}


@pytest.fixture(params=KINDS)
def data(request, make_set) -> ShardedSet:
    return make_set(**KINDS[request.param])


def expected(data: ShardedSet) -> dict[str, np.ndarray]:
    """By id: categories as the rule says them, 255 = unlabelled."""
    parts = any(mask[mask < 255].max(initial=0) > 1 for mask in (sample.mask for sample, _ in data))
    by_id = {}
    for sample, _ in data:
        by_id[sample.id] = sample.mask.copy()
        if not parts:
            by_id[sample.id][sample.mask == 1] = sample.class_id + 1
    return by_id


def assert_images_kept(data: ShardedSet, folder) -> None:
    for sample, _ in data:
        assert np.array_equal(np.asarray(Image.open(folder / f"{sample.id}.png")), sample.image)


def test_categories_are_the_classes_or_the_labels(make_set):
    assert SetItems(make_set()).names == ("background", "robin", "blue jay", "größer mug")


@pytest.mark.parametrize(
    ("about", "names"),
    [({}, ("background", "part 1", "part 2", "part 3")), ({"labels": LABELS}, tuple(LABELS))],
)
def test_categories_of_parts_are_the_labels(make_set, about, names):
    assert SetItems(make_set(4, **about)).names == names


def test_coco_through_pycocotools(data, tmp_path):
    from pycocotools.coco import COCO

    report = export_set(data, tmp_path / "out", "coco", progress=False)
    coco = COCO(str(tmp_path / "out/instances.json"))
    names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
    void = max(names)
    assert names.pop(void) == "unlabelled" and list(names.values()) == list(SetItems(data).names[1:])
    assert (report.images, report.regions, report.losses) == (11, len(coco.anns), [])
    assert len(coco.imgs) == 11
    for image in coco.imgs.values():
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.imgToAnns[image["id"]]:
            pixels = coco.annToMask(annotation) > 0
            assert not mask[pixels].any() and pixels.sum() == annotation["area"]
            rows, columns = np.nonzero(pixels)
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            assert annotation["iscrowd"] == (annotation["category_id"] == void)
            mask[pixels] = 255 if annotation["iscrowd"] else annotation["category_id"]
        assert np.array_equal(mask, expected(data)[image["file_name"].removesuffix(".png")])
    assert_images_kept(data, tmp_path / "out/images")


def test_panoptic_through_its_rule(data, tmp_path):
    export_set(data, str(tmp_path / "out"), "coco-panoptic", progress=False)
    record = json.loads((tmp_path / "out/panoptic.json").read_text(encoding="utf-8"))
    things = {c["id"]: c["isthing"] for c in record["categories"]}
    assert things == {id: int(id > 0) for id in range(len(SetItems(data).names))}
    files = {image["id"]: image["file_name"] for image in record["images"]}
    assert len(record["annotations"]) == 11
    for annotation in record["annotations"]:
        red, green, blue = np.asarray(
            Image.open(tmp_path / "out/panoptic" / annotation["file_name"])
        ).T.astype(int)
        ids = (red + 256 * green + 256**2 * blue).T
        segments = {s["id"]: s for s in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(segments), "every pixel has its segment, every segment pixels"
        mask = np.full(ids.shape, 255, np.uint8)  # 0 is the format's unlabelled
        for id, segment in segments.items():
            assert segment["area"] == (ids == id).sum()
            mask[ids == id] = segment["category_id"]
        assert files[annotation["image_id"]] == annotation["file_name"]
        assert np.array_equal(mask, expected(data)[annotation["file_name"].removesuffix(".png")])
    assert_images_kept(data, tmp_path / "out/images")


def test_voc_through_torchvision(data, tmp_path):
    from torchvision.datasets import VOCSegmentation

    report = export_set(data, tmp_path / "out", "voc", progress=False)
    found = VOCSegmentation(str(tmp_path / "out"), year="2012", image_set="train")
    assert len(found) == 11 and "JPEG of quality 95" in report.losses[0]
    for (image, mask), (sample, _) in zip(found, data, strict=True):
        assert mask.mode == "P" and np.array_equal(np.asarray(mask), expected(data)[sample.id])
        assert np.abs(np.asarray(image, int) - sample.image).mean() < 12, "noise is JPEG's worst case"
    # the first colours of the development kit, and that of 255
    colours = np.array(mask.getpalette()).reshape(-1, 3)
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[[15, 20, 255]].tolist() == [[192, 128, 128], [0, 64, 128], [224, 224, 192]]
    labels = (tmp_path / "out/VOCdevkit/VOC2012/labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == list(SetItems(data).names)


def test_parquet_through_datasets(data, tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("bdgan_lib.datasets.formats.huggingface.ROWS", 4)
    monkeypatch.setattr("bdgan_lib.datasets.formats.huggingface.GROUP", 3)
    export_set(data, tmp_path / "out", "hf", progress=False)
    files = sorted(map(str, (tmp_path / "out/data").iterdir()))
    assert [Path(name).name for name in files] == [f"train-{k:05d}-of-00003.parquet" for k in range(3)]
    cache = str(tmp_path / "cache")
    for found in (
        datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache),
        datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache),
    ):
        assert found.features["class"].names == data.manifest["classes"]
        for row, (sample, provenance) in zip(found, data, strict=True):
            assert np.array_equal(np.asarray(row["image"]), sample.image)
            assert np.array_equal(np.asarray(row["mask"]), sample.mask)
            assert (row["id"], row["class"]) == (sample.id, sample.class_id)
            assert json.loads(row["provenance"]) == provenance


def test_yolo_through_supervision_loses_what_the_report_says(data, tmp_path):
    supervision = pytest.importorskip("supervision")
    report = export_set(data, tmp_path / "out", "yolo-seg", progress=False)
    out = tmp_path / "out"
    found = supervision.DetectionDataset.from_yolo(
        str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml"), force_masks=True
    )
    assert found.classes == list(SetItems(data).names[1:]) and len(found) == 11
    ious = []
    for path, _, detections in found:
        truth = expected(data)[Path(path).stem]
        for category in np.unique(truth[(truth > 0) & (truth < 255)]):
            mine = [
                m
                for m, c in zip(detections.mask if len(detections) else (), detections.class_id)
                if c == category - 1
            ]
            union = np.any([np.zeros(truth.shape, bool), *mine], axis=0)
            ious.append((union & (truth == category)).sum() / (union | (truth == category)).sum())
    assert report.regions == len(ious) and np.isclose(np.mean(ious), report.mean_iou)
    assert 0.85 < report.mean_iou < 1
    assert any("unlabelled pixels became background" in loss for loss in report.losses)
    assert_images_kept(data, out / "images/train")


NAMES = [
    "background", "🐦 bird \U0001f1e9\U0001f1ea", "größer: 'Krug' # \"x\" \\U", "- [a] {b} & *c ! %",
    "yes", "null", "007", "\U00020000字 می‌خواهم", "a\x7fb\x9fc\ufeff\uffff",
]  # fmt: skip


def test_names_of_any_characters_come_back_from_every_format(make_set, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    data = make_set(4, labels=NAMES)
    for format in EXPORTS:
        export_set(data, tmp_path / format, format, progress=False)
        assert json.loads((tmp_path / format / ABOUT).read_text("utf-8"))["categories"] == NAMES
    text = (tmp_path / "yolo-seg/data.yaml").read_text("utf-8", errors="ignore")
    for read in (text, re.sub(ULTRALYTICS, "", text)):
        assert list(yaml.safe_load(read)["names"].values()) == NAMES[1:]
    for format, file, names in (
        ("coco", "instances.json", [*NAMES[1:], "unlabelled"]), ("coco-panoptic", "panoptic.json", NAMES)
    ):  # fmt: skip
        categories = json.loads((tmp_path / format / file).read_bytes())["categories"]
        assert [category["name"] for category in categories] == names
    assert (tmp_path / "voc/VOCdevkit/VOC2012/labels.txt").read_bytes().decode().split("\n")[:-1] == NAMES
    table = pq.read_table(tmp_path / "hf/data/train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["class"]["names"] == data.manifest["classes"]
    lines = (tmp_path / "folder/records.jsonl").read_bytes().decode().split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [provenance for _, provenance in data]


def test_a_ring_keeps_its_hole_in_yolo(make_set, tmp_path):
    """Polygons have no holes: a seam opens them, and the pixels stay out."""
    from bdgan_lib.datasets.formats.yolo import _filled, _pieces, _text

    y, x = np.mgrid[:40, :50]
    ring = (np.hypot(y - 20, x - 25) < 16) & (np.hypot(y - 20, x - 20) > 5) & (np.hypot(y - 20, x - 34) > 3)
    pieces, size = _pieces(ring), np.array([50, 40])
    assert len(pieces) == 1
    assert np.array_equal(_filled([_text(pieces[0], size)], size), ring)


def test_folders_hold_the_very_files(data, tmp_path):
    export_set(data, tmp_path / "out", "folder", progress=False)
    lines = (tmp_path / "out/records.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [provenance for _, provenance in data]
    for sample, _ in data:
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"out/masks/{sample.id}.png")), sample.mask)
    assert_images_kept(data, tmp_path / "out/images")


def test_the_shards_themselves_through_webdataset(data):
    webdataset = pytest.importorskip("webdataset")
    shards = [str(data.folder / shard["name"]) for shard in data.shards]
    found = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    for row, (sample, provenance) in zip(found, data, strict=True):
        assert row["__key__"] == sample.id and row["json"] == provenance
        assert np.array_equal(row["png"], sample.image)
        assert np.array_equal(row["mask.png"][..., 0], sample.mask)


@pytest.mark.parametrize("format", EXPORTS)
def test_an_export_tells_its_source_licence_and_losses_and_is_whole_or_not_there(format, make_set, tmp_path):
    data, out = make_set(licence={"labels": "CC BY-NC 4.0"}), tmp_path / "deep/out"
    report = export_set(data, out, format, progress=False)
    about = json.loads((out / ABOUT).read_text(encoding="utf-8"))
    assert about["format"] == format and about["losses"] == report.losses
    assert about["licence"] == {"labels": "CC BY-NC 4.0"}
    assert about["source_sha256"] == data.manifest["sha256"]
    with pytest.raises(BdganError, match="exists and is not written over"):
        export_set(data, out, format, progress=False)
    last = data.folder / data.shards[-1]["name"]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(BdganError, match=r"shard_00002\.tar is damaged"):
        export_set(data, tmp_path / "other/out", format, progress=False)
    assert list((tmp_path / "other").iterdir()) == []


def test_equal_sets_export_to_equal_bytes(data, tmp_path):
    for format in EXPORTS:
        for name in ("a", "b"):
            export_set(data, tmp_path / name / format, format, progress=False)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 100
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_what_a_format_cannot_hold_is_refused(make_set, tmp_path):
    data = make_set()
    many = [*data.manifest["classes"], *(f"class {n}" for n in range(300))]
    for about, format, why in (
        ({"classes": many}, "voc", "expected at most 255 categories, got 304"),
        ({"classes": many}, "pdf", "unknown format 'pdf'; choose one of coco, coco-panoptic, voc"),
        ({"classes": ["robin", "robin"]}, "hf", "expected each class once"),
        ({}, "coco", "expected each class once"),
        ({"classes": ["robin"]}, "coco", "blue_jay_00000001 has label 1 and class 1"),
    ):
        write_manifest(data.folder / MANIFEST, data.shards, about)
        with pytest.raises(BdganError, match=why):
            export_set(ShardedSet(data.folder), tmp_path / "out", format, progress=False)
        assert not (tmp_path / "out").exists()
