"""Labels go to every tool's files and come back, each pixel, object and name; a bad piece is named."""

import base64
import json
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation
from bdgan_lib.datasets.formats.exchange import FORMATS, export_annotations, import_annotations
from bdgan_lib.datasets.formats.shapes import LabelledImage

NAMES = ("background", "🐦 beak", "<script>alert(1)</script>", '../"é & a, b;c', "x" * 200, " ")


@st.composite
def labelled(draw, name="robin_1"):
    """Noise, or noise in blocks, whose regions have holes, touch at corners and lie in pieces."""
    small = draw(array_shapes(min_dims=2, max_dims=2, max_side=7))
    block = np.ones((draw(st.integers(1, 3)), draw(st.integers(1, 3))), np.uint8)
    mask = np.kron(draw(arrays(np.uint8, small, elements=st.sampled_from([0, 1, 2, 5, 255]))), block)
    numbers = arrays(np.uint8, small, elements=st.sampled_from([0, 1, 2, 255]))
    instances = draw(st.none() | numbers.map(lambda found: np.kron(found, block)))
    labels = draw(st.permutations(NAMES[:3])) + list(NAMES[3:])  # the ground may be named otherwise
    return LabelledImage(name, mask, tuple(labels), instances)


def words(item):
    """The names of a mask's labels, pixel by pixel."""
    return np.array([*item.labels, *["?"] * (255 - len(item.labels)), None], object)[item.mask]


def annotation(item, **more):
    known = {"class_name": "robin", "class_id": 3, "seed": 7, "sampling": Sampling(), "annotator": "me"}
    parts = {"mask": item.mask, "classes": item.labels, "instances": item.instances}
    return Annotation(**{"id": item.name, "generator_sha256": "0" * 64} | known | parts | more)


def grey(annotations):
    return (np.full((*a.mask.shape, 3), 90, np.uint8) for a in annotations)


def same(one, other):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name
    return True


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40)
@given(item=labelled(), other=labelled("mug_2"))
def test_every_pixel_and_object_comes_back(format, item, other):
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        FORMATS[format].write_annotations([item, other], Path(folder) / "out")
        found = {item.name: item for item in FORMATS[format].read_annotations(Path(folder) / "out", losses)}
    assert not losses and set(found) == {"robin_1", "mug_2"}
    for original in (item, other):
        back = found[original.name]
        assert np.array_equal(words(back), words(original))
        if original.instances is not None and original.instances.any():
            assert np.array_equal(back.instances, original.instances)
        else:
            assert back.instances is None or not back.instances.any()


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=15)
@given(item=labelled(), extra=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=3))
def test_annotations_come_back_in_every_field(format, item, extra):
    plain = LabelledImage("mug_2", np.zeros((4, 5), np.uint8), ("background", "foreground"))
    kinds = {"sampling": Sampling(top_k=5), "latent": (0.1, -2.0), "class_name": "<b>mug</b>\0"}
    none = replace(plain, name="saw_3", instances=plain.mask)  # told apart, and there are none
    sent = [annotation(item, extra=extra), annotation(plain, **kinds), annotation(none)]
    with tempfile.TemporaryDirectory() as folder:
        assert export_annotations(sent, grey(sent), Path(folder) / "out", format) == 3
        back, losses = import_annotations(Path(folder) / "out", format)
        assert decode_png((Path(folder) / "out/images/mug_2.png").read_bytes()).shape == (4, 5, 3)
        assert [path.name for path in Path(folder).iterdir()] == ["out"]
    assert not losses and len(back) == 3
    assert all(same(a, b) for a, b in zip(sorted(sent, key=lambda a: a.id), sorted(back, key=lambda a: a.id)))


@pytest.fixture
def sent():
    mask = np.kron(np.array([[0, 1], [2, 255]], np.uint8), np.ones((4, 4), np.uint8))
    item = LabelledImage("robin_1", mask, ("background", "beak", "wing"), (mask == 1).astype(np.uint8))
    return [annotation(item), annotation(replace(item, name="robin_2"))]


@pytest.mark.parametrize("format", FORMATS)
def test_partners_that_are_missing_are_named_and_shift_nothing(tmp_path, sent, format):
    three = [*sent, replace(sent[0], id="robin_3")]
    export_annotations(three, grey(three), tmp_path / "out", format)
    samples = json.loads((tmp_path / "out/samples.json").read_text())
    samples["robin_9"] = samples.pop("robin_2")
    samples["robin_3"]["id"] = "robin_1"
    (tmp_path / "out/samples.json").write_text(json.dumps(samples))
    back, losses = import_annotations(tmp_path / "out", format)
    assert len(back) == 1 and same(back[0], sent[0])
    assert losses == [
        "robin_2: samples.json has no sample of this name",
        "robin_3: its record in samples.json is of 'robin_1'",
        "'robin_9': the file has no labels for this sample",
    ]


def test_a_label_that_the_other_tool_added_comes_in_and_is_told(tmp_path, sent):
    export_annotations(sent, grey(sent), tmp_path / "out", "labelme")
    path = tmp_path / "out/labels/robin_1.json"
    path.write_text(path.read_text().replace('"wing"', '"claw"'))
    back, losses = import_annotations(tmp_path / "out", "labelme")
    assert losses == ["robin_1: label 'claw' is new"]
    assert back[0].classes == ("background", "beak", "wing", "claw")
    assert np.array_equal(back[0].mask == 3, sent[0].mask == 2)


def test_an_export_that_fails_leaves_nothing_and_nothing_is_written_over(tmp_path, sent):
    wrong = {
        "unknown format 'voc'": lambda: export_annotations(sent, grey(sent), tmp_path / "out", "voc"),
        "pairs of one size": lambda: export_annotations(sent, grey(sent[:1]), tmp_path / "out", "coco"),
        "exists": lambda: export_annotations(sent + sent, grey(sent + sent), tmp_path / "out", "coco"),
        "printable": lambda: export_annotations(
            [replace(sent[0], classes=("background", "a\0", "b"))], grey(sent), tmp_path / "out", "cvat"
        ),
        "each label once": lambda: export_annotations(
            [replace(sent[0], classes=("a", "a", "b"))], grey(sent), tmp_path / "out", "png"
        ),
    }
    for said, call in wrong.items():
        with pytest.raises(BdganError, match=said):
            call()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(BdganError, match="not written over"):
        export_annotations(sent, grey(sent), tmp_path / "out", "coco")


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_without_such_files_is_refused(tmp_path, format):
    with pytest.raises(BdganError, match="missing"):
        list(FORMATS[format].read_annotations(tmp_path, []))


# What follows is hostile: it is refused by name, the good piece beside it comes in, nothing else is touched.
BAD_FILES = ["../robin_1.png", "/etc/passwd", "a/../../b.png", "..", "", "a\0b.png", "<script>.png",
             "C:\\a.png", "x" * 4096, ".bashrc", "con .png", None, 7, ["a"], "good.png"]  # fmt: skip
BAD_LABELS = ["", "a\0b", "a\nb", "\x1b[2J", "x" * 4096, None, 3, ["a"], "\ud800"]
SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]
BAD_SHAPES = [
    [], [[]], [[1, 1, 2, 2]], [[1, 1, 2, 2, 3]], [[1, 1, 4, 1, 4, float("nan")]], [[0, 0, 1e300, 0, 1, 1]],
    [[0, 0, 8, 0, 8, 8] * 200_000], "AAAA", None, 5, [["a", "b"] * 3], [{"x": 1}], {"size": [8, 8]},
    *({"size": [8, 8], "counts": counts} for counts in ([2**40], [-1, 65], "~~", None, {"a": 1})),
    {"size": [1, 64], "counts": [64]},
]  # fmt: skip


def read_coco(tmp_path, images, annotations, categories=({"id": 1, "name": "bird"},)):
    record = {"images": images, "annotations": annotations, "categories": list(categories)}
    (tmp_path / "instances.json").write_text(json.dumps(record))
    losses = []
    found = list(FORMATS["coco"].read_annotations(tmp_path, losses))
    assert [path.name for path in tmp_path.iterdir()] == ["instances.json"]
    return {item.name: item for item in found}, losses


def image(id, file="good.png", side=8):
    return {"id": id, "file_name": file, "height": side, "width": side}


def shape(image_id, segmentation=SQUARE, **more):
    return {"id": 5, "image_id": image_id, "category_id": 1, "segmentation": segmentation} | more


@pytest.mark.parametrize("file", BAD_FILES)
def test_a_hostile_file_name_pairs_with_nothing(tmp_path, file):
    found, losses = read_coco(tmp_path, [image(0), image(1, file)], [shape(0), shape(1)])
    assert list(found) == ["good"] and (found["good"].mask == 1).sum() == 9
    assert len(losses) == 1 and "image at 1" in losses[0] and len(losses[0]) < 300 and "\0" not in losses[0]


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_hostile_label_is_left_out(tmp_path, label):
    kinds = [{"id": 1, "name": "bird"}, {"id": 2, "name": label}]
    found, losses = read_coco(tmp_path, [image(0)], [shape(0), shape(0, category_id=2)], kinds)
    assert found["good"].labels == ("background", "bird") and len(losses) == 1 and len(losses[0]) < 300
    assert losses[0].isprintable()


@pytest.mark.parametrize("segmentation", BAD_SHAPES, ids=range(len(BAD_SHAPES)))
def test_a_hostile_shape_is_left_out(tmp_path, segmentation):
    found, losses = read_coco(tmp_path, [image(0)], [shape(0, segmentation), shape(0)])
    assert (found["good"].mask == 1).sum() == 9 and len(losses) == 1 and len(losses[0]) < 300
    assert "good: annotation 5" in losses[0]


@pytest.mark.parametrize("side", [0, -1, 30_000, 2**40, 8.0, True, "8", None])
def test_a_hostile_size_takes_no_memory(tmp_path, side):
    found, losses = read_coco(tmp_path, [image(0), image(1, "big.png", side)], [shape(0), shape(1)])
    assert list(found) == ["good"] and "image at 1" in losses[0]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\0", '{"images": 1}', '{"images": {}}'])
def test_a_file_that_is_no_coco_is_refused(tmp_path, text):
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(BdganError):
        list(FORMATS["coco"].read_annotations(tmp_path, []))


def test_ids_that_are_no_ids_and_orphans_are_named(tmp_path):
    bad = [shape([1]), shape(9), "text", None, shape(0, category_id=[]), {"image_id": 0}]
    found, losses = read_coco(tmp_path, [image(0), image(0, "twin.png"), 5, {}], [shape(0), *bad])
    assert list(found) == ["good"] and len(losses) == 9


def test_more_than_255_objects_are_told(tmp_path):
    runs = [{"size": [20, 20], "counts": [k, 1, 399 - k]} for k in range(300)]
    found, losses = read_coco(tmp_path, [image(0, side=20)], [shape(0, run) for run in runs])
    item = found["good"]
    assert (item.mask == 1).sum() == 300 and len(np.unique(item.instances)) == 256
    assert losses == ["good: 45 objects beyond the 255th are of no object here"]


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'
FETCH = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'


@pytest.mark.parametrize("text", [BOMB, FETCH, "<!DOCTYPE a><annotations/>", "", "<a>", "\0"])
def test_xml_with_entities_or_damage_is_refused(tmp_path, text):
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(BdganError, match="not plain XML"):
        list(FORMATS["cvat"].read_annotations(tmp_path, []))


@pytest.mark.parametrize(
    "bad",
    [
        '<mask label="a" rle="1,1" left="7" top="0" width="2" height="1"/>',
        '<mask label="a" rle="1,9" left="0" top="0" width="2" height="1"/>',
        '<mask label="a" rle="x" left="0" top="0" width="2" height="1"/>',
        '<mask label="a" rle="0,1" left="0" top="0" width="-1" height="-1"/>',
        '<box label="a" xtl="nan" ytl="0" xbr="2" ybr="2"/>',
        '<box label="a" xtl="0" ytl="0" xbr="2" ybr="2" rotation="inf"/>',
        '<ellipse label="a" cx="2" cy="2" rx="1e9" ry="1"/>',
        '<ellipse label="a" cx="2" cy="2" rx="-1" ry="1"/>',
        '<ellipse label="a" cx="2" cy="2" rx="1" ry="1" rotation="nan"/>',
        '<polygon label="a" points="1,1;2,2"/>',
        '<polygon label="a" points="1,1;2;3,3"/>',
        '<polygon points="1,1;4,1;4,4"/>',
        '<polygon label="a" group_id="x" points="1,1;4,1;4,4"/>',
        '<polyline label="a" points="1,1;4,1;4,4"/>',
        '<tag label="a"/>',
    ],
)
def test_a_hostile_cvat_shape_is_left_out(tmp_path, bad):
    good = '<box label="b" xtl="1" ytl="1" xbr="4" ybr="4"/>'
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><version>1.1</version><track id="0"/><image name="../x.png" width="8" height="8"/>'
        f'<image name="good.png" width="8" height="8">{bad}{good}</image></annotations>'
    )
    losses = []
    (item,) = FORMATS["cvat"].read_annotations(tmp_path, losses)
    assert item.name == "good" and (item.mask > 0).sum() == 9
    assert len(losses) == 3 and "good: a" in losses[2]


def png_text(pixels, size=None):
    return base64.b64encode(encode_png(pixels)[:size]).decode()


@pytest.mark.parametrize(
    "bad",
    [
        {"shape_type": "line", "points": [[1, 1], [4, 4]]},
        {"shape_type": ["polygon"], "points": [[1, 1], [4, 4], [1, 4]]},
        {"points": [[1, 1], [4, 4]]},
        {"points": [[1, 1], [4, 1], [4, float("inf")]]},
        {"shape_type": "circle", "points": [[1, 1]]},
        {"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "no base64"},
        {"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": png_text(np.ones((2, 2), np.uint8), 45)},
        {"shape_type": "mask", "points": [[1, 1], [3, 2]], "mask": png_text(np.ones((2, 2), np.uint8))},
        {"shape_type": "mask", "points": [[1, 1], [2, 3]], "mask": png_text(np.ones((2, 2), np.uint8))},
        {"shape_type": "mask", "points": [[8, 8], [9, 9]], "mask": png_text(np.ones((2, 2), np.uint8))},
        {
            "shape_type": "mask",
            "points": [[1, 1], [2, 2], [3, 3]],
            "mask": png_text(np.ones((2, 2), np.uint8)),
        },
        {"shape_type": "circle", "points": [[4, 4], [4, 6], [6, 4]]},
        {"shape_type": "rectangle", "points": [[1, 1], [4, 1], [4, 4]]},
        {"shape_type": "rectangle", "points": [[1, 2], [4, 1], [5, 4], [2, 5]]},
        {"shape_type": "oriented_rectangle", "points": [[1, 2], [4, 1], [5, 4]]},
        {"shape_type": "mask", "points": [[1, 1], [2, 2]]},
        {"points": [[1, 1], [4, 1], [4, 4]], "group_id": "one"},
        {"points": [[1, 1], [4, 1], [4, 4]], "label": "a\0"},
        "text",
    ],
)
def test_a_hostile_labelme_shape_is_left_out(tmp_path, bad):
    good = {"label": "a", "shape_type": "rectangle", "points": [[3, 3], [1, 1]]}
    bad = {"label": "a"} | bad if isinstance(bad, dict) else bad
    record = {"imageHeight": 8, "imageWidth": 8, "shapes": [bad, good], "imagePath": "../../etc/passwd"}
    (tmp_path / "good.json").write_text(json.dumps(record))
    (tmp_path / "bad name.json").write_text("{}")
    (tmp_path / "damaged.json").write_text("{")
    losses = []
    (item,) = FORMATS["labelme"].read_annotations(tmp_path, losses)
    assert item.name == "good" and (item.mask > 0).sum() == 9
    assert len(losses) == 3 and "good: shape at 0" in losses[2]


def test_png_folders_of_any_tool_come_in_and_others_are_named(tmp_path):
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
    palette = Image.fromarray(ids)
    palette.putpalette(list(range(60)))
    pictures = {"grey": Image.fromarray(ids), "palette": palette, "bad name": palette,
                "deep": Image.fromarray(ids.astype(np.uint16)), "seven": Image.fromarray(ids + 1),
                "beyond": Image.fromarray(ids.astype(np.uint16) * 100),
                "colours": Image.fromarray(np.zeros((2, 3, 3), np.uint8))}  # fmt: skip
    for kind in ("labels", "instances"):
        (tmp_path / kind).mkdir()
    for name, picture in pictures.items():
        picture.save(tmp_path / f"labels/{name}.png")
    (tmp_path / "labels/note.txt").write_text("no picture")
    (tmp_path / "labels/cut.png").write_bytes((tmp_path / "labels/grey.png").read_bytes()[:40])
    (tmp_path / "labels.txt").write_text("ground\na\nb\nc\nd\ne\n")
    (tmp_path / "instances/orphan.png").write_bytes(encode_png(ids))
    losses = []
    found = list(FORMATS["png"].read_annotations(tmp_path, losses))
    assert [item.name for item in found] == ["deep", "grey", "palette"]
    assert all(np.array_equal(item.mask, ids) and item.labels[5] == "e" for item in found)
    told = [loss.split(":")[0] for loss in losses]
    assert told == [f"'{n}'" for n in ("bad name.png", "beyond.png", "colours.png", "cut.png", "note.txt",
                                       "seven.png", "orphan.png")]  # fmt: skip
    (tmp_path / "labels.txt").unlink()
    labels = {item.name: item.labels for item in FORMATS["png"].read_annotations(tmp_path, [])}
    assert labels["grey"][5] == "label 5"


@pytest.mark.parametrize("key", ["id", "class_name", "classes", "seed", "sampling", "extra", "instances"])
@pytest.mark.parametrize("value", [None, "../../x", -1, [[]], {"a": "b"}])
def test_a_hostile_record_is_refused_and_the_rest_comes_in(tmp_path, sent, key, value):
    export_annotations(sent, grey(sent), tmp_path / "out", "coco")
    path = tmp_path / "out/samples.json"
    samples = json.loads(path.read_text())
    samples["robin_1"][key] = value
    path.write_text(json.dumps(samples))
    back, losses = import_annotations(tmp_path / "out", "coco")
    assert same(back[-1], sent[1])
    legal = key == "instances" or (key, str(value)) in {("class_name", "../../x"), ("extra", "{'a': 'b'}")}
    assert [len(back), len(losses)] == [2, 0] if legal else [1, 1], losses


def test_a_256th_class_is_refused_and_not_taken_for_unlabelled():
    from bdgan_lib.datasets.formats.exchange import _annotation

    classes = ("background", *(f"part {k}" for k in range(1, 255)))
    plain = Annotation("a_1", "a", 0, 1, Sampling(0.5), "0" * 64, np.zeros((2, 2), np.uint8), "me", classes)
    record = plain.to_json() | {"instances": False}
    shown = LabelledImage("a_1", np.ones((2, 2), np.uint8), ("background", "claw"))
    with pytest.raises(BdganError, match="at most 255 labels, got 'claw' as the 256th"):
        _annotation(shown, record, [])
