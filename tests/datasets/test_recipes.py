"""Recipes: their files, the traps of each tool through that tool's own loader, and sets they cannot hold."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter

from bdgan_lib import cli
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.formats.names import RECIPES
from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, SetItems
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest, write_shard

SIDE, CLASSES, VOC = 32, ("robin", "mug"), Path("VOCdevkit", "VOC2012")


def set_of(folder: Path, masks: list[np.ndarray], classes=CLASSES, **about) -> ShardedSet:
    """Image n has class n % len(classes)."""
    folder.mkdir()
    samples = []
    for n, mask in enumerate(masks):
        class_id = n % len(classes)
        image = np.random.default_rng(n).integers(0, 256, (*mask.shape, 3), np.uint8)
        sample = LabelledSample(image, mask, class_id, n, sample_id(classes[class_id], n))
        samples.append((sample, {"class_name": classes[class_id]}))
    shard = write_shard(folder / "shard_00000.tar", samples)
    write_manifest(folder / MANIFEST, [shard], {"spec": {}, "classes": list(classes), **about})
    return ShardedSet(folder)


def rings(count: int = 24) -> list[np.ndarray]:
    """Foreground masks: a ring with a hole, and two unlabelled columns; the first image is unlabelled."""
    masks, (y, x) = [], np.mgrid[:SIDE, :SIDE]
    for n in range(count):
        distance = np.hypot(y - 15 - n % 3, x - 15 + n % 4)
        mask = ((distance < 9 + n % 4) & (distance > 3 + n % 2)).astype(np.uint8)
        mask[:, -2:] = 255
        masks.append(mask)
    masks[0][:] = 255
    return masks


@pytest.fixture
def data(tmp_path) -> ShardedSet:
    return set_of(tmp_path / "set", rings())


def truth(data: ShardedSet) -> dict[str, np.ndarray]:
    """By id: the numbers of the classes, 255 = unlabelled."""
    return {
        item.id: np.where(item.categories == VOID_CATEGORY, 255, item.categories) for item in SetItems(data)
    }


def write(data: ShardedSet, out: Path, recipe: str) -> Path:
    export_set(data, out, None, progress=False, recipe=recipe)
    return out


def module(path: Path, monkeypatch):
    """A written script as a module, which finds those beside it."""
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, "voc_data", raising=False)
    spec = importlib.util.spec_from_file_location(f"written_{path.parent.name}", path)
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    monkeypatch.delitem(sys.modules, "voc_data", raising=False)
    return written


def names_in(out: Path, recipe: str, split: str) -> list[str]:
    folder = out / VOC / "ImageSets/Segmentation" if RECIPES[recipe] == "voc" else out
    return [Path(line).stem for line in (folder / f"{split}.txt").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_labelled_image_is_in_one_list_and_each_class_validates(recipe, data, tmp_path):
    out = write(data, tmp_path / "out", recipe)
    train, val = (names_in(out, recipe, split) for split in ("train", "val"))
    assert not set(train) & set(val) and sorted(train + val) == sorted(
        truth(data).keys() - {"robin_00000000"}
    )
    assert {name.split("_")[0] for name in val} == set(CLASSES)
    about = json.loads((out / "recipe.json").read_text("utf-8"))
    assert about["classes"] == ["background", *CLASSES] and about["ignore_index"] == 255
    assert (about["train"], about["val"], about["left_out"]) == (len(train), len(val), 1)
    losses = json.loads((out / "export.json").read_text("utf-8"))["losses"]
    assert any("1 images are in no list" in loss for loss in losses)
    for script in out.glob("*.py"):
        compile(script.read_text("utf-8"), script, "exec")


def test_the_package_carries_what_recipes_copy():
    text = Path(cli.__file__).parents[2].joinpath("pyproject.toml").read_text("utf-8")
    assert '"datasets/formats/recipe_files/*.py"' in text


@pytest.mark.parametrize(
    ("recipe", "options", "text"),
    [
        ("torchvision", ["--model", "dodo"], "Unknown model dodo"),
        ("smp", ["--encoder", "dodo"], "Wrong encoder name `dodo`"),
        ("hf-trainer", ["--model", "./dodo"], "--model ./dodo cannot be loaded"),
        ("torchvision", ["--real", "dodo", "--workers", "0"], "dodo/VOCdevkit/VOC2012"),
        ("hf-trainer", ["--real", "dodo"], "dodo/masks holds no .png"),
    ],
)
def test_what_a_script_cannot_load_is_one_line(recipe, options, text, data, tmp_path, monkeypatch):
    pytest.importorskip(
        {"smp": "segmentation_models_pytorch", "hf-trainer": "transformers"}.get(recipe, "torch")
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "home")
    script = module(write(data, tmp_path / "out", recipe) / "train.py", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["train.py", *options])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert str(end.value).startswith("error: --") and text in str(end.value) and "\n" not in str(end.value)


# --- labels through each tool's loader ---


def test_torchvision_gives_255_to_the_loss_alone_and_keeps_the_background(data, tmp_path, monkeypatch):
    """Also what scaling leaves free is unlabelled; a batch without labels has a loss, which is 0."""
    voc_data = module(write(data, tmp_path / "out", "torchvision") / "voc_data.py", monkeypatch)
    assert ["background", *CLASSES] == voc_data.NAMES and voc_data.image_size() == SIDE
    (images, masks), *more = voc_data.loader("val", SIDE, 16, workers=0)
    expected = [truth(data)[name] for name in names_in(tmp_path / "out", "torchvision", "val")]
    assert not more and np.array_equal(masks.numpy(), np.stack(expected)) and masks.dtype == torch.int64
    assert set(masks.unique().tolist()) == {0, 1, 2, 255} and images.shape == (len(masks), 3, SIDE, SIDE)
    seen = torch.cat([masks for _ in range(3) for _, masks in voc_data.loader("train", SIDE, 5, 0)])
    assert set(seen.unique().tolist()) == {0, 1, 2, 255}
    counts = torch.zeros(3, 3, dtype=torch.int64)
    voc_data.count(counts, masks.clamp(max=2), masks)
    assert counts.sum() == (masks != 255).sum() and (counts == counts.diag().diag()).all()


def test_segformer_s_processor_shifts_no_label(data, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "home")
    script = module(write(data, tmp_path / "out", "hf-trainer") / "train.py", monkeypatch)
    rows = script.synthetic("val")
    assert sorted(rows["id"]) == sorted(names_in(tmp_path / "out", "hf-trainer", "val"))
    masks = [script.numbers(row["mask"], row["class"]) for row in rows]
    processor = transformers.SegformerImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_reduce_labels=False
    )
    given = processor([np.array(row["image"]) for row in rows], segmentation_maps=masks, return_tensors="np")
    assert np.array_equal(given["labels"], [truth(data)[row["id"]] for row in rows])
    shifted = transformers.SegformerImageProcessor(do_reduce_labels=True, do_resize=False)
    given = shifted([np.array(rows[0]["image"])], segmentation_maps=masks[:1], return_tensors="np")
    assert 0 not in masks[0][given["labels"][0] != 255], "the trap: the background becomes unlabelled"


def test_real_images_without_any_label_are_left_out_of_segformer_s_batches(data, tmp_path, monkeypatch):
    """The loss of a batch of them is NaN, and `Trainer` does not say so."""
    pytest.importorskip("transformers")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "home")
    script = module(write(data, tmp_path / "out", "hf-trainer") / "train.py", monkeypatch)
    masks = {"a.png": np.full((SIDE, SIDE), 255, np.uint8), "b.png": np.full((SIDE, SIDE), 2, np.uint8)}
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name, mask in masks.items():
            Image.fromarray(mask).save(tmp_path / kind / name)
    (row,) = script.real(tmp_path)
    assert np.array_equal(script.numbers(row["mask"], row.get("class")), masks["b.png"])


def ultralytics_dataset(out: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    for module, names in ((Image, ("open",)), (cv2, ("imread", "imwrite", "imshow")), (torch, ("save",))):
        for name in names:  # it puts functions of its own there, which no other test may meet
            monkeypatch.setattr(module, name, getattr(module, name))
    pytest.importorskip("ultralytics")
    from ultralytics.cfg import get_cfg
    from ultralytics.data import utils
    from ultralytics.data.dataset import YOLODataset

    monkeypatch.setattr(utils, "check_font", lambda font: None)  # it would ask the network
    info = utils.check_det_dataset(str(out / "data.yaml"))
    settings = get_cfg(overrides={"mask_ratio": 1, "overlap_mask": False})
    return info, lambda split: YOLODataset(
        img_path=info[split], imgsz=SIDE, augment=False, hyp=settings, data=info, task="segment", batch_size=1
    )


def test_ultralytics_reads_our_masks_with_their_holes_and_no_class_of_255(data, tmp_path, monkeypatch):
    out = write(data, tmp_path / "out", "ultralytics")
    info, dataset = ultralytics_dataset(out, tmp_path, monkeypatch)
    assert info["names"] == dict(enumerate(CLASSES))
    images, ious = set(), []
    for split in ("train", "val"):
        for sample in dataset(split):
            images.add(Path(sample["im_file"]).stem)
            expected, [[number]] = truth(data)[Path(sample["im_file"]).stem], sample["cls"].tolist()
            filled, labels = sample["masks"][0].numpy() > 0, expected == number + 1
            assert labels.any(), "class k of YOLO is category k + 1"
            assert filled[SIDE // 2, SIDE // 2] == labels[SIDE // 2, SIDE // 2], "the hole stays open"
            ious.append((filled & labels).sum() / (filled | labels).sum())
    assert images == truth(data).keys() - {"robin_00000000"}
    assert min(ious) > 0.99 and np.mean(ious) > 0.999


def test_of_any_shapes_ultralytics_reads_what_the_report_says(tmp_path, monkeypatch):
    """Blobs with holes and ragged edges, of three labels: there is no loss beside the report's."""
    rng, masks = np.random.default_rng(0), []
    for _ in range(20):
        height = gaussian_filter(rng.normal(size=(3, SIDE, SIDE)), (0, 1.5, 1.5), mode="wrap")
        masks.append(np.where(height.max(0) > 0.1, height.argmax(0) + 1, 0).astype(np.uint8))
    data = set_of(tmp_path / "set", masks, labels=["background", "beak", "wing", "tail"])
    report = export_set(data, tmp_path / "out", progress=False, recipe="ultralytics")
    _, dataset = ultralytics_dataset(tmp_path / "out", tmp_path, monkeypatch)
    ious, masks = [], truth(data)
    for sample in (*dataset("train"), *dataset("val")):
        expected = masks.pop(Path(sample["im_file"]).stem)
        for category in set(np.unique(expected).tolist()) - {0}:
            pieces = [mask for mask, k in zip(sample["masks"].numpy(), sample["cls"]) if k == category - 1]
            filled = np.any([np.zeros((SIDE, SIDE), bool), *(piece > 0 for piece in pieces)], axis=0)
            ious.append((filled & (expected == category)).sum() / (filled | (expected == category)).sum())
    assert len(ious) == report.regions and not masks
    assert abs(np.mean(ious) - report.mean_iou) < 0.005 and report.mean_iou > 0.97


def test_detectron2_s_records_are_what_pycocotools_reads(data, tmp_path, monkeypatch):
    from pycocotools import mask as coco_mask

    out = write(data, tmp_path / "out", "detectron2")
    script = module(out / "train.py", monkeypatch)
    assert list(CLASSES) == script.NAMES, "neither the background nor unlabelled pixels are a class"
    assert "NOT RUN WITH DETECTRON2" in script.__doc__
    records = {split: script.instances(out, split) for split in ("train", "val")}
    for split, split_records in records.items():
        files = {Path(record["file_name"]).stem for record in split_records}
        assert files == set(names_in(out, "detectron2", split)) and len(files) == len(split_records)
        for record in split_records:
            expected = truth(data)[Path(record["file_name"]).stem]
            assert Path(record["file_name"]).is_file()
            for annotation in record["annotations"]:
                x, y, width, height = annotation["bbox"]
                pixels = coco_mask.decode(annotation["segmentation"]) > 0
                assert np.array_equal(pixels, expected == annotation["category_id"] + 1) and pixels.any()
                assert pixels[y : y + height, x : x + width].sum() == pixels.sum()
    assert len(script.instances(out)) == len(data)


def check_mmseg(config: dict, out: Path) -> None:
    assert config["ignore_index"] == 255 and config["reduce_zero_label"] is False
    for dataset in (*config["train_dataloader"]["dataset"]["datasets"], config["val_dataloader"]["dataset"]):
        assert tuple(dataset["metainfo"]["classes"]) == ("background", *CLASSES)
        assert list(map(tuple, dataset["metainfo"]["palette"])) == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
        assert dataset["ignore_index"] == 255 and dataset["reduce_zero_label"] is False
        root = Path(dataset["data_root"])
        for name in (root / dataset["ann_file"]).read_text("utf-8").splitlines():
            for kind, suffix in (("img_path", "img_suffix"), ("seg_map_path", "seg_map_suffix")):
                assert (root / dataset["data_prefix"][kind] / f"{name}{dataset[suffix]}").is_file()
        reading = next(step for step in dataset["pipeline"] if step["type"] == "LoadAnnotations")
        assert reading["reduce_zero_label"] is False and reading["imdecode_backend"] == "pillow"
    head = config["model"]["decode_head"]
    assert head["num_classes"] == 3 and head["ignore_index"] == 255 and head["loss_decode"]["avg_non_ignore"]
    assert config["val_evaluator"]["ignore_index"] == 255
    assert config["model"]["data_preprocessor"]["seg_pad_val"] == 255
    assert Path(config["work_dir"]) == out / "work_dir"


def test_mmseg_s_configuration_has_every_class_and_ignores_255(data, tmp_path, monkeypatch):
    """Run as mmengine runs it, which puts in the file's folder first."""
    out = write(data, tmp_path / "out", "mmseg")
    text = (out / "config.py").read_text("utf-8")
    assert "with " not in [line[:5] for line in text.splitlines()], "mmengine takes no other than read_base"
    for real in (None, str(out)):
        if real:
            monkeypatch.setenv("BDGAN_REAL", real)
            monkeypatch.setenv("BDGAN_REAL_TIMES", "3")
        config: dict = {}
        exec(text.replace("{{ fileDirname }}", out.as_posix()), config)
        check_mmseg(config, out)
        assert len(config["train_dataloader"]["dataset"]["datasets"]) == (4 if real else 1)


def test_mmengine_reads_the_configuration(data, tmp_path):
    python = os.environ.get("BDGAN_MMSEG_PYTHON")
    if not python:
        pytest.skip("set BDGAN_MMSEG_PYTHON to the interpreter of an environment with mmengine")
    out = write(data, tmp_path / "out", "mmseg")
    code = "import json, sys; from mmengine.config import Config; c = Config.fromfile(sys.argv[1])"
    code += "; print(json.dumps(c.to_dict()))"
    text = subprocess.run([python, "-c", code, out / "config.py"], check=True, capture_output=True).stdout
    check_mmseg(json.loads(text), out)


# --- sets of other kinds ---


@pytest.mark.parametrize("recipe", RECIPES)
def test_masks_of_parts_and_of_one_class_are_labels_as_they_are(recipe, tmp_path):
    masks = [np.where(mask == 255, 0, mask * (1 + n % 2)).astype(np.uint8) for n, mask in enumerate(rings())]
    parts = set_of(tmp_path / "parts", masks, labels=["background", "beak", "wing"])
    one = set_of(tmp_path / "one", rings(), classes=("robin",))
    for data, classes in ((parts, ["background", "beak", "wing"]), (one, ["background", "robin"])):
        out = write(data, tmp_path / f"{len(classes)}", recipe)
        about = json.loads((out / "recipe.json").read_text("utf-8"))
        assert about["classes"] == classes and about["foreground_masks"] == (data is one)
        if recipe == "ultralytics":
            names = yaml.safe_load((out / "data.yaml").read_text("utf-8"))["names"]
            assert list(names.values()) == classes[1:]


def test_names_of_any_characters_reach_every_tool(tmp_path):
    names = ["background", "🐦 größer: 'Krug'", '{{ fileDirname }} " \\x', "a\x7fb"]
    data = set_of(tmp_path / "set", rings(), labels=names)
    for recipe in RECIPES:
        out = write(data, tmp_path / recipe, recipe)
        assert json.loads((out / "recipe.json").read_text("utf-8"))["classes"] == names
    text, config = (tmp_path / "mmseg/config.py").read_text("utf-8"), dict[str, object]()
    exec(text.replace("{{ fileDirname }}", (tmp_path / "mmseg").as_posix()), config)
    assert config["metainfo"]["classes"] == tuple(names)


def bdgan(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


UNLABELLED, BACKGROUND = np.full((SIDE, SIDE), 255, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
MANY = [f"class {n}" for n in range(255)]
BAD = [
    (rings(), CLASSES, ["--recipe", "yolo"], "unknown recipe 'yolo'; choose one of ultralytics, mmseg"),
    (rings(), CLASSES, ["--recipe", ""], "unknown recipe ''"),
    (rings(), CLASSES, [], "expected --to coco|coco-panoptic"),
    (rings(), CLASSES, ["--recipe", "smp", "--to", "coco"], "expected format 'voc', which recipe 'smp'"),
    ([], CLASSES, ["--recipe", "smp"], "expected three images or more to train and validate with, got 0"),
    (rings(2), CLASSES, ["--recipe", "mmseg"], "expected three images or more"),
    ([BACKGROUND] * 5, CLASSES, ["--recipe", "ultralytics"], "expected pixels of a class"),
    ([BACKGROUND] * 5, CLASSES, ["--recipe", "torchvision"], "expected pixels of a class"),
    ([UNLABELLED] * 5 + rings(3), CLASSES, ["--recipe", "smp"], "three images or more that are labelled"),
    (rings(), MANY, ["--recipe", "hf-trainer"], "expected at most 255 categories, as recipe 'hf-trainer'"),
    (rings(), MANY, ["--recipe", "smp"], "choose ultralytics or detectron2"),
]  # fmt: skip


@pytest.mark.parametrize(("masks", "classes", "options", "text"), BAD, ids=range(len(BAD)))
def test_what_a_recipe_cannot_hold_is_one_line_and_nothing_is_written(
    masks, classes, options, text, tmp_path, monkeypatch, capsys
):
    set_of(tmp_path / "set", masks, classes)
    assert bdgan(monkeypatch, "export", tmp_path / "set", *options, "--out", tmp_path / "out") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bdgan: ")]
    assert len(error) == 1 and text in error[0]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_recipe_goes_with_its_format_and_more_categories_go_to_tools_of_objects(tmp_path, monkeypatch):
    set_of(tmp_path / "set", rings(), MANY)
    for recipe in ("ultralytics", "detectron2"):
        options = ("--recipe", recipe, "--to", RECIPES[recipe], "--out", tmp_path / recipe)
        assert bdgan(monkeypatch, "export", tmp_path / "set", *options) == 0
        assert (tmp_path / recipe / "recipe.json").is_file()


def test_equal_sets_give_equal_recipes(data, tmp_path):
    for recipe in RECIPES:
        first, second = (write(data, tmp_path / name / recipe, recipe) for name in "ab")
        files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
        assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_an_unknown_recipe_is_refused_from_python_too(data, tmp_path):
    with pytest.raises(BdganError, match="unknown recipe 'keras'"):
        export_set(data, tmp_path / "out", progress=False, recipe="keras")
    assert not (tmp_path / "out").exists()
