"""Scores against torchmetrics, against counting by hand, and against every kind of bad folder."""

import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bdgan_lib.core.image_codecs import decode_png, encode_png
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.benchmark.masks import Findings, read_mask
from bdgan_lib.downstream.benchmark.score import score
from bdgan_lib.downstream.benchmark.truth import TruthFolder, TruthInMemory, write_truth
from bdgan_lib.downstream.tasks import task_of_groups
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.profiles import load_profile


def arrays(folder, truth):
    """All pixels, (predicted, wanted)."""
    both = [(decode_png((folder / f"{id}.png").read_bytes()), truth.label(id)) for id in truth.ids]
    return tuple(np.concatenate([pair[k].ravel() for pair in both]) for k in (0, 1))


def test_the_score_is_torchmetrics(task, truth, predict):
    metrics = pytest.importorskip("torchmetrics.classification")
    folder = predict()
    result = score(task, truth, folder, "mine")
    p, w = map(torch.from_numpy, arrays(folder, truth))
    for average, ours in (("none", result.iou), ("macro", result.miou)):
        theirs = metrics.MulticlassJaccardIndex(3, average=average, ignore_index=255)(p.long(), w.long())
        assert np.allclose(theirs.numpy(), ours, atol=1e-6)
    assert result.miou == pytest.approx(mean_iou(p.numpy(), w.numpy(), 3), abs=1e-12)


def test_a_case_by_hand(tmp_path, task):
    masks = {"a": np.uint8([[0, 0, 1, 1]]), "b": np.uint8([[2, 255, 0, 0]])}
    truth = TruthInMemory(masks, {})
    for id, row in (("a", [0, 1, 1, 1]), ("b", [0, 1, 0, 0])):
        (tmp_path / f"{id}.png").write_bytes(encode_png(np.array([row], np.uint8)))
    result = score(task, truth, tmp_path, "by hand", "2024-02-29")
    assert (result.both, result.predicted, result.target) == ((3, 2, 0), (4, 3, 0), (4, 2, 1))
    assert result.iou == pytest.approx((3 / 5, 2 / 3, 0))
    assert result.miou == pytest.approx((3 / 5 + 2 / 3 + 0) / 3)
    assert result.best == ("a", "b") and result.worst == ("b", "a")
    assert (result.images, result.date, result.labels) == (2, "2024-02-29", ("background", "cat", "dog"))


def test_the_truth_itself_scores_one_and_an_absent_label_none(task, truth, predict):
    perfect = score(task, truth, predict(share=0), "truth")
    assert perfect.miou == 1 and perfect.interval == (1, 1) and len(perfect.best) == 5
    more = task_of_groups("pocket", "Pets", {"cat": [0], "dog": [2], "cow": [1]}, 3)
    assert score(more, truth, predict("again", 0), "truth").iou == (1, 1, 1, None)


def test_the_interval_holds_the_score_and_narrows_with_more_images(task, tmp_path):
    widths, noise = [], np.random.default_rng(0)
    for count in (20, 320):
        labels = {f"i{n}": noise.integers(0, 3, (8, 8)).astype(np.uint8) for n in range(count)}
        folder = tmp_path / str(count)
        folder.mkdir()
        for id, mask in labels.items():
            wrong = noise.random(mask.shape) < noise.random()
            (folder / f"{id}.png").write_bytes(encode_png(np.where(wrong, 0, mask).astype(np.uint8)))
        result = score(task, TruthInMemory(labels, {}), folder, "noise")
        assert result.interval[0] < result.miou < result.interval[1]
        widths.append(result.interval[1] - result.interval[0])
    assert 2.5 < widths[0] / widths[1] < 6.5, "as one over the root of their number: 4"


def test_best_and_worst_are_by_each_image_s_own_score(task, truth, predict):
    folder = predict()
    predicted = {id: decode_png((folder / f"{id}.png").read_bytes()) for id in truth.ids}
    own = {id: mean_iou(mask, truth.label(id), 3) for id, mask in predicted.items()}
    order = sorted((id for id in own if not np.isnan(own[id])), key=lambda id: (-own[id], id))
    result = score(task, truth, folder, "mine")
    assert list(result.best) == order[:5] and list(result.worst) == order[::-1][:5]
    assert result.images == len(order) == 7, "one has no labelled pixel"


def test_the_fingerprint_is_of_the_label_ids_not_of_the_files(task, truth, predict):
    folder, again = predict("one"), predict("two")
    for path in again.iterdir():
        Image.open(path).save(path, compress_level=0)
    one, two = (score(task, truth, f, "x", "2024-01-01") for f in (folder, again))
    assert one == two
    path = folder / f"{truth.ids[0]}.png"
    mask = decode_png(path.read_bytes())
    mask[0, 0] = 2 - mask[0, 0] // 2
    path.write_bytes(encode_png(mask))
    assert score(task, truth, folder, "x").predictions_sha256 != one.predictions_sha256


def test_a_task_of_a_thousand_labels_takes_16_bits_and_leaves_255_out(tmp_path):
    task = load_profile("imagenet-256").tasks["MC-992"]
    noise = np.random.default_rng(0)
    labels = {f"i{n}": noise.choice([0, 254, 255, 256, 992], (6, 7)).astype(np.uint16) for n in range(4)}
    for id, mask in labels.items():
        Image.fromarray(np.where(mask == 255, 0, mask).astype(np.uint16)).save(tmp_path / f"{id}.png")
    result = score(task, TruthInMemory(labels, {}), tmp_path, "truth")
    assert result.miou == 1 and [n for n, x in enumerate(result.iou) if x is not None] == [0, 254, 256, 992]
    Image.fromarray(np.full((6, 7), 255, np.uint16)).save(tmp_path / "i0.png")
    Image.fromarray(np.full((6, 7), 993, np.uint16)).save(tmp_path / "i1.png")
    (tmp_path / "i2.png").write_bytes(encode_png(np.zeros((6, 7), np.uint8)))
    with pytest.raises(BdganError) as error:
        score(task, TruthInMemory(labels, {}), tmp_path, "bad")
    for part in ("'i0.png' (255)", "'i1.png' (993)", "1 not 16-bit grey: 'i2.png' (8-bit grey)", "not 255"):
        assert part in str(error.value)


def test_labels_from_a_folder_score_as_labels_in_memory(task, truth, predict, tmp_path):
    assert write_truth(truth, task, tmp_path / "out") == 8
    assert (tmp_path / "out/labels.txt").read_text().split() == ["background", "cat", "dog"]
    folder, beside = predict(), TruthFolder(tmp_path / "out/labels", task, tmp_path / "out/images")
    assert score(task, beside, folder, "x", "2024-01-01") == score(task, truth, folder, "x", "2024-01-01")
    assert np.array_equal(beside.image(truth.ids[0]), truth.image(truth.ids[0]))
    with pytest.raises(BdganError, match="not written over"):
        write_truth(truth, task, tmp_path / "out")
    (tmp_path / f"out/images/{truth.ids[0]}.png").unlink()
    beside = TruthFolder(tmp_path / "out/labels", task, tmp_path / "out/images")
    with pytest.raises(BdganError, match=f"no image {truth.ids[0]}"):
        beside.image(truth.ids[0])
    (tmp_path / f"out/labels/{truth.ids[2]}.png").write_bytes(encode_png(np.full((2, 2), 9, np.uint8)))
    with pytest.raises(BdganError, match=r"no label: 'pet_00000002.png' \(9\).*label ids 0 to 2 or 255"):
        score(task, beside, folder, "x")
    with pytest.raises(BdganError, match="holds no labels"):
        (tmp_path / "empty").mkdir()
        TruthFolder(tmp_path / "empty", task)


def test_an_image_is_the_one_file_of_a_label_s_name(task, tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("a", "twice"):
        (tmp_path / f"labels/{name}.png").write_bytes(encode_png(np.zeros((2, 2), np.uint8)))
    for grey, name in enumerate(("a", "a.b", "twice")):  # a pattern "a.*" finds the second first
        (tmp_path / f"images/{name}.png").write_bytes(encode_png(np.full((2, 2, 3), grey, np.uint8)))
    Image.new("RGB", (2, 2)).save(tmp_path / "images/twice.jpg")
    (tmp_path / "images/a.json").write_text("{}", "utf-8")  # as a labelling tool leaves it
    truth = TruthFolder(tmp_path / "labels", task, tmp_path / "images")
    assert truth.image("a").max() == 0
    with pytest.raises(BdganError, match=r"twice\.jpg and .*twice\.png have one name"):
        truth.image("twice")


def test_a_folder_that_cannot_be_written_whole_is_not_there(task, truth, tmp_path):
    class Failing(TruthInMemory):
        def image(self, id):
            if id == self.ids[3]:
                raise OSError("disk full")
            return super().image(id)

    with pytest.raises(OSError, match="disk full"):
        write_truth(Failing(truth.labels, truth.images), task, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def png(side: int, bits: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG that claims to be that large."""
    word = lambda number: struct.pack(">I", number)
    chunk = lambda kind, data: word(len(data)) + kind + data + word(zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def saved(array: np.ndarray, mode: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).convert(mode).save(data, "PNG")
    return data.getvalue()


PLAIN = np.zeros((12, 10), np.uint8)
BAD_FILES = {
    "RGB": (saved(PLAIN, "RGB"), "1 not 8-bit grey: 'pet_00000000.png' (8-bit RGB)"),
    "palette": (saved(PLAIN, "P"), "(8-bit palette)"),
    "grey with alpha": (saved(PLAIN, "LA"), "(8-bit grey with alpha)"),
    "16 bits": (saved(PLAIN.astype(np.uint16), "I;16"), "(16-bit grey)"),
    "1 bit": (saved(PLAIN, "1"), "(1-bit grey)"),
    "turned": (
        saved(PLAIN.T, "L"), "1 of another size: 'pet_00000000.png' (expected 10 x 12 pixels, got 12 x 10)"
    ),
    "label 3": (saved(PLAIN + 3, "L"), "1 with a value that is no label: 'pet_00000000.png' (3)"),
    "label 255": (saved(PLAIN + 255, "L"), "(255)"),
    "empty": (b"", "1 damaged: 'pet_00000000.png' (no PNG)"),
    "a JPEG": (b"\xff\xd8\xff\xe0" + bytes(100), "1 damaged: 'pet_00000000.png' (no PNG)"),
    "cut off": (saved(PLAIN, "L")[:-20], "1 damaged: 'pet_00000000.png'"),
    "no pixels": (saved(PLAIN, "L")[:33], "1 damaged"),
    "a bomb by size": (png(60_000, rows=bytes(10**6)), "(expected 10 x 12 pixels, got 60000 x 60000)"),
    "a strange colour type": (png(12, colour=5), "8-bit unknown colours"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(task, truth, predict, kind):
    folder = predict()
    data, told = BAD_FILES[kind]
    (folder / f"{truth.ids[0]}.png").write_bytes(data)
    with pytest.raises(BdganError) as error:
        score(task, truth, folder, "x")
    assert told in str(error.value) and str(error.value).count(".png'") == 1
    assert "Expected one <image id>.png per image: 8-bit grey, label ids 0 to 2" in str(error.value)


def test_a_header_that_claims_too_much_is_refused_before_any_memory_is_taken(task, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(2**31 - 1))
    findings = Findings()
    assert read_mask(tmp_path / "bomb.png", task, findings, truth=True) is None
    with pytest.raises(BdganError, match=r"1 too large: 'bomb\.png' \(2147483647 x 2147483647 pixels\)"):
        findings.refuse(tmp_path, "")
    with (tmp_path / "long.png").open("wb") as file:
        file.truncate(2**28)
    with pytest.raises(BdganError, match="1 too large: 'long"):
        TruthFolder(tmp_path, task).label("long")


def test_all_that_is_wrong_is_counted_and_the_first_few_are_named(task, truth, predict):
    folder = predict()
    for id in truth.ids[:5]:
        (folder / f"{id}.png").unlink()
    shutil.copy(folder / f"{truth.ids[6]}.png", folder / "pet_00000099.png")
    (folder / "notes.txt").touch()
    (folder / "..\\up.png").touch()
    (folder / "a\n\x1b[31mb.png").touch()
    (folder / "sub.png").mkdir()
    (folder / f"{truth.ids[6]}.png").write_bytes(b"")
    with pytest.raises(BdganError) as error:
        score(task, truth, folder, "x")
    told = str(error.value)
    for part in (
        "5 missing: 'pet_00000000.png', 'pet_00000001.png', 'pet_00000002.png', ...",
        "1 extra: 'pet_00000099.png'",
        "3 not named <image id>.png: '..\\\\up.png', 'a\\n\\x1b[31mb.png', 'notes.txt'",
        "1 not a file: 'sub.png'",
        "1 damaged: 'pet_00000006.png'",
    ):
        assert part in told
    assert "\x1b" not in told and "\n" not in told


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
def test_links_and_pipes_are_named_and_never_opened(task, truth, predict, tmp_path):
    folder = predict()
    secret, first, second = tmp_path / "secret.png", *(folder / f"{id}.png" for id in truth.ids[:2])
    shutil.move(first, secret)
    first.symlink_to(secret)  # a whole mask, but elsewhere
    second.unlink()
    os.mkfifo(second)  # to open it would wait for ever
    with pytest.raises(BdganError) as error:
        score(task, truth, folder, "x")
    assert f"1 linked: '{first.name}'; 1 not a file: '{second.name}'. Expected" in str(error.value)
    assert "missing" not in str(error.value), "each is named once"


@pytest.mark.parametrize("where", ["nowhere", "file"])
def test_no_folder_is_said(task, truth, tmp_path, where):
    (tmp_path / "file").touch()
    with pytest.raises(BdganError, match=f"{where} is not a folder"):
        score(task, truth, tmp_path / where, "x")


@pytest.mark.parametrize("settings", [{"name": ""}, {"name": "a\nb"}, {"name": "x", "date": "2024-02-30"}])
def test_bad_names_and_dates_are_refused(task, truth, predict, settings):
    with pytest.raises(BdganError):
        score(task, truth, predict(), **settings)


def test_labels_of_which_none_is_labelled_are_refused(task, tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(PLAIN))
    with pytest.raises(BdganError, match="nothing to score"):
        score(task, TruthInMemory({"a": np.full_like(PLAIN, 255)}, {}), tmp_path, "x")


WHOLE = encode_png(np.random.default_rng(0).integers(0, 3, (12, 10), np.uint8))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255), cut=st.booleans())
def test_a_file_with_any_byte_changed_or_cut_off_is_refused_or_has_the_same_labels(
    task, tmp_path, at, flip, cut
):
    data = bytearray(WHOLE)
    data[at] ^= flip
    (tmp_path / "a.png").write_bytes(data[:at] if cut else data)
    findings = Findings()
    mask = read_mask(tmp_path / "a.png", task, findings, (12, 10))
    if mask is not None:
        assert np.array_equal(mask, decode_png(WHOLE))
    else:
        with pytest.raises(BdganError, match=r"1 (damaged|not 8-bit grey|of another size)"):
            findings.refuse(tmp_path, "a mask")
