"""Labels of one's own pictures from other tools: exactly what the tool fills, or one line why not."""

import json
import os
import shutil
import sys
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from bdgan_lib import cli
from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats.own_pictures import PictureIndex, import_pictures
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.labelled_pictures import read_labelled_pictures

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[3] / "shared")
REAL = SHARED / "data" / "coco_mini"


def save_picture(path: Path, size=(40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)


def labelme(folder: Path, name: str, *shapes: tuple[str, list], size=(40, 30)) -> None:
    """A file as labelme saves it."""
    folder.mkdir(exist_ok=True)
    record = {
        "version": "5.5.0", "flags": {}, "imagePath": f"{name}.jpg", "imageData": None,
        "imageHeight": size[1], "imageWidth": size[0],
        "shapes": [
            {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
            for label, points in shapes
        ],
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


SQUARE, CORNER = [[5, 5], [20, 5], [20, 20], [5, 20]], [[15, 15], [30, 15], [30, 25], [15, 25]]


def masks_in(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder / "masks").with_suffix("").as_posix(): decode_png(path.read_bytes())
        for path in sorted((folder / "masks").rglob("*.png"))
    }


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the 16 photographs of coco_mini")
def test_masks_of_coco_are_the_union_of_what_pycocotools_fills(tmp_path):
    shutil.copytree(REAL / "images", tmp_path / "pictures/street")
    count, losses = import_pictures(REAL / "instances.json", "coco", tmp_path / "pictures", tmp_path / "out")
    theirs = COCO(str(REAL / "instances.json"))
    expected = {}
    for id, image in theirs.imgs.items():
        filled = [theirs.annToMask(a) for a in theirs.imgToAnns[id]]
        expected[f"street/{Path(image['file_name']).stem}"] = np.clip(sum(filled), 0, 1)
    found = masks_in(tmp_path / "out")
    assert count == len(found) == len(expected) and not losses
    assert all(np.array_equal(found[name], mask) for name, mask in expected.items())
    for path in (tmp_path / "pictures").rglob("*.jpg"):
        assert (tmp_path / "out/images/street" / path.name).read_bytes() == path.read_bytes()


def test_the_class_is_the_folder_or_else_the_one_label(tmp_path):
    save_picture(tmp_path / "pictures/robin/a.jpg"), save_picture(tmp_path / "pictures/b.png")
    labelme(tmp_path / "labels", "a", ("beak", SQUARE), ("wing", CORNER))
    labelme(tmp_path / "labels", "b", ("mug", SQUARE), ("table", CORNER))
    labels, pictures = tmp_path / "labels", tmp_path / "pictures"
    count, losses = import_pictures(labels, "labelme", pictures, tmp_path / "all")
    assert count == 1 and "b.png: it has the labels mug and table, so its class is unknown" in losses[0]
    assert {*masks_in(tmp_path / "all")} == {"robin/a"}
    count, losses = import_pictures(labels, "labelme", pictures, tmp_path / "some", ("mug", "wing"))
    masks = masks_in(tmp_path / "some")
    assert count == 2 and len(losses) == 2 and {*masks} == {"robin/a", "mug/b"}
    assert masks["mug/b"][10, 10] == 1 and masks["mug/b"][22, 25] == 0, "the table is background"
    assert masks["robin/a"][10, 10] == 0 and masks["robin/a"][22, 25] == 1
    read = read_labelled_pictures(tmp_path / "some/images", tmp_path / "some/masks", load_profile("pocket"))
    assert read.names == ("mug/b", "robin/a") and {*np.unique(read.masks).tolist()} == {0, 1}


def two_of_one_name(folder):
    save_picture(folder / "pictures/robin/a.jpg"), save_picture(folder / "pictures/mug/a.jpg")


def other_size(folder):
    save_picture(folder / "pictures/robin/a.jpg", (30, 40))


def another_name(folder):
    save_picture(folder / "pictures/robin/b.jpg")


@pytest.mark.parametrize(
    ("pictures", "shapes", "text"),
    [
        (two_of_one_name, [("beak", SQUARE)], "may be .*mug.a.jpg or .*robin.a.jpg"),
        (other_size, [("beak", SQUARE)], r"the picture's size \[40, 30\], got \[30, 40\]"),
        (another_name, [("beak", SQUARE)], "no picture of the path 'a.json'"),
        (None, [], "a.jpg: none of its pixels is foreground"),
        (None, [("beak", [[1, 1]])], "point"),
        (lambda folder: (folder / "pictures").mkdir(), [("beak", SQUARE)], "holds no pictures"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(pictures, shapes, text, tmp_path):
    if pictures:
        pictures(tmp_path)
    else:
        save_picture(tmp_path / "pictures/robin/a.jpg")
    labelme(tmp_path / "labels", "a", *shapes)
    with pytest.raises(BdganError, match=text):
        import_pictures(tmp_path / "labels", "labelme", tmp_path / "pictures", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "label", ["../../outside", "..", ".hidden", "__MACOSX", "a:b", "con", "cat.", "é" * 150]
)
def test_a_label_that_is_no_folder_s_name_makes_no_class(label, tmp_path):
    save_picture(tmp_path / "pictures/a.jpg"), save_picture(tmp_path / "pictures/b.jpg")
    labelme(tmp_path / "labels", "a", (label, SQUARE))
    labelme(tmp_path / "labels", "b", ("mug", SQUARE))
    count, losses = import_pictures(tmp_path / "labels", "labelme", tmp_path / "pictures", tmp_path / "x/out")
    assert count == 1 and "is no name of a folder" in losses[0] and not (tmp_path / "outside").exists()
    assert sorted(path.name for path in (tmp_path / "x/out").rglob("*.*")) == ["b.jpg", "b.png"]


def coco(path: Path, *files: str) -> Path:
    """A file of COCO with a square of a cup in each image; that of the second is larger."""
    box = lambda k: [[5, 5, 20 + 5 * k, 5, 20 + 5 * k, 20, 5, 20]]
    record = {
        "images": [
            {"id": k, "file_name": file, "height": 30, "width": 40} for k, file in enumerate(files)
        ],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "segmentation": box(k), "area": 1, "iscrowd": 0,
             "bbox": [5, 5, 15, 15]}
            for k in range(len(files))
        ],
        "categories": [{"id": 1, "name": "cup"}],
    }  # fmt: skip
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


@pytest.mark.parametrize("before", ["", "/home/me/data/", "C:\\data\\", "https://example.org/files/", "./"])
def test_of_pictures_of_one_name_the_path_decides(before, tmp_path):
    for name in ("apple/IMG 1 (a).jpg", "cup/IMG 1 (a).JPG"):
        save_picture(tmp_path / "pictures" / name)
    (tmp_path / "pictures/cup/IMG 1 (a).txt").write_text("a note", encoding="utf-8")
    separator = "\\" if "\\" in before else "/"
    files = [
        f"{before}{separator.join(parts)}" for parts in (("apple", "IMG 1 (a).jpg"), ("cup", "IMG 1 (a).JPG"))
    ]
    file = coco(tmp_path / "labels.json", *files)
    count, losses = import_pictures(file, "coco", tmp_path / "pictures", tmp_path / "out")
    masks = masks_in(tmp_path / "out")
    assert (count, losses, [*masks]) == (2, [], ["apple/IMG 1 (a)", "cup/IMG 1 (a)"])
    assert masks["apple/IMG 1 (a)"].sum() < masks["cup/IMG 1 (a)"].sum()
    file = coco(tmp_path / "labels.json", "pear/IMG 1 (a).jpg")
    with pytest.raises(BdganError, match="no picture of the path 'pear/IMG 1"):
        import_pictures(file, "coco", tmp_path / "pictures", tmp_path / "other")


def test_labelme_s_files_beside_the_pictures_are_read(tmp_path):
    for name in ("apple", "cup"):
        save_picture(tmp_path / f"{name}/1.jpg")
        labelme(tmp_path / name, "1", ("it", SQUARE))
    count, losses = import_pictures(tmp_path, "labelme", tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    assert (count, losses) == (2, [])


def test_a_shape_over_the_foreground_is_told(tmp_path):
    save_picture(tmp_path / "pictures/robin/a.jpg")
    labelme(tmp_path / "labels", "a", ("wing", SQUARE), ("leaf", CORNER))
    arguments = tmp_path / "labels", "labelme", tmp_path / "pictures"
    assert import_pictures(*arguments, tmp_path / "all") == (1, [])
    _, losses = import_pictures(*arguments, tmp_path / "wing", ["wing", "wings"])
    assert "a.jpg: 36 pixels of an earlier shape went to a 'leaf' over it" in losses[0]
    assert losses[1] == "no picture has the label 'wings'; there is leaf, wing"
    with pytest.raises(BdganError, match="whose files it would join"):
        import_pictures(*arguments, tmp_path / "pictures/out")


def test_what_is_all_foreground_is_left_out(tmp_path):
    save_picture(tmp_path / "pictures/robin/a.jpg")
    labelme(tmp_path / "labels", "a", ("Background", [[0, 0], [40, 0], [40, 30], [0, 30]]), ("wing", SQUARE))
    assert import_pictures(tmp_path / "labels", "labelme", tmp_path / "pictures", tmp_path / "o")[0] == 1
    labelme(tmp_path / "labels", "a", ("scene", [[-1, -1], [41, -1], [41, 31], [-1, 31]]))
    with pytest.raises(BdganError, match="every pixel is foreground"):
        import_pictures(tmp_path / "labels", "labelme", tmp_path / "pictures", tmp_path / "p")


def test_the_command_says_what_to_do_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_picture(Path("pictures/robin/a.jpg")), save_picture(Path("pictures/robin/b.jpg"))
    labelme(Path("labels"), "a", ("bird", SQUARE))
    for more in ([], ["--foreground", "bird"]):
        command = ["bdgan", "import-labels", "labels", "--from", "labelme", "--pictures", "pictures", *more]
        monkeypatch.setattr(sys, "argv", [*command, "--out", f"out{len(more)}"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr().out.splitlines()
        assert end.value.code == 0 and said[0] == f"out{len(more)}: 1 pictures with masks"
        assert "1 pictures have no labels or were left out, such as" in said[1]
        assert "bdgan train-head --images" in said[2]


def test_letters_that_another_system_wrote_in_pieces_are_the_same(tmp_path):
    save_picture(tmp_path / "pictures/Hündchen/Größe ä.jpg")
    pictures = PictureIndex(tmp_path / "pictures")
    composed = "Hündchen/Größe ä.jpg"
    assert pictures.key(composed) == pictures.key(normalize("NFD", composed))
    save_picture(tmp_path / "others" / normalize("NFD", composed))
    assert PictureIndex(tmp_path / "others").key(composed)
