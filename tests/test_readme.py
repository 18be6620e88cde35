"""What README and the guides show runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/commands_by_example.md", "docs/annotator.md")
BLOCKS = {page: re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S) for page in PAGES}


def run(block: str) -> dict:
    names: dict = {}
    exec(block, names)
    return names


def test_the_readme_is_one_page():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 130 and len(text.split()) <= 950  # 900, and links to Colab and others


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/commands_by_example.md"])
def test_the_lines_of_python_run(page):
    (block,) = BLOCKS[page]
    masks = run(block)["masks"]
    assert masks.shape == (4, 64, 64) and 0 < (masks > 0).mean() < 1


@pytest.mark.slow
def test_the_annotator_opens_as_its_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.full((32, 48, 3), 128, np.uint8)).save(tmp_path / "pictures/1.png")
    photographs, samples = BLOCKS["docs/annotator.md"]
    assert len(run(photographs)["items"]) == 1
    names = run(samples)
    assert len(names["items"]) == 5 * len(names["profile"].classes)
