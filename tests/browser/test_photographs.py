"""The notebook of `bdgan annotate FOLDER` in a real browser: one's own pictures, drawn on and saved."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.datasets.annotation_store import AnnotationStore

from .lab import Hand, browser, jupyter_lab, run_all

pytestmark = pytest.mark.slow


def test_a_folder_of_pictures_is_labelled(tmp_path):
    pictures, root, work = (tmp_path / name for name in ("pictures", "root", "work"))
    for folder in (pictures / "b", root, work):
        folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 256, (64, 64, 3), np.uint8)).save(pictures / "a.png")
    Image.fromarray(noise.integers(0, 256, (60, 90, 3), np.uint8)).save(pictures / "b/wide.jpg")
    call = ["annotate", pictures, "--labels", "head,body", "--out", root / "labels", "--open", "no"]
    subprocess.run([sys.executable, "-m", "bdgan_lib.cli", *call], check=True, capture_output=True)
    store = AnnotationStore(root / "labels")
    with jupyter_lab(root, work) as address, browser(work) as page:
        run_all(page, address, "labels/annotate.ipynb")
        hand = Hand(page, 64)
        hand.root.focus()
        hand.key("p")
        hand.click([16, 12], [48, 12], [48, 40], [16, 40])
        hand.key("Enter")
        hand.done()
        hand.key("d")
        hand.done(2)
        (first,) = store
        assert first.extra["picture"] == "a.png" and first.classes == ("background", "head", "body")
        assert (
            first.mask.shape == (64, 64)
            and (first.mask[12:40, 16:48] == 1).all()
            and (first.mask > 0).sum() == 896
        )
        hand.key("2")
        hand.click([22, 26], [42, 26], [42, 38], [22, 38])  # about the middle; the picture is 90 wide
        hand.key("Enter")
        hand.done()
        hand.key("d")
        hand.done()
        (wide,) = [a for a in store if a.class_name == "b"]
        rows, columns = (np.flatnonzero((wide.mask == 2).any(axis)) for axis in (1, 0))
        assert wide.mask.shape == (60, 90) and np.allclose(
            [rows.mean(), columns.mean()], [29.5, 44.5], atol=2
        )
        page.screenshot(path=str(tmp_path / "annotator.png"))
