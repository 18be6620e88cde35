"""Label Studio: its run lengths bit by bit, its shapes by their formulas, and which annotation is read."""

import json
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats import label_studio
from bdgan_lib.datasets.formats.label_studio import decode_brush, encode_brush
from bdgan_lib.datasets.formats.shapes import LabelledImage

HEIGHT, WIDTH = 24, 32
MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))
LABELS = ("background", "beak", "wing")


def plain_decoder(numbers):
    """The values of @thi.ng/rle-pack by the description of its format, one bit at a time.

    32 bits: how many values; 5: bits per value, less 1; four times 4: bits of a run's length, less 1. Then
    runs: 1 bit, whether a value is repeated; 2: which length; the length, less 1; the value or the values.
    """
    bits = iter("".join(f"{number:08b}" for number in numbers))

    def take(count):
        return int("".join(next(bits) for _ in range(count)), 2)

    total, word = take(32), take(5) + 1
    lengths, values = [take(4) + 1 for _ in range(4)], []
    while len(values) < total:
        same = take(1)
        run = take(lengths[take(2)]) + 1
        values += [take(word)] * run if same else [take(word) for _ in range(run)]
    assert len(values) == total
    return np.array(values)


def packed(values, noise):
    """Values packed as literals and runs of any size, as that format allows."""
    bits, at, lengths = (
        f"{len(values):032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (2, 5, 9, 16)),
        0,
        (2, 5, 9),
    )
    while at < len(values):
        kind = int(noise.integers(3))
        run = min(int(noise.integers(1, 2 ** lengths[kind] + 1)), len(values) - at)
        part = values[at : at + run].tolist()
        same = len(set(part)) == 1 and noise.random() < 0.8
        bits += f"{same:d}{kind:02b}{run - 1:0{lengths[kind]}b}"
        bits += "".join(f"{value:08b}" for value in (part[:1] if same else part))
        at += run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]


@settings(max_examples=60)
@given(mask=MASKS)
def test_label_studio_unpacks_the_pixels_we_packed(mask):
    rgba = plain_decoder(encode_brush(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(rgba, np.repeat(mask[..., None] * 255, 4, -1))
    assert np.array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


@pytest.mark.parametrize("seed", range(30))
def test_runs_and_single_values_of_any_colour_and_opacity_are_read(seed):
    noise = np.random.default_rng(seed)
    height, width = noise.integers(1, 30, 2)
    rgba = noise.integers(0, 256, (height, width, 4)) * (noise.random((height, width, 1)) < 0.5)
    if seed % 2:
        rgba = np.sort(rgba, axis=0)
    numbers = packed(rgba.ravel(), noise)
    assert np.array_equal(plain_decoder(numbers), rgba.ravel())
    assert np.array_equal(decode_brush(numbers, height, width), rgba[..., 3] > 0)


def test_what_the_browser_packs_is_read():
    # six RGBA pixels, two of them half and nearly transparent, by @thi.ng/rle-pack 3.2.12
    numbers = [0, 0, 0, 24, 57, 27, 252, 96, 3, 132, 132, 3, 191, 132, 132, 3, 128, 198, 1, 63, 248]
    assert decode_brush(numbers, 2, 3).tolist() == [[False, True, True], [False, True, True]]


def test_long_runs_are_split_and_large_masks_take_no_time():
    mask = np.zeros((700, 900), bool)
    mask[300:, 5:] = True
    assert np.array_equal(decode_brush(encode_brush(mask), 700, 900), mask)


@pytest.mark.parametrize(
    "numbers",
    [[], [0] * 8, [0, 0, 0, 16, 57], [255] * 30, encode_brush(np.eye(2) > 0)[:-4], [0, 0, 0, 16, 255] * 9],
)
def test_damaged_run_lengths_are_refused_and_take_no_memory(numbers):
    with pytest.raises(BdganError, match="run lengths"):
        decode_brush(numbers, 2, 2)


# -- tasks


def region(label="wing", **value):
    known = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "to_name": "image"}
    return known | {"value": value | {"polygonlabels": [label]}}


def rectangle(left, top, right, bottom, label="wing"):
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return region(label, points=(np.array(corners) / (WIDTH, HEIGHT) * 100).tolist())


def read(tmp_path, tasks, file="project-1-at-2024-05-01-10-00-aaaaaaaa.json"):
    (tmp_path / file).write_text(json.dumps(tasks))
    losses = []
    return {item.name: item for item in label_studio.read_annotations(tmp_path, losses)}, losses


def task(*annotations, image="/data/upload/3/0a1b2c3d-robin_7.png", **more):
    return {"id": 9, "data": {"image": image}, "annotations": list(annotations), "predictions": []} | more


def annotation(*result, **more):
    times = {"created_at": "2024-05-01T10:00:00.000000Z", "updated_at": "2024-05-01T10:00:00.000000Z"}
    return {"id": 5, "was_cancelled": False, "result": list(result)} | times | more


def test_the_files_are_those_that_label_studio_imports(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:9, 3:9], mask[12:, 20:] = 1, 255
    label_studio.write_annotations(
        [LabelledImage("robin_7", mask, LABELS, (mask == 1) * np.uint8(3))], tmp_path
    )
    (only,) = json.loads((tmp_path / "tasks.json").read_text())
    assert only["data"] == {
        "image": "/data/local-files/?d=images/robin_7.png",
        "width": WIDTH,
        "height": HEIGHT,
    }
    void, beak = only["annotations"][0]["result"]
    assert beak["value"]["brushlabels"] == ["beak"] and beak["meta"] == {"text": ["object 3"]}
    assert void["value"]["brushlabels"] == ["unlabelled"] and "meta" not in void
    for result in (beak, void):
        assert [result[key] for key in ("type", "to_name", "original_width", "original_height")] == [
            "brushlabels", "image", WIDTH, HEIGHT,
        ]  # fmt: skip
        assert result["value"]["format"] == "rle" and result["image_rotation"] == 0
    config = ElementTree.parse(tmp_path / "label_config.xml").getroot()
    assert config.tag == "View" and config.find("Image").attrib["value"] == "$image"
    brush = config.find("BrushLabels")
    assert (brush.attrib["name"], brush.attrib["toName"]) == (beak["from_name"], beak["to_name"])
    assert {each.tag for each in config} == {
        "Image", "BrushLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels",
    }  # fmt: skip
    for control in list(config)[1:]:
        assert [label.attrib["value"] for label in control] == ["beak", "wing", "unlabelled"]


@pytest.mark.parametrize(
    "image",
    ["/data/upload/3/0a1b2c3d-robin_7.png", "/data/local-files/?d=images/robin_7.png", "images/robin_7.png",
     "/data/local-files/?d=" + quote("my day\\robin_7.png"), "http://localhost:8080/data/upload/3/0a1b2c3d-robin_7.png",
     "https://ls.host/data/local-files/?d=a/b/robin_7.JPG"],
)  # fmt: skip
def test_the_addresses_at_which_label_studio_serves_a_file_name_it(tmp_path, image):
    items, losses = read(tmp_path, [task(annotation(rectangle(2, 2, 9, 9)), image=image)])
    assert list(items) == ["robin_7"] and not losses


@pytest.mark.parametrize(
    "image",
    ["/data/local-files/?d=../robin_7.png", "/data/local-files/?d=%2e%2e/robin_7.png", None, 7,
     "/data/local-files/?d=/robin_7.png", "/data/upload/3/0a1b2c3d-../../robin_7.png",
     "s3://bucket/robin_7.png", "https://host/robin_7.png"],
)  # fmt: skip
def test_other_addresses_and_paths_that_lead_outside_pair_with_nothing(tmp_path, image):
    items, losses = read(tmp_path, [task(annotation(rectangle(2, 2, 9, 9)), image=image)])
    assert not items and len(losses) == 1 and "task at 0" in losses[0]


def test_a_picture_under_another_name_of_the_data_is_taken_if_it_is_the_only_one(tmp_path):
    one = task(annotation(rectangle(2, 2, 9, 9))) | {"data": {"img": "a/robin_7.png", "note": "good"}}
    two = task(annotation(rectangle(2, 2, 9, 9))) | {"data": {"left": "a.png", "right": "b.png"}}
    items, losses = read(tmp_path, [one, two])
    assert list(items) == ["robin_7"] and "task at 1" in losses[0]


def test_of_several_annotations_the_newest_that_was_not_cancelled_is_read(tmp_path):
    old, new = annotation(rectangle(2, 2, 9, 9)), annotation(rectangle(9, 9, 20, 20, "beak"))
    new["updated_at"] = "2024-06-01T09:00:00.000000Z"
    last = annotation(rectangle(0, 0, 3, 3), was_cancelled=True, updated_at="2024-07-01T09:00:00.000000Z")
    items, losses = read(tmp_path, [task(new, old, last)])
    assert items["robin_7"].labels == ("background", "beak") and items["robin_7"].whole
    assert losses == ["robin_7: of 2 annotations the newest is read, 2024-06-01T09:00:00.000000Z"]


@pytest.mark.parametrize(
    ("annotations", "told"),
    [([], "got no; submit"), ([annotation(rectangle(2, 2, 9, 9), was_cancelled=True)], "got 1 cancelled")],
)
def test_a_task_that_nobody_annotated_is_no_background(tmp_path, annotations, told):
    predictions = [{"result": [rectangle(2, 2, 9, 9)]}]
    items, losses = read(tmp_path, [task(*annotations, predictions=predictions)])
    assert not items and told in losses[0] and "robin_7" in losses[0]


def test_an_annotation_without_regions_is_background(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/robin_7.png").write_bytes(encode_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    items, losses = read(tmp_path, [task(annotation())])
    assert not items["robin_7"].mask.any() and items["robin_7"].whole and not losses


def test_what_is_no_region_is_named_and_the_label_is_whole(tmp_path):
    geometry = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}
    others = [
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "choices", "value": {"choices": ["sharp"]}},
        {"type": "textarea", "value": geometry | {"text": ["a wing"]}},
        {"type": "rating", "value": {"rating": 3}},
        {"type": "taxonomy", "value": {"taxonomy": [["bird", "robin"]]}},
    ]
    items, losses = read(tmp_path, [task(annotation(rectangle(2, 2, 9, 9), *others))])
    assert items["robin_7"].whole and (items["robin_7"].mask > 0).sum() == 49
    assert losses == [
        f"robin_7: a {kind!r} at {k} is no region; it is left out"
        for k, kind in enumerate(("relation", "choices", "textarea", "rating", "taxonomy"), 1)
    ]


def test_labels_in_a_control_apart_are_those_of_the_shape_beside_them(tmp_path):
    shape = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    pair = [{"id": "a", "type": "rectangle", "value": shape} | size,
            {"id": "a", "type": "labels", "value": shape | {"labels": ["wing"]}} | size]  # fmt: skip
    items, losses = read(tmp_path, [task(annotation(*pair))])
    assert (items["robin_7"].mask[6:18, 8:24] == 1).all() and (items["robin_7"].mask > 0).sum() == 12 * 16
    assert not losses and items["robin_7"].whole
    items, losses = read(tmp_path, [task(annotation(pair[0]))])
    assert not items["robin_7"].whole and "expected one label, got []" in losses[0]


def turned(degrees: float, x0: float, y0: float) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel's centre lies from a point, along and across a direction turned clockwise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    angle = np.radians(degrees)
    along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    return along, (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)


@pytest.mark.parametrize("turn", [0, 30, 90, 137, -45, 359])
def test_a_rectangle_turns_clockwise_about_its_corner(tmp_path, turn):
    left, top, width, height = 14.3, 10.2, 9.1, 6.4
    value = {"x": left / WIDTH * 100, "y": top / HEIGHT * 100, "width": width / WIDTH * 100,
             "height": height / HEIGHT * 100, "rotation": turn}  # fmt: skip
    items, _ = read(tmp_path, [task(annotation(region(**value)))])
    along, across = turned(turn, left, top)
    inside = np.minimum.reduce([along, width - along, across, height - across])
    mask = items["robin_7"].mask == 1
    assert mask[inside > 0.8].all() and not mask[inside < -0.8].any()


@pytest.mark.parametrize("turn", [0, 25, 90, 160])
def test_an_ellipse_lies_about_its_centre(tmp_path, turn):
    cx, cy, rx, ry = 15.5, 11.5, 10.0, 4.0
    value = {"x": cx / WIDTH * 100, "y": cy / HEIGHT * 100, "radiusX": rx / WIDTH * 100,
             "radiusY": ry / HEIGHT * 100, "rotation": turn}  # fmt: skip
    items, _ = read(tmp_path, [task(annotation(region(**value)))])
    along, across = turned(turn, cx, cy)
    mask = items["robin_7"].mask == 1
    assert mask[(along / (rx - 0.8)) ** 2 + (across / (ry - 0.8)) ** 2 < 1].all()
    assert not mask[(along / (rx + 0.8)) ** 2 + (across / (ry + 0.8)) ** 2 > 1].any()


def test_regions_of_different_sizes_are_refused(tmp_path):
    other = rectangle(2, 2, 9, 9) | {"original_width": 2 * WIDTH}
    items, losses = read(tmp_path, [task(annotation(rectangle(2, 2, 9, 9), other))])
    assert not items and "regions of one size" in losses[0]


def test_two_tasks_of_one_picture_replace_nothing(tmp_path):
    one, two = annotation(rectangle(2, 2, 9, 9)), annotation(rectangle(9, 9, 20, 20))
    items, losses = read(
        tmp_path, [task(one), task(two, image="b/robin_7.jpg"), task(one, image="mug_2.png")]
    )
    assert not items["robin_7"].whole and items["mug_2"].whole
    assert losses == ["task at 1 ('b/robin_7.jpg'): a second image is named robin_7; give each another name"]


def flat(result, **more):
    """An entry of JSON-MIN: the values of the results by their control, without ids, types and notes."""
    sizes = ("original_width", "original_height")
    values = [part["value"] | {key: part[key] for key in sizes} for part in result]
    entry = {"image": "/data/upload/3/0a1b2c3d-robin_7.png", "id": 9, "polygon": values, "annotator": 1}
    times = {"created_at": "2024-05-01T10:00:00Z", "updated_at": "2024-05-01T10:00:00Z", "lead_time": 3.5}
    return entry | {"annotation_id": 5} | times | more


def test_json_min_is_read_and_says_that_it_has_no_objects(tmp_path):
    entries = [flat([rectangle(2, 2, 9, 9), rectangle(12, 2, 15, 9)]),
               flat([rectangle(9, 9, 20, 20, "beak")], updated_at="2024-06-01T10:00:00Z"),
               flat([rectangle(2, 2, 9, 9)], id=10, image="b/mug_2.png", choice="sharp"),
               {"image": "b/mug_3.png", "id": 11, "annotator": "", "annotation_id": None}]  # fmt: skip
    items, losses = read(tmp_path, entries)
    assert set(items) == {"robin_7", "mug_2"} and items["robin_7"].labels == ("background", "beak")
    assert "JSON-MIN" in losses[0] and "of 2 annotations" in losses[1] and "mug_3: expected" in losses[2]
    assert items["mug_2"].whole and np.unique(items["mug_2"].instances).tolist() == [0, 1]


def test_an_exported_file_stands_before_ours_and_two_are_refused(tmp_path):
    label_studio.write_annotations([LabelledImage("robin_7", np.ones((4, 4), np.uint8), LABELS)], tmp_path)
    assert len(list(label_studio.read_annotations(tmp_path, []))) == 1
    (tmp_path / "samples.json").write_text("{}")
    items, _ = read(tmp_path, [task(annotation(rectangle(2, 2, 9, 9)))])
    assert items["robin_7"].mask.shape == (HEIGHT, WIDTH)
    with pytest.raises(BdganError, match="remove the old ones"):
        read(tmp_path, [], "project-1-at-2024-05-02.json")


@pytest.mark.parametrize("text", ["", "{}", "{", "[" * 100_000, "\0", "7"])
def test_a_file_that_is_no_list_of_tasks_is_refused(tmp_path, text):
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(BdganError):
        list(label_studio.read_annotations(tmp_path, []))


def test_entries_that_are_no_tasks_are_named(tmp_path):
    bad = [
        None,
        7,
        {},
        {"data": {}},
        {"image": "robin_8.png", "id": 3},
        {"data": {"image": "a.png"}, "annotations": 5},
    ]
    items, losses = read(tmp_path, [*bad, task(annotation(rectangle(2, 2, 9, 9)))])
    assert list(items) == ["robin_7"] and sum("task at" in loss for loss in losses) == len(bad)
