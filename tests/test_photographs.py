"""The chapter of photographs runs to its end on other pictures, with networks and budgets of seconds."""

import json
from io import BytesIO
from zipfile import ZipFile

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from bdgan_lib import worlds
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.generators.vqgan_network import VQGANConfig
from bdgan_lib.recipes import own_generator, quality
from bdgan_lib.training.supervised import FitConfig
from benchmarks.photographs import NAME, ROOT, figures
from tests.test_notebooks_elsewhere import in_a_notebook, run


class Brightness(nn.Module):
    """In the segmentation network's place: what is brighter than the image's mean is of class 0."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, x):
        brighter = (x.mean(1) > x.mean((1, 2, 3))[:, None, None]).float()
        others = torch.full_like(brighter, -9.0).unsqueeze(1).expand(-1, len(self.bias) - 2, -1, -1)
        return torch.cat([1 - brighter[:, None], brighter[:, None], others], 1) + self.bias[:, None, None]


@pytest.fixture
def pictures(tmp_path):
    """A zip as the chapter reads it: two classes of ten objects from four sides, exact masks."""
    data = BytesIO()
    with ZipFile(data, "w") as archive:
        for k, name in enumerate(("ball", "box")):
            for n in range(40):
                rng = np.random.default_rng([k, n])
                y, x = np.mgrid[:80, :80] - rng.integers(30, 50, (2, 1, 1))
                mask = (np.maximum(abs(x), abs(y)) if k else np.hypot(x, y)) < rng.integers(12, 24)
                image = rng.integers(0, 90, (80, 80, 3), np.uint8) + (mask[..., None] * 160).astype(np.uint8)
                view = f"{name}/{n // 4}-066-{63 * (n % 4):03d}"  # as ETH-80 names them
                archive.writestr(f"images/{view}.jpg", encode_png(image))
                archive.writestr(f"masks/{view}.png", encode_png(mask.astype(np.uint8)))
    path = tmp_path / "pictures.zip"
    path.write_bytes(data.getvalue())
    return path


def test_the_chapter_runs_to_its_end(pictures, tmp_path, monkeypatch, capsys):
    for name, value in {"CLASSIFIER": FitConfig(2, 48, seed=1), "VIEWS_EACH": 2}.items():
        monkeypatch.setattr(own_generator, name, value)
    monkeypatch.setattr(quality, "SAMPLES", 24)
    tiny = VQGANConfig(num_classes=2, codes=40, ch_mult=(1, 1, 1, 1), layers=1, width=16)
    monkeypatch.setattr(own_generator, "_config", lambda side, classes: tiny)
    monkeypatch.setattr(worlds, "UNet", Brightness, raising=False)
    budgets = {"IMAGE_STEPS": 4, "CODE_STEPS": 4, "HEAD_STEPS": 20, "SAMPLES": 24, "IMAGES_PER_CLASS": 12}
    places = {"PICTURES": str(pictures), "MODEL": str(tmp_path / "model"), "RUN_DIR": str(tmp_path / "run")}
    with in_a_notebook():
        names = run("extra_photographs", **budgets, **places, STUDENT_STEPS=2, REPETITIONS=2)
    assert len(names["labels"]) == 10 and len(names["held_out"].images) == 16
    assert not names["problems"] and len(names["data_set"]) > 0
    assert {view.split("-")[0] for view in names["held_out"].names} == {
        "ball/8", "ball/9", "box/8", "box/9"
    }  # fmt: skip
    assert "photographs.worth_gain" in capsys.readouterr().out


def test_the_shipped_figures_are_those_that_the_chapter_shows():
    shipped = json.loads((ROOT / "benchmarks/results/photographs.json").read_text("utf-8"))
    shown = figures(nbformat.read(ROOT / "notebooks" / NAME, 4))
    assert shown == {name: value for name, value in shipped.items() if name in shown}
    assert {"frechet_over_real", "head_fgbg_miou", "real_fgbg_miou", "worth_gain", "worth_gain_low"} <= {
        *shipped
    }
