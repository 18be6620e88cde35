"""FiftyOne reads our COCO export. Its OpenCV is another than ours, so it lies in another environment."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.formats.set_items import VOID_CATEGORY, SetItems
from benchmarks.recipes import write_pocket_set

HERE = sys.executable if importlib.util.find_spec("fiftyone") else None
PYTHON = os.environ.get("BDGAN_FIFTYONE_PYTHON", HERE)


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason="set BDGAN_FIFTYONE_PYTHON to an interpreter that has fiftyone")
def test_fiftyone_s_importer_reads_every_pixel_and_name(tmp_path):
    data = write_pocket_set(tmp_path / "set", count=24)
    export_set(data, tmp_path / "out", "coco", progress=False)
    script = Path(__file__).with_name("read_with_fiftyone.py")
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": ""}
    command = [PYTHON, script, tmp_path / "out", tmp_path / "read.npz"]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    read, names = np.load(tmp_path / "read.npz"), SetItems(data).names
    assert read["images"] == len(data)
    objects = list(zip(read["files"], read["labels"], read["masks"], read["crowds"], strict=True))
    for item in SetItems(data):
        mask = np.zeros(item.mask.shape, int)
        for _, label, pixels, crowd in (entry for entry in objects if entry[0] == item.stored.image_name):
            assert crowd == (label == "unlabelled") and not mask[pixels].any()
            mask[pixels] = VOID_CATEGORY if crowd else names.index(label)
        assert np.array_equal(mask, item.categories)
