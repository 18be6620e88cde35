"""Labels of other tools come in as those tools mean them, or they stay out and the stored ones stand."""

import base64
import io
import json
import os
import re
import shutil
import sys
import zlib
from copy import deepcopy
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from bdgan_lib.cli import main
from bdgan_lib.core import rle
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.formats.exchange import FORMATS, export_annotations, import_annotations
from bdgan_lib.datasets.formats.label_studio import encode_brush

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[3] / "shared")
HEIGHT, WIDTH, ID = 24, 32, "robin_00000007"
CLASSES = ("background", "body", "wing")
SQUARE, TRIANGLE = [[2, 2], [9, 2], [9, 9], [2, 9]], [[15, 12], [28, 12], [28, 20]]
STORED = np.full((HEIGHT, WIDTH), 1, np.uint8)
SHAPES = ("coco", "cvat", "labelme", "label-studio")  # formats of shapes


def annotation(mask=STORED, **more):
    known = {"id": ID, "class_name": "robin", "class_id": 0, "seed": 7, "sampling": Sampling(), "mask": mask}
    return Annotation(**known | {"generator_sha256": "0" * 64, "annotator": "me", "classes": CLASSES} | more)


@pytest.fixture
def exported(tmp_path):
    """A folder as another tool leaves it, with one sample, and the store it is imported into."""
    store = AnnotationStore(tmp_path / "store")
    store.add(annotation())
    folder = tmp_path / "in"
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    export_annotations([annotation()], [grey], folder, "labelme")
    shutil.rmtree(folder / "labels")
    return folder, store


def write(format, folder, shapes, size=(HEIGHT, WIDTH), file=f"{ID}.png"):
    """Polygons (label, points), or raw shapes of the format, as the tool itself writes them."""
    if format == "labelme":
        dressed = [
            shape if not isinstance(shape, tuple) else {
                "label": shape[0], "points": shape[1], "group_id": None, "description": "",
                "shape_type": "polygon", "flags": {}, "mask": None,
            }
            for shape in shapes
        ]  # fmt: skip
        record = {"version": "5.8.1", "flags": {}, "shapes": dressed, "imagePath": file, "imageData": None}
        record |= {key: n for key, n in zip(("imageHeight", "imageWidth"), size) if n != "missing"}
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{ID}.json").write_text(json.dumps(record))
    elif format == "coco":
        names = sorted({s[0] if isinstance(s, tuple) else s.get("label", "body") for s in shapes})
        dressed = [
            {"id": k, "image_id": 3, "iscrowd": 0, "category_id": 1 + names.index(s[0]),
             "segmentation": [np.ravel(s[1]).tolist()]} if isinstance(s, tuple)
            else {"id": k, "image_id": 3, "category_id": 1 + names.index(s.get("label", "body"))} | s
            for k, s in enumerate(shapes, 1)
        ]  # fmt: skip
        image = {"id": 3, "file_name": file}
        image |= {key: n for key, n in zip(("height", "width"), size) if n != "missing"}
        categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
        record = {"images": [image], "annotations": dressed, "categories": categories}
        (folder / "instances.json").write_text(json.dumps(record))
    elif format == "cvat":
        lines = [
            shape if isinstance(shape, str) else
            f'<polygon label={quoteattr(shape[0])} source="manual" occluded="0" points="'
            + ";".join(f"{x:.2f},{y:.2f}" for x, y in shape[1]) + '" z_order="0"></polygon>'
            for shape in shapes
        ]  # fmt: skip
        sides = " ".join(
            f'{k}="{n}"' for k, n in zip(("height", "width"), size) if n not in ("missing", None)
        )
        text = (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/><image id="0" '
        )
        text += f"name={quoteattr(file)} {sides}>{''.join(lines)}</image></annotations>"
        (folder / "annotations.xml").write_text(text, encoding="utf-8")
    elif format == "label-studio":
        sides = [side if isinstance(side, int) else full for side, full in zip(size, (HEIGHT, WIDTH))]
        known = {f"original_{k}": n for k, n in zip(("height", "width"), size) if n != "missing"}
        dressed = [
            {"type": "polygonlabels", "value": {
                "points": (np.array(shape[1]) * 100 / sides[::-1]).tolist(), "closed": True,
                "polygonlabels": [shape[0]]}} if isinstance(shape, tuple) else shape
            for shape in shapes
        ]  # fmt: skip
        results = [
            {"id": f"r{k}", "from_name": "a", "to_name": "image", "image_rotation": 0} | known | shape
            for k, shape in enumerate(dressed)
        ]
        task = {"id": 1, "data": {"image": file}, "annotations": [{"id": 5, "result": results}]}
        (folder / "tasks.json").write_text(json.dumps([task]))
    else:
        picture = Image.new("L", (size[1], size[0]))
        for label, points in shapes:
            ImageDraw.Draw(picture).polygon([tuple(p) for p in points], fill=CLASSES.index(label))
        (folder / "labels").mkdir(exist_ok=True)
        picture.save(folder / "labels" / f"{ID}.png")
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in CLASSES))


def bdgan(*arguments):
    """The exit code of `bdgan ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
        main()
    return end.value.code or 0


def files_of(store):
    return {path.name: path.read_bytes() for path in store.root.iterdir() if path.name != ".lock"}


def read_in(format, folder):
    """The sample as imported without a store, and the losses."""
    (sample,), losses = import_annotations(folder, format)
    return sample, losses


CASES = {
    "02_any_size_comes_in": ("labelme", None),
    "01_refused_shapes_become_background": ("coco", None),
    "03_rectangle_of_four_points": ("labelme", {"body": 651}),
    "05_labelme_mask_bounds": ("labelme", {"body": 317}),
    "06_oriented_rectangle": ("labelme", {"body": 521}),
    "07_ungrouped_shapes_lose_their_object": ("labelme", {"body": 686}),
    "08_ignore_and_background_labels": ("labelme", {255: 496}),
    "09_labels_txt_bom_or_blank_line": (
        "png", {"body": 269, "head": 119, "wing": 164, "tail": 51, "beak": 1, "leg": 34}),
    "10_label_characters": ("labelme", {"درخت\u200cها": 780, "coffee\u00a0mug": 66}),
    "14_windows_path_in_file_name": ("coco", {"body": 435}),
}  # fmt: skip


@pytest.mark.skipif(not (SHARED / "faults").is_dir(), reason="the shared folder of faults is not here")
@pytest.mark.parametrize("case", CASES)
def test_the_reported_inputs_have_their_right_value(tmp_path, capsys, case):
    format, right = CASES[case]
    store = AnnotationStore(shutil.copytree(SHARED / "faults" / case / "store", tmp_path / "store"))
    before = files_of(store)
    code = bdgan("import-labels", SHARED / "faults" / case / "folder", "--from", format, "--out", store.root)
    if right is None:
        assert code == 2 and files_of(store) == before and "robin_00000000" in capsys.readouterr().out
        return
    stored = store.load("robin_00000000")
    names = dict(enumerate(stored.classes)) | {255: 255}
    counts = {names[k]: int((stored.mask == k).sum()) for k in np.unique(stored.mask).tolist() if k}
    assert code == 0 and counts == right
    if case.startswith("07"):
        assert np.unique(stored.instances).tolist() == [0, 1, 2]


# -- a label that is not read whole

RLE = {"size": [HEIGHT, WIDTH], "counts": [5, 5]}
LOST = {
    "coco": [
        {"segmentation": []}, {"segmentation": RLE}, {"segmentation": [[1, 1, 2, 2]]}, {"segmentation": None},
        {"segmentation": {"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH - 1, 1]}}, {"label": "a\nb"},
        {"segmentation": [[1, 1, 9, 1, 9, 9]], "category_id": 99}, {"segmentation": [[90, 90, 95, 90, 95,
        95]]},
    ],
    "labelme": [
        {"label": "body", "shape_type": "line", "points": [[1, 1], [9, 9]]},
        {"label": "body", "shape_type": "point", "points": [[1, 1]]},
        {"label": "body", "shape_type": "circle", "points": [[9, 9], [9, 12], [12, 9]]},
        {"label": "body", "shape_type": "mask", "points": [[1, 1], [9, 9]], "mask": "!"},
        {"label": "body", "points": SQUARE, "group_id": "one"}, {"label": "", "points": SQUARE},
        {"points": SQUARE}, {"label": "body", "points": [[40, 40], [44, 40], [44, 44]]},
    ],
    "cvat": [
        '<polyline label="body" points="1,1;9,9"/>', '<box label="body" xtl="1" ytl="1" xbr="9"/>',
        '<mask label="body" rle="1,1" left="0" top="0" width="9" height="9"/>',
        '<polygon points="1,1;9,1;9,9"/>',
        '<box label="body" xtl="1" ytl="1" xbr="9" ybr="9" z_order="front"/>', '<skeleton label="body"/>',
        '<box label="body" xtl="1" ytl="1" xbr="9" ybr="9" group_id="x"/>', '<cuboid label="body"/>',
    ],
    "label-studio": [
        {"value": {"points": [[1, 1], [9, 9]], "polygonlabels": ["body"]}},
        {"value": {"points": [[1, 1], [9, 9], [1, 9]], "closed": False, "polygonlabels": ["body"]}},
        {"value": {"points": [[1, 1], [9, 9], [1, 9]], "polygonlabels": ["body", "wing"]}},
        {"value": {"points": [[1, 1], [9, 9], [1, 9]], "polygonlabels": []}},
        {"value": {"points": [[1, 1], [9, 9], [1, 9]], "polygonlabels": ["body"]}, "image_rotation": 90},
        {"value": {"points": [[1, 1], [9, 9], [1, 9]], "polygonlabels": ["body"]}, "item_index": 1},
        {"value": {"points": [[150, 150], [190, 190], [150, 190]], "polygonlabels": ["body"]}},
        {"type": "keypointlabels", "value": {"x": 5, "y": 5, "width": 1, "keypointlabels": ["body"]}},
        {"type": "bitmasklabels", "value": {"imageDataURL": "data:,", "bitmasklabels": ["body"]}},
        {"value": {"x": 5, "y": 5, "width": 0, "height": 9, "rotation": 0, "rectanglelabels": ["body"]}},
        {"value": {"x": 5, "y": 5, "radiusX": 4, "radiusY": None, "ellipselabels": ["body"]}},
        {"value": {"rle": [0, 0, 12, 0], "format": "rle", "brushlabels": ["body"]}},
        {"value": {"rle": [256], "format": "rle", "brushlabels": ["body"]}},
        {"value": {"rle": encode_brush(STORED[1:] > 0), "format": "rle", "brushlabels": ["body"]}},
        {"value": {"rle": encode_brush(STORED > 0)[:-3], "format": "rle", "brushlabels": ["body"]}},
        {"value": {"format": "rle", "brushlabels": ["body"], "touches": []}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("format", "bad"), [(format, bad) for format in SHAPES for bad in LOST[format]])
def test_a_label_that_is_not_read_whole_never_replaces_one_that_stands(exported, capsys, format, bad):
    folder, store = exported
    before = files_of(store)
    for shapes in ([bad], [("wing", TRIANGLE), bad]):
        write(format, folder, shapes)
        assert bdgan("import-labels", folder, "--from", format, "--out", store.root) == 2
        assert files_of(store) == before and capsys.readouterr().out.count(ID) == 2, "the shape, the sample"
    empty = AnnotationStore(store.root.parent / "new")
    assert bdgan("import-labels", folder, "--from", format, "--out", empty.root) == 0
    assert (empty.load(ID).mask == 2).sum() > 50 and f"{ID}: " in capsys.readouterr().out
    write(format, folder, [bad])
    assert import_annotations(folder, format)[0] == [], "nothing read is no label"
    write(format, folder, [])
    assert bdgan("import-labels", folder, "--from", format, "--out", store.root) == 0
    assert not store.load(ID).mask.any(), "all shapes were removed on purpose"


def untied(record, how):
    (image,), (one,) = record["images"], record["annotations"]
    {
        "image_id of another type": lambda: one.update(image_id="3"),
        "image_id of no image": lambda: one.update(image_id=4),
        "an annotation without image_id": lambda: record["annotations"].append({"id": 9}),
        "an annotation that is none": lambda: record["annotations"].append([3]),
        "two images of one id": lambda: record["images"].append(image | {"file_name": "b.png"}),
        "two images of one name": lambda: record["images"].append(
            image | {"id": 4, "file_name": f"b/{ID}.jpg"}
        ),
        "two categories of one id": lambda: record["categories"].append({"id": 1, "name": "body"}),
    }[how]()


@pytest.mark.parametrize(
    "how",
    ["image_id of another type", "image_id of no image", "an annotation without image_id",
    "two images of one id",
     "an annotation that is none", "two images of one name", "two categories of one id"],
)  # fmt: skip
def test_what_cannot_be_tied_to_its_image_is_told_and_replaces_nothing(exported, how):
    folder, store = exported
    write("coco", folder, [("wing", SQUARE)])
    record = json.loads((folder / "instances.json").read_text())
    untied(record, how)
    (folder / "instances.json").write_text(json.dumps(record))
    annotations, losses = import_annotations(folder, "coco", store)
    assert annotations == [] and any(ID in loss and "read" in loss for loss in losses) and len(losses) >= 2


@pytest.mark.parametrize("format", SHAPES)
def test_a_tag_of_the_whole_image_is_no_shape(exported, format):
    folder, store = exported
    tag = {
        "cvat": ['<tag label="body" source="manual"/>'],
        "label-studio": [{"type": "choices", "value": {"choices": ["sharp"]}}],
    }.get(format, [])
    write(format, folder, [("wing", SQUARE), *tag])
    (sample,), losses = import_annotations(folder, format, store)
    assert (sample.mask == 2).sum() >= 49 and len(losses) == len(tag)


def test_objects_whose_file_is_gone_are_not_lost_silently(exported):
    folder, store = exported
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    export_annotations([annotation(instances=STORED)], [grey], folder.parent / "png", "png")
    (folder.parent / f"png/instances/{ID}.png").unlink()
    annotations, losses = import_annotations(folder.parent / "png", "png", store)
    assert annotations == [] and "objects are missing" in losses[0]


# -- sizes


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(256, 256), (WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (HEIGHT - 1, WIDTH)])
@pytest.mark.parametrize("pictures", [True, False])
def test_labels_of_another_size_than_the_image_s_stay_out(exported, format, size, pictures):
    folder, store = exported
    if not pictures:
        shutil.rmtree(folder / "images")
    write(format, folder, [("wing", SQUARE)], size)
    annotations, losses = import_annotations(folder, format, store)
    assert annotations == [] and f"[{size[0]}, {size[1]}]" in losses[0] and ID in losses[0] + losses[-1]


@pytest.mark.parametrize("format", SHAPES)
@pytest.mark.parametrize("size", [("missing", "missing"), (None, None), (HEIGHT, "missing"),
                                  (float(HEIGHT), float(WIDTH)), (HEIGHT, float(WIDTH))])  # fmt: skip
def test_a_size_that_the_picture_tells_need_not_be_in_the_file(exported, format, size):
    folder, _ = exported
    write(format, folder, [("wing", SQUARE)], size)
    sample, losses = read_in(format, folder)
    assert sample.mask.shape == (HEIGHT, WIDTH) and not losses
    (folder / f"images/{ID}.png").write_bytes(b"GIF89a")
    assert "not a readable PNG" in import_annotations(folder, format)[1][0]


# -- shapes, by the tools' own rules


def drawn(points, size=(HEIGHT, WIDTH)):
    """labelme's rule: Pillow's polygon with its outline."""
    picture = Image.new("1", size[::-1])
    ImageDraw.Draw(picture).polygon([tuple(p) for p in points], fill=1, outline=1)
    return np.array(picture)


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "polygon", None])
@pytest.mark.parametrize("corners", [[[4, 9], [14, 3], [18, 10], [8, 16]], [[5.5, 2.5], [9.25, 6], [6,
                                     9.5], [2, 6]],
                                     [[25, 20], [30, 15], [35, 20], [30, 25]]])  # fmt: skip
def test_oriented_rectangles_are_the_polygon_of_their_corners(exported, kind, corners):
    folder, _ = exported
    write("labelme", folder, [{"label": "wing", "points": corners, "shape_type": kind}])
    assert np.array_equal(read_in("labelme", folder)[0].mask == 2, drawn(corners))


@pytest.mark.parametrize("order", [(0, 2), (2, 0), (1, 3), (0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3)])
def test_a_rectangle_has_two_opposite_corners_or_four(exported, order):
    folder, _ = exported
    corners = [[3, 4], [20, 4], [20, 11], [3, 11]]
    write(
        "labelme",
        folder,
        [{"label": "wing", "points": [corners[k] for k in order], "shape_type": "rectangle"}],
    )
    assert (read_in("labelme", folder)[0].mask == 2).sum() == 18 * 8


@pytest.mark.parametrize("left", [-3.0, -2.6, 0.4, 5.0, 7.4, 7.6, 25.9, 29.0])
@pytest.mark.parametrize("top", [-5.2, 3.7, 19.8])
def test_a_labelme_mask_lies_where_its_rounded_box_says_and_is_clipped(exported, left, top):
    folder, _ = exported
    mask = np.random.default_rng(0).random((7, 9)) < 0.6
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG")
    shape = {"label": "wing", "shape_type": "mask", "points": [[left, top], [left + 8, top + 6]]}
    write("labelme", folder, [shape | {"mask": base64.b64encode(png.getvalue()).decode()}])
    wide = np.zeros((HEIGHT + 40, WIDTH + 40), bool)
    y, x = 20 + round(top), 20 + round(left)
    wide[y : y + 7, x : x + 9] = mask
    sample, losses = read_in("labelme", folder)
    assert np.array_equal(sample.mask == 2, wide[20:-20, 20:-20]) and not losses


@pytest.mark.parametrize("format", SHAPES)
def test_a_shape_without_a_group_is_an_object_of_its_own(exported, format):
    folder, _ = exported
    write(format, folder, [("wing", SQUARE), ("wing", TRIANGLE), ("body", [[2, 15], [9, 15], [9, 22]])])
    sample, _ = read_in(format, folder)
    numbers = [set(sample.instances[place].tolist()) for place in ((5, 5), (14, 25), (16, 8)) for place in [
        (slice(place[0], place[0] + 1), place[1])]]  # fmt: skip
    assert len(set.union(*numbers)) == 3 and 0 not in set.union(*numbers)
    assert np.array_equal(sample.instances > 0, sample.mask > 0)


GROUPED = {
    "labelme": [{"label": "wing", "points": points, "group_id": 4} for points in (SQUARE, TRIANGLE)],
    "cvat": [f'<polygon label="wing" group_id="4" points="{";".join(f"{x},{y}" for x, y in points)}"/>'
             for points in (SQUARE, TRIANGLE)],
    "coco": [{"label": "wing", "segmentation": [np.ravel(SQUARE).tolist(), np.ravel(TRIANGLE).tolist()],
              "attributes": {"instance": 4}}],
    "label-studio": [{"value": {"points": (np.array(points) / (WIDTH, HEIGHT) * 100).tolist(),
                                "polygonlabels": ["wing"]}, "meta": {"text": ["on top", "object 4"]}}
                     for points in (SQUARE, TRIANGLE)],
}  # fmt: skip


@pytest.mark.parametrize("format", SHAPES)
def test_shapes_of_one_group_are_one_object(exported, format):
    folder, _ = exported
    write(format, folder, [*GROUPED[format], ("body", [[2, 15], [9, 15], [9, 22]])])
    sample, _ = read_in(format, folder)
    assert (sample.instances[sample.mask == 2] == 4).all()
    assert (
        len(np.unique(sample.instances[sample.mask == 1])) == 1
        and 4 not in sample.instances[sample.mask == 1]
    )


@pytest.mark.parametrize("seed", range(4))
def test_cvat_s_z_order_decides_what_covers_what(exported, seed):
    folder, _ = exported
    noise, shapes = np.random.default_rng(seed), []
    for k in range(8):
        x, y = noise.integers(0, 24), noise.integers(0, 16)
        shapes.append(
            (
                int(noise.integers(-2, 3)),
                k,
                ("body", "wing")[k % 2],
                [[x, y], [x + 8, y], [x + 8, y + 8], [x, y + 8]],
            )
        )
    points = [";".join(f"{x},{y}" for x, y in shape[3]) for shape in shapes]
    write(
        "cvat",
        folder,
        [f'<polygon label="{s[2]}" points="{p}" z_order="{s[0]}"/>' for s, p in zip(shapes, points)],
    )
    right = np.zeros((HEIGHT, WIDTH), np.uint8)
    for *_, label, corners in sorted(shapes):
        packed = coco_mask.frPyObjects([np.ravel(corners).astype(float).tolist()], HEIGHT, WIDTH)
        right[coco_mask.decode(coco_mask.merge(packed)) > 0] = CLASSES.index(label)
    assert np.array_equal(read_in("cvat", folder)[0].mask, right)


# -- names and texts


@pytest.mark.parametrize("format", SHAPES)
def test_labels_with_a_meaning_by_convention_have_it(exported, format):
    folder, _ = exported
    inner = [[5, 5], [9, 5], [9, 9], [5, 9]]
    write(format, folder, [("wing", SQUARE), ("_background_", inner), ("__ignore__", TRIANGLE)])
    sample, losses = read_in(format, folder)
    assert sample.classes == CLASSES and not any("new" in loss for loss in losses)
    assert sample.mask[7, 7] == 0 and sample.mask[3, 3] == 2 and (sample.mask == 255).sum() > 30
    assert not sample.instances[(sample.mask == 255) | (sample.mask == 0)].any()


LISTS = [
    b"\xef\xbb\xbfbackground\nbody\nwing\n", b"background\r\nbody\r\nwing\r\n\r\n\r\n",
    b"background\nbody\nwing\n\n\n",
    b"background\nbody\nwing", "background\nbody\nwing\n".encode("utf-16"), b"_background_\nbody\nwing\n",
    b"__ignore__\n_background_\nbody\nwing\n",
    b"\xef\xbb\xbf__ignore__\r\n_background_\r\nbody\r\nwing\r\n\r\n",
    b"background\nbody\nwing\n__ignore__\n", "\ufeffbackground\nbody\nwing\n".encode("utf-16-be"),
]  # fmt: skip


@pytest.mark.parametrize("text", LISTS, ids=range(len(LISTS)))
def test_a_list_of_labels_is_read_as_editors_and_labelme_write_it(exported, text):
    folder, _ = exported
    write("png", folder, [("wing", SQUARE)])
    (folder / "labels.txt").write_bytes(text)
    sample, losses = read_in("png", folder)
    assert sample.classes == CLASSES and (sample.mask == 2).sum() == 64 and not losses


def test_a_list_of_labels_that_is_no_text_is_refused(exported):
    folder, _ = exported
    write("png", folder, [("wing", SQUARE)])
    (folder / "labels.txt").write_bytes("background\nKörper\nFlügel\n".encode("cp1252"))
    with pytest.raises(BdganError, match="is not text in UTF-8"):
        import_annotations(folder, "png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("format", SHAPES)
def test_files_of_shapes_may_begin_with_a_byte_order_mark(exported, format, encoding):
    folder, _ = exported
    write(format, folder, [("wing", SQUARE)])
    for path in [*folder.glob("*.*"), *folder.glob("labels/*")]:
        path.write_bytes(
            path.read_text("utf-8").replace('"utf-8"', f'"{encoding[:6].rstrip("-")}"').encode(encoding)
        )
    assert (read_in(format, folder)[0].mask == 2).sum() >= 49


def test_two_files_of_one_name_replace_nothing_and_others_come_in(exported, capsys):
    folder, store = exported
    two = [annotation(), annotation(id="robin_00000008", seed=8)]
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    export_annotations(two, [grey, grey], folder.parent / "png", "png")
    mask = encode_png(STORED + 1)
    for name in (f"{ID}.png", f"{ID}.PNG", "robin_00000008.png"):
        (folder.parent / "png/labels" / name).write_bytes(mask)
    assert bdgan("import-labels", folder.parent / "png", "--from", "png", "--out", store.root) == 0
    assert (store.load(ID).mask == 1).all() and (store.load("robin_00000008").mask == 2).all()
    assert f"{ID}: its labels could not be read whole" in capsys.readouterr().out.replace("'", "").replace(
        ".png", ""
    )


def test_the_junk_of_file_systems_is_passed_over(exported):
    folder, _ = exported
    for format in ("png", "labelme"):
        write(format, folder, [("wing", SQUARE)])
    for junk in (".DS_Store", f"._{ID}.json", f"._{ID}.png", "Thumbs.db", "desktop.ini"):
        (folder / "labels" / junk).write_bytes(b"\0junk")
    (folder / "labels/.ipynb_checkpoints").mkdir()
    assert read_in("labelme", folder)[1] == []
    (folder / f"labels/{ID}.json").unlink()
    assert read_in("png", folder)[1] == []


GOOD_LABELS = [
    "درخت\u200cها",
    "क्\u200dष",
    "👩\u200d🚀",
    "coffee\u00a0mug",
    "全角\u3000空白",
    "soft\u00adhyphen",
    "a & <b> \"'",
]
BAD_LABELS = [
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "a\x1b[31m",
    "a\rb",
    "a\u202eb",
    "a\u2066b",
    "a\uffffb",
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("label", GOOD_LABELS)
def test_joiners_and_wide_spaces_are_part_of_a_label(tmp_path, format, label):
    sent = annotation(classes=("background", label, "wing"))
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    export_annotations([sent], [grey], tmp_path / "out", format)
    back, losses = read_in(format, tmp_path / "out")
    assert back.classes == sent.classes and np.array_equal(back.mask, sent.mask) and not losses


@pytest.mark.parametrize("label", BAD_LABELS)
def test_control_and_line_breaking_characters_are_not(exported, label):
    folder, _ = exported
    for format in ("labelme", "coco", "label-studio"):
        write(format, folder, [("wing", SQUARE), (label, TRIANGLE)])
        sample, (loss,) = read_in(format, folder)
        assert sample.classes == CLASSES and "printable" in loss and loss.isprintable()


PATHS = [
    "images\\{}.png",
    "./images/{}.png",
    ".\\{}.jpg",
    "a/./b//{}.png",
    "a/../{}.png",
    "day 1\\a b\\{}.JPG",
]
OUTSIDE = ["../{}.png", "..\\{}.png", "a\\..\\..\\{}.png", "C:\\{}.png", "C:{}.png",
           "\\\\host\\share\\{}.png",
           "/tmp/{}.png", "\\{}.png", "file:///tmp/{}.png", "https://host/{}.png",
           "a/../../{}.png"]  # fmt: skip


@pytest.mark.parametrize("format", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("path", PATHS + OUTSIDE)
def test_of_a_path_of_any_system_the_stem_counts_unless_it_leads_outside(exported, format, path):
    folder, _ = exported
    write(format, folder, [("wing", SQUARE)], file=path.format(ID))
    annotations, losses = import_annotations(folder, format)
    assert [len(annotations), not losses] == ([1, True] if path in PATHS else [0, False])


# -- hostile files


TOKENS = [b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b"x", b"true", b"99999999999999999999", b"0", b"7",
          b"\\ud800", b"&a;", b"<!DOCTYPE a>", b"../", b"", b"\0", b"\xff\xfe", b"<image>", b"'", b"0.5",
          b"1,2;",
          b"[" * 5_000, b"x" * 5_000]  # fmt: skip


VALUES = [None, -1, 0, 7, 3.5, 1e300, float("nan"), True, "", "x", "\ud800", "a\0", "9" * 5_000, [], {}, [[]],
          [None], [1, 2, 3], {"size": []}, 10**30]  # fmt: skip


def changed(value, noise):
    """A JSON value with a value or a key somewhere in it replaced by another, or left out."""
    if not value or not isinstance(value, dict | list) or noise.random() < 0.1:
        return deepcopy(VALUES[noise.integers(len(VALUES))])
    places = list(value) if isinstance(value, dict) else range(len(value))
    place = places[noise.integers(len(places))]
    if noise.random() < 0.1:
        del value[place]
    else:
        value[place] = changed(value[place], noise)
    return value


def damaged(data, noise):
    """The bytes with one to four changes of the kinds that hands, disks and attackers make."""
    if data[:1] in (b"{", b"[") and noise.random() < 0.7:
        record = json.loads(data)
        for _ in range(noise.integers(1, 5)):
            record = changed(record, noise)
        return json.dumps(record).encode()
    data = bytearray(data)
    for _ in range(noise.integers(1, 5)):
        values = [m.span() for m in re.finditer(rb'(?<=")[^"]*(?=")|-?[0-9.]+|null|true|false', data)]
        start, stop = values[noise.integers(len(values))] if values else (0, 0)
        if (
            data[:4] == b"\x89PNG" and len(data) > 33 and noise.random() < 0.3
        ):  # a header that lies, with its checksum
            data[16 + noise.integers(13)] = noise.integers(256)
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
        elif noise.random() < 0.7 and stop:
            data[start:stop] = TOKENS[noise.integers(len(TOKENS))]
        else:
            start, length = noise.integers(0, len(data) + 1), noise.integers(1, 12)
            piece = bytes(data[start : start + length])
            pieces = (b"", piece * 3, noise.bytes(length), piece[::-1], TOKENS[noise.integers(len(TOKENS))])
            data[start : start + length] = pieces[noise.integers(len(pieces))]
            del data[start if noise.random() < 0.05 else len(data) :]
    return bytes(data)


def fuzz(format, folder, store, rounds):
    """Import damaged copies of good files; only `BdganError` may come, and the stored label stays."""
    outcomes = {"refused": 0, "left out": 0, "taken": 0}
    good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    targets = [path for path in good if path.parent.name != "images" or format == "png"]
    before = files_of(store)
    for seed in range(rounds):
        noise = np.random.default_rng(seed)
        target = targets[noise.integers(len(targets))]
        target.write_bytes(damaged(good[target], noise))
        try:
            annotations, losses = import_annotations(folder, format, store)
            outcomes["taken" if annotations else "left out"] += 1
            assert annotations or losses
            for sample in annotations:
                assert sample.mask.shape == (HEIGHT, WIDTH), "as the picture or the stored label"
            assert all(len(loss) < 1_000 for loss in losses)
        except BdganError:
            outcomes["refused"] += 1
        assert files_of(store) == before
        target.write_bytes(good[target])
    return outcomes


def fuzzed_folder(format, folder):
    mask, png = (
        np.zeros((HEIGHT, WIDTH), np.uint8),
        base64.b64encode(encode_png(np.ones((4, 4), np.uint8))).decode(),
    )
    mask[3:9, 4:20], mask[10:20, 8:30] = 1, 2
    sent = annotation(mask, instances=mask, extra={"confidence": 0.5}, latent=(0.25, -1.5))
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    shutil.rmtree(folder)
    export_annotations([sent], [grey], folder, format)
    more = {
        "labelme": [{"label": "body", "shape_type": "mask", "points": [[1, 1], [4, 4]], "mask": png},
                    {"label": "body", "shape_type": "circle", "points": [[9, 9], [9, 12]]},
                    {"label": "wing", "shape_type": "oriented_rectangle", "points": SQUARE}],
        "cvat": ['<box label="body" xtl="1.5" ytl="2" xbr="9" ybr="9" rotation="30" z_order="2"/>',
                 '<ellipse label="body" cx="9" cy="9" rx="3" ry="2" rotation="10" z_order="1"/>',
                 '<mask label="wing" rle="1, 2, 3, 2" left="2" top="2" width="4" height="2" z_order="0"/>'],
        "coco": [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": [9, 9, HEIGHT * WIDTH - 18]}},
                 {"segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.encode(mask > 1)}}],
        "label-studio": [{"value": {"x": 9, "y": 9, "width": 20, "height": 30, "labels": ["wing"]}},
                         {"value": {"x": 50, "y": 50, "radiusX": 9, "radiusY": 5, "ellipselabels": ["body"]}},
                         {"value": {"rle": encode_brush(mask > 1), "brushlabels": ["wing"]},
                          "meta": {"text": ["object 3"]}}],
    }  # fmt: skip
    if format in SHAPES:
        shutil.rmtree(folder / "labels", ignore_errors=True)
        write(format, folder, [("body", SQUARE), ("wing", TRIANGLE), *more[format]])


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_raise_the_documented_error_alone(exported, format):
    folder, store = exported
    fuzzed_folder(format, folder)
    outcomes = fuzz(format, folder, store, int(os.environ.get("BDGAN_FUZZ", "200")))
    assert min(outcomes.values()) > 0, outcomes


WATCHED: list[list] = []  # the list that receives events, while there is one
EVENTS = ("open", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")
sys.addaudithook(
    lambda event, args: WATCHED and event in EVENTS and WATCHED[-1].append((event, str(args[0])))
)


@pytest.mark.parametrize("format", FORMATS)
def test_reading_labels_starts_no_program_and_opens_no_file_outside(exported, format):
    folder, store = exported
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n(x) run\n"
    other = base64.b64encode(eps).decode()
    bad = {"labelme": {"label": "body", "shape_type": "mask", "points": [[1, 1], [4, 4]], "mask": other},
           "coco": {"segmentation": "/etc/passwd"},
           "label-studio": {"value": {"rle": "/etc/passwd", "brushlabels": ["body"]}},
           "cvat": '<polygon label="/etc/passwd" points="file:///etc"/>'}  # fmt: skip
    write(
        format, folder, [("wing", SQUARE), *([bad[format]] if format in bad else [])], file=f"../../{ID}.png"
    )
    import_annotations(folder, format, store)  # once, so that modules are there
    for name in (f"images/{ID}.png", f"labels/{ID}.png"):
        if (folder / name).exists():
            (folder / name).write_bytes(eps)
    WATCHED.append(events := [])
    try:
        import_annotations(folder, format, store)
    finally:
        WATCHED.clear()
    places = (str(folder), str(store.root))
    assert events and all(event == "open" and name.startswith(places) for event, name in events), events


# -- shapes of no image


def stray(format, folder, how):
    """Make the sample's own label empty, or one of its two shapes strange; shapes lie elsewhere."""
    write(format, folder, [])
    if format == "cvat":
        path = folder / "annotations.xml"
        text, shape = path.read_text("utf-8"), '<polygon label="wing" points="2,2;9,2;9,9"/>'
        more = {"root": shape, "track": f'<track label="wing">{shape}</track>',
                "nameless": f'<image width="32" height="24">{shape}</image>'}[how]  # fmt: skip
        path.write_text(text.replace("</annotations>", more + "</annotations>"), "utf-8")
    elif format == "coco":
        write(format, folder, [("wing", SQUARE), ("wing", TRIANGLE)])
        record = json.loads((folder / "instances.json").read_text())
        if how == "nameless":
            record["images"].append({"id": 4, "height": HEIGHT, "width": WIDTH})
            for each in record["annotations"]:
                each["image_id"] = 4
        else:
            record["annotations"][1]["image_id"] = {"text": "3", "name": ID, "null": None}[how]
        (folder / "instances.json").write_text(json.dumps(record))
    elif format == "labelme":
        write(format, folder, [("wing", SQUARE)])
        full = (folder / f"labels/{ID}.json").rename(folder / f"labels/{ID} (1).json")
        full.write_text(full.read_text() if how == "unsafe" else "{")
        write(format, folder, [])
    elif format == "png":
        write(format, folder, [("wing", SQUARE)])
        full = (folder / f"labels/{ID}.png").rename(folder / f"labels/{ID} (1).png")
        full.write_bytes(full.read_bytes() if how == "unsafe" else b"x")
        write(format, folder, [])
    else:
        empty = json.loads((folder / "tasks.json").read_text())
        write(format, folder, [("wing", SQUARE)])
        (full,) = json.loads((folder / "tasks.json").read_text())
        full["data"] = {"no": "picture"} if how == "nameless" else full["data"]
        if how == "damaged":
            del full["annotations"]
        (folder / "tasks.json").write_text(json.dumps([*empty, full]))


STRAYS = [("cvat", "root"), ("cvat", "track"), ("cvat", "nameless"), ("coco", "nameless"), ("coco", "text"),
          ("coco", "name"), ("coco", "null"), ("labelme", "unsafe"), ("labelme", "damaged"),
          ("png", "unsafe"),
          ("png", "damaged"), ("label-studio", "nameless"), ("label-studio", "damaged")]  # fmt: skip


@pytest.mark.parametrize(("format", "how"), STRAYS)
def test_while_shapes_are_of_no_image_no_label_is_emptied(exported, format, how):
    folder, store = exported
    stray(format, folder, how)
    annotations, losses = import_annotations(folder, format, store)
    assert annotations == [] and any(ID in loss and "read" in loss for loss in losses) and len(losses) >= 2
    annotations, _ = import_annotations(folder, format)
    assert all(a.mask.any() for a in annotations), "nor is an empty one taken where there is none"


@pytest.mark.parametrize(
    ("format", "shape", "told"),
    [("cvat", '<polygon label="body" points="10,10,0;30,10,0;30,20,0;10,20,0"/>', "two numbers x,y"),
     ("cvat", '<polygon label="body" points="10;10;30;10;30;20"/>', "two numbers x,y"),
     ("coco", {"segmentation": [[[10, 10, 2], [30, 10, 2], [30, 20, 2], [10, 20, 2]]]}, "points (x, y)"),
     ("coco", {"segmentation": [[10, 10, 30, 10, 30, 20, 5]]}, "in turn"),
     ("label-studio", {"value": {"points": [[5, 5, 1], [90, 5, 1], [90, 90, 1]], "polygonlabels": ["body"]}},
      "points (x, y)"),
     ("label-studio", {"value": {"points": [[5], [90], [50]], "polygonlabels": ["body"]}}, "points (x, y)")],
)  # fmt: skip
def test_points_of_more_or_fewer_numbers_than_two_are_refused(exported, format, shape, told):
    folder, store = exported
    write(format, folder, [shape, ("wing", TRIANGLE)])
    annotations, losses = import_annotations(folder, format, store)
    assert annotations == [] and told in losses[0] and ID in losses[0]


@pytest.mark.parametrize("format", FORMATS)
def test_the_stored_size_decides_where_the_picture_was_enlarged_too(exported, format):
    folder, store = exported
    (folder / f"images/{ID}.png").write_bytes(encode_png(np.zeros((256, 256, 3), np.uint8)))
    write(format, folder, [("wing", SQUARE)], (256, 256))
    annotations, losses = import_annotations(folder, format, store)
    assert annotations == [] and f"{[HEIGHT, WIDTH]}, got [256, 256]" in losses[0] and len(losses) == 1
    store.remove(ID)
    store.add(annotation(id="robin_00000008", seed=8))  # of the same generator, so of the same size
    annotations, losses = import_annotations(folder, format, store)
    assert annotations == [] and "its generator's images" in losses[0]


@pytest.mark.parametrize(
    "text",
    ["background \r\nbody\t\r\n wing\r\n", "background\rbody\rwing\r \t", "background\nbody\nwing\n  \n\t\n"],
)
def test_spaces_around_labels_are_no_part_of_them(exported, text):
    folder, _ = exported
    write("png", folder, [("wing", SQUARE)])
    (folder / "labels.txt").write_bytes(text.encode())
    sample, losses = read_in("png", folder)
    assert sample.classes == CLASSES and (sample.mask == 2).sum() == 64 and not losses


@pytest.mark.parametrize("letter", "\x0b\x0c\x1c\x85\u2028\u2029")
def test_what_ends_no_line_is_refused_in_a_label(exported, letter):
    folder, store = exported
    write("png", folder, [("wing", SQUARE)])
    (folder / "labels.txt").write_bytes(f"background\nbo{letter}dy\nwing\n".encode())
    annotations, losses = import_annotations(folder, "png", store)
    assert annotations == [] and "printable characters" in losses[0]


@pytest.mark.parametrize("format", FORMATS)
def test_a_refused_file_is_not_said_to_have_no_labels(exported, format):
    folder, store = exported
    write(format, folder, [("wing", SQUARE)], (99, 99))
    _, losses = import_annotations(folder, format, store)
    assert len(losses) == 1 and ID in losses[0]
