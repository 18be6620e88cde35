"""Label Studio's own SDK reads what we write, and we read what it writes.

`label_studio_sdk.json` holds what `label_studio_sdk.converter.brush.image2annotation` of version 2.1.2
returned for two masks of 24 x 32 pixels, given here by their formulas: one task with one annotation.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib import cli
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.datasets.formats import label_studio
from bdgan_lib.datasets.formats.exchange import export_annotations

HERE = sys.executable if importlib.util.find_spec("label_studio_sdk") else None
PYTHON = os.environ.get("BDGAN_LABEL_STUDIO_PYTHON", HERE)
FILE = Path(__file__).with_name("label_studio_sdk.json")
LABELS = ("background", "beak", "wing")


def masks() -> dict[str, np.ndarray]:
    """What was given to the SDK: a disc and, over a part of it, a ring."""
    y, x = np.mgrid[:24, :32]
    ring = np.hypot(y - 12, x - 20)
    return {"beak": np.hypot(y - 9, x - 8) < 6, "wing": (ring < 9) & (ring > 3)}


def labelled(mask: np.ndarray, instances: np.ndarray | None = None) -> Annotation:
    return Annotation(
        "robin_7", "robin", 0, 7, Sampling(), "0" * 64, mask, "me", LABELS, instances=instances
    )  # fmt: skip


def exported(folder: Path, annotation: Annotation) -> Path:
    image = np.full((*annotation.mask.shape, 3), 90, np.uint8)
    export_annotations([annotation], [image], folder, "label-studio")
    return folder


def test_what_the_sdk_writes_is_read_to_the_pixel():
    losses: list[str] = []
    (item,) = label_studio.read_annotations(FILE, losses)
    expected = np.zeros((24, 32), np.uint8)
    for k, mask in enumerate(masks().values(), 1):
        expected[mask] = k
    assert [item.labels[k] for k in (1, 2)] == [*masks()]
    assert item.name == "robin_7" and item.whole and np.array_equal(item.mask, expected)
    covered = int(np.logical_and(*masks().values()).sum())
    assert len(losses) == 1 and f"{covered}" in losses[0], "the ring covers pixels of the disc"


def test_a_file_of_the_sdk_replaces_the_stored_label_on_the_command_line(tmp_path, monkeypatch, capsys):
    """As after a session in Label Studio: its export lies in the folder that was imported there."""
    store = AnnotationStore(tmp_path / "store")
    before = labelled(np.zeros((24, 32), np.uint8))
    with store.writing():
        store.add(before)
    folder = exported(tmp_path / "exchange", before)
    shutil.copy(FILE, folder / "project-1-at-2026-01-01-00-00-0a1b2c3d.json")
    call = ["bdgan", "import-labels", folder, "--from", "label-studio", "--out", tmp_path / "store"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in call])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code and "1 annotations imported" in capsys.readouterr().out
    mask = store.load("robin_7").mask
    assert np.array_equal(mask == 2, masks()["wing"])
    assert np.array_equal(mask > 0, masks()["beak"] | masks()["wing"])


@pytest.mark.skipif(PYTHON is None, reason="set BDGAN_LABEL_STUDIO_PYTHON to one that has label_studio_sdk")
def test_the_sdk_accepts_our_tasks_and_decodes_our_brushes(tmp_path):
    noise = np.random.default_rng(0)
    mask = np.kron(noise.choice([0, 1, 2, 255], (6, 8)), np.ones((4, 4))).astype(np.uint8)
    folder = exported(tmp_path / "exchange", labelled(mask, (mask % 3).astype(np.uint8)))
    script = Path(__file__).with_name("read_with_label_studio.py")
    environment = os.environ | {"PYTHONPATH": ""}
    subprocess.run([PYTHON, script, folder, tmp_path / "read.npz"], check=True, env=environment)
    read, seen = np.load(tmp_path / "read.npz"), np.zeros(mask.shape, np.uint8)
    assert {Path(file).name for file in read["files"]} == {"robin_7.png"}
    for label, opacity in zip(read["labels"], read["opacity"], strict=True):
        assert set(np.unique(opacity).tolist()) == {0, 255} and not seen[opacity > 0].any()
        seen[opacity > 0] = 255 if label == "unlabelled" else LABELS.index(label)
    assert np.array_equal(seen, mask)
