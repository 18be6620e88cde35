"""What README shows runs as it stands."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text("utf-8"), re.S
)


@pytest.mark.slow
def test_the_lines_of_python_run():
    (block,) = [block for block in BLOCKS if "train_head(" in block]
    names: dict = {}
    exec(block, names)
    assert names["masks"].shape == (4, 64, 64) and 0 < (names["masks"] > 0).mean() < 1
