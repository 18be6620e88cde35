"""Laws of click-to-segment that every segmenter obeys, and what each of them is good for."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bdgan_lib.annotation.assist import overlap
from bdgan_lib.annotation.candidates import image_source
from bdgan_lib.annotation.feature_segmenter import FeatureSegmenter
from bdgan_lib.annotation.promptable import PromptableSegmenter, SamOnnx
from bdgan_lib.annotation.segmenters import GrabCutSegmenter
from bdgan_lib.annotation.simulate import box_around, clicks, deepest, draw_clicks
from bdgan_lib.core.types import BdganError
from bdgan_lib.profiles import load_profile


def picture(height=60, width=80, centre=(30, 40), radius=16, seed=0):
    """A reddish disc on noisy green, and where it is."""
    rows, columns = np.indices((height, width))
    disc = np.hypot(rows - centre[0], columns - centre[1]) < radius
    image = np.where(disc[..., None], (200, 60, 40), (60, 150, 70))
    noise = np.random.default_rng(seed).normal(0, 8, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), disc


def near(image, places, labels, box):
    """A stand-in for a promptable model: logits fall with the distance from the first point or the box."""
    rows, columns = np.indices(image.shape[:2])
    x, y = places[0] if len(places) else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return 10.0 - np.hypot(rows + 0.5 - y, columns + 0.5 - x)


@pytest.fixture(scope="module")
def world():
    profile = load_profile("pocket")
    return profile.generator(), list(profile.annotations())[:3]  # of one class, which is learnt once


@pytest.fixture(scope="module")
def samples(world):
    generator, items = world
    source, segmenter = image_source(generator), FeatureSegmenter(generator, items, count=12)
    return segmenter, [(segmenter.start(item.id, source(item)), item.mask > 0) for item in items]


@pytest.fixture(params=["grabcut", "promptable", "features"])
def started(request):
    if request.param == "features":
        return request.getfixturevalue("samples")[1][0][0], (64, 64)
    segmenter = GrabCutSegmenter() if request.param == "grabcut" else PromptableSegmenter(near)
    assert segmenter.name == request.param
    return segmenter.start("any", picture()[0]), (60, 80)


def test_clicks_are_obeyed_and_more_of_them_never_raise(started):
    one, (height, width) = started
    noise, points = np.random.default_rng(0), []
    for k in range(25):
        points.append((*(noise.random(2) * (width, height)).tolist(), bool(k % 3 == 0)))
        mask, uncertainty = one.predict(points)
        assert mask.dtype == bool and mask.shape == (height, width) == uncertainty.shape
        assert uncertainty.dtype == np.float32 and 0 <= uncertainty.min() <= uncertainty.max() <= 1
        for x, y, is_object in points:
            assert mask[int(y), int(x)] == is_object
    again = one.predict(points)
    assert np.array_equal(mask, again[0]) and np.array_equal(uncertainty, again[1])


def test_of_two_clicks_on_a_pixel_the_later_counts(started):
    one, _ = started
    for first in (True, False):
        mask, _ = one.predict([(30.2, 30.7, first), (30.9, 30.1, not first)])
        assert mask[30, 30] == (not first)


def test_points_on_the_rim_belong_to_the_last_pixel(started):
    one, (height, width) = started
    mask, _ = one.predict([(width, height, True), (0, 0, True), (width, 0, False)])
    assert mask[-1, -1] and mask[0, 0] and not mask[0, -1]


def test_a_box_holds_the_mask_and_widens_for_a_click_on_the_object(started):
    one, (height, width) = started
    for points in ([], [(30, 30, True)], [(30, 30, True), (22, 22, False)], [(25, 25, False)]):
        mask, uncertainty = one.predict(points, (20, 18, 45, 44))
        outside = np.ones_like(mask)
        outside[18:44, 20:45] = False
        assert not mask[outside].any() and not uncertainty[outside].any()
    assert one.predict([(50.5, 30, True)], (20, 18, 45, 44))[0][30, 50]
    whole = one.predict([(30, 30, True)], (-9, -9, width + 9, height + 9))[0]
    assert np.array_equal(whole, one.predict([(30, 30, True)], (0, 0, width, height))[0])


def test_without_a_click_on_the_object_the_mask_is_empty(started):
    mask, uncertainty = started[0].predict([(5, 5, False)])
    assert not mask.any() and (uncertainty == 1).all()


@pytest.mark.parametrize(
    ("points", "box", "line"),
    [
        ([], None, "expected a point or a box, got neither"),
        ([(-1, 5, True)], None, "point -1, 5 is outside the image"),
        ([(5, 99, False)], (1, 1, 9, 9), "point 5, 99 is outside"),
        ([(5, float("nan"), True)], None, "outside the image"),
        ([(5, 5, True)], (9, 5, 5, 9), "no pixel of the"),
        ([], (200, 5, 300, 9), "no pixel"),
    ],
)
def test_misuse_is_named(started, points, box, line):
    with pytest.raises(BdganError, match=line):
        started[0].predict(points, box)


def test_what_is_learnt_decides_and_is_forgotten(world):
    generator, items = world
    source, segmenter = image_source(generator), FeatureSegmenter(generator, items, count=4)
    object_, image = items[0].mask > 0, source(items[0])
    x, y = deepest(~object_)

    def clicked():
        return segmenter.start(items[0].id, image).predict([(x + 0.5, y + 0.5, True)])[0]

    unlabelled, state = clicked(), torch.get_rng_state()
    segmenter.learn([replace(a, mask=(a.mask == 0).astype(np.uint8)) for a in items])  # the background
    learnt = clicked()
    assert overlap(learnt, ~object_) > 0.75 > 0.5 > overlap(unlabelled, ~object_)
    assert np.array_equal(learnt, clicked()) and torch.equal(state, torch.get_rng_state())
    one_pixel = np.full((512, 512), 255, np.uint8)
    one_pixel[0, 0] = 1  # none of it is left at the size of the features
    masks = np.full_like(items[1].mask, 255), one_pixel, np.ones_like(items[1].mask)
    for nothing in ([], items[:1], *([replace(items[1], mask=mask)] for mask in masks)):
        segmenter.learn(nothing)  # an image does not teach what is on itself
        assert np.array_equal(clicked(), unlabelled)


@pytest.mark.parametrize("how", ["point", "box", "both"])
def test_grabcut_finds_the_disc(how):
    image, disc = picture()
    points = [(40, 30, True)] if how != "box" else []
    mask, uncertainty = (
        GrabCutSegmenter().start("", image).predict(points, box_around(disc, 2) if how != "point" else None)
    )
    assert overlap(mask, disc) > 0.93
    assert uncertainty[disc ^ mask].mean() > uncertainty[disc == mask].mean() if (disc ^ mask).any() else True


def test_the_disc_moves_and_the_mask_with_it():
    (here, disc), (there, moved) = picture(), picture(centre=(24, 52))
    first, second = (GrabCutSegmenter().start("", image) for image in (here, there))
    a, b = first.predict([(40, 30, True)])[0], second.predict([(52, 24, True)])[0]
    assert overlap(np.roll(a, (-6, 12), (0, 1)), b) > 0.95
    assert overlap(a, disc) > 0.93 < overlap(b, moved)


def test_a_small_object_of_a_large_picture_keeps_its_outline():
    image, disc = picture(1500, 2048, (700, 900), 90)
    tracemalloc.start()
    mask, _ = GrabCutSegmenter().start("", image).predict([(900, 700, True)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert overlap(mask, disc) > 0.95 and peak < 300e6


sides = st.integers(1, 7)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_grabcut_takes_any_picture_any_clicks_and_any_box(data):
    height, width = data.draw(sides), data.draw(sides)
    colours = st.integers(0, 255) if data.draw(st.booleans()) else st.just(7)  # one colour alone
    image = data.draw(arrays(np.uint8, (height, width, 3), elements=colours))
    point = st.tuples(st.floats(0, width), st.floats(0, height), st.booleans())
    points = data.draw(st.lists(point, max_size=3))
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    mask, uncertainty = (
        GrabCutSegmenter()
        .start("", image)
        .predict(points, box if not points or data.draw(st.booleans()) else None)
    )
    assert mask.shape == uncertainty.shape == (height, width)
    said = {(min(int(y), height - 1), min(int(x), width - 1)): on for x, y, on in points}
    assert all(mask[at] == on for at, on in said.items())


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (2, 900), (1, 1)])
def test_thin_pictures_of_one_colour(shape):
    image = np.full((*shape, 3), 90, np.uint8)
    mask, _ = GrabCutSegmenter().start("", image).predict([(0.5, 0.5, True)])
    assert mask.shape == shape and mask[0, 0]


def test_an_image_is_checked():
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(BdganError, match="expected a uint8 image"):
            GrabCutSegmenter().start("", image)


def test_features_know_the_object_after_a_click(samples):
    _, started = samples
    assert np.mean([clicks(draw_clicks(one, truth, cap=8)) for one, truth in started]) <= 6
    for one, truth in started:
        moves = draw_clicks(one, truth, 0.75, cap=4)
        assert moves[0].clicks == 1 and len(moves) <= 4


def test_an_unknown_item_is_named(samples):
    with pytest.raises(BdganError, match="stranger is none of the 3 items"):
        samples[0].start("stranger", np.zeros((64, 64, 3), np.uint8))


def test_clicks_are_counted_with_and_without_a_box():
    image, disc = picture()
    one = GrabCutSegmenter().start("", image)
    assert clicks(draw_clicks(one, disc)) == 1 and clicks(draw_clicks(one, disc, box=True)) == 2
    stubborn = PromptableSegmenter(lambda image, *_: np.zeros(image.shape[:2], bool)).start("", image)
    moves = draw_clicks(stubborn, disc, cap=3)
    assert [m.stroke["op"] for m in moves] == ["mask"] * 4 + ["polygon"] and moves[-1].clicks > 4
    assert draw_clicks(one, np.zeros_like(disc)) == []


def test_a_model_gets_points_labels_and_box_and_may_answer_logits_or_a_mask():
    image, seen = picture()[0], []

    def model(image, places, labels, box):
        seen.append((places.tolist(), labels.tolist(), box))
        return np.ones(image.shape[:2], bool)

    one = PromptableSegmenter(model).start("", image)
    one.predict([(3.2, 4.9, True), (9, 9, False)], (1.5, 2, 20, 21.5))
    assert seen == [([[3.5, 4.5], [9.5, 9.5]], [1, 0], (1, 2, 20, 22))]
    small = PromptableSegmenter(lambda *_: np.zeros((2, 2))).start("", image)
    with pytest.raises(BdganError, match=r"expected a mask \[60, 80\] from the model, got \[2, 2\]"):
        small.predict([(3, 4, True)])


def test_onnx_without_onnxruntime_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(BdganError, match=r'pip install "bdgan-lib\[segment\]"'):
        SamOnnx(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx")


def test_an_onnx_pair_of_sams_form_segments(tmp_path):
    """A stand-in graph: the mask is the image's red channel less 0.5, whatever the points."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    info = lambda name, shape: helper.make_tensor_value_info(name, floats, shape)
    constant = lambda name, values, kind=floats: helper.make_tensor(name, kind, [len(values)], values)

    def save(name, nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    encoder = save(
        "encoder", [helper.make_node("Identity", ["images"], ["image_embeddings"])],
        [info("images", [1, 3, 80, 80])], [info("image_embeddings", [1, 3, 80, 80])],
    )  # fmt: skip
    inputs = {
        "image_embeddings": [1, 3, 80, 80], "point_coords": [1, "n", 2], "point_labels": [1, "n"],
        "mask_input": [1, 1, 20, 20], "has_mask_input": [1], "orig_im_size": [2],
    }  # fmt: skip
    integers = onnx.TensorProto.INT64
    nodes = [
        helper.make_node("Cast", ["orig_im_size"], ["size"], to=integers),
        helper.make_node("Slice", ["image_embeddings", "zeros", "size", "axes"], ["cut"]),
        helper.make_node("Slice", ["cut", "zero", "one", "first"], ["masks"]),
        helper.make_node("ReduceMax", ["masks"], ["iou_predictions"], axes=[2, 3], keepdims=0),
        *(helper.make_node("Identity", [k], [f"{k}_out"]) for k in ("point_coords", "point_labels")),
    ]
    constants = [
        constant("zeros", [0, 0], integers), constant("axes", [2, 3], integers),
        constant("zero", [0], integers), constant("one", [1], integers), constant("first", [1], integers),
    ]  # fmt: skip
    outputs = [info("masks", [1, 1, "h", "w"]), info("iou_predictions", [1, 1])]
    decoder = save("decoder", nodes, [info(*pair) for pair in inputs.items()], outputs, constants)
    image, disc = picture()
    one = PromptableSegmenter(SamOnnx(encoder, decoder)).start("", image)
    assert overlap(one.predict([(40, 30, True)])[0], disc) > 0.98
    inside = one.predict([(40, 30, True)], (30, 20, 50, 40))[0]
    assert inside[20:40, 30:50].all() and inside.sum() == 400
    with pytest.raises(BdganError, match="lacks the inputs has_mask_input, image_embeddings"):
        SamOnnx(encoder, encoder)
    with pytest.raises(BdganError, match="no ONNX file"):
        SamOnnx(encoder, tmp_path / "none.onnx")
