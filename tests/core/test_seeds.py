"""The table of seeds: its ranges do not overlap, and no seed is chosen elsewhere."""

import ast
import json
import re
from itertools import combinations
from pathlib import Path

import pytest

import bdgan_lib
from bdgan_lib.core.seeds import GENERATOR, POCKET, REAL_ANNOTATED, TRANSFER
from bdgan_lib.worlds.pocket import CLASSES

LIBRARY = Path(bdgan_lib.__file__).parent
NOTEBOOKS = sorted((LIBRARY.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("stream", [POCKET, GENERATOR, *TRANSFER.values()])
def test_the_ranges_of_a_stream_do_not_overlap(stream):
    for (a, one), (b, other) in combinations(stream.items(), 2):
        assert one.seeds.stop <= other.seeds.start or other.seeds.stop <= one.seeds.start, (a, b)


def test_splits_have_as_many_images_of_each_class():
    synthetic = [GENERATOR[f"Synthetic-annotated {split}"] for split in ("validation", "test")]
    for s in (*REAL_ANNOTATED.values(), *synthetic):
        assert s.first % len(CLASSES) == 0 == s.count % len(CLASSES)


def test_test_sets_of_all_worlds_stand_apart_alike():
    assert len({world["test"].first - world["train"].first for world in TRANSFER.values()}) == 1


def test_the_library_takes_its_seeds_from_the_table():
    firsts = {s.first for stream in (POCKET, GENERATOR, *TRANSFER.values()) for s in stream.values()}
    firsts = {first for first in firsts if first >= 1_000_000}
    for path in sorted(LIBRARY.rglob("*.py")):
        if path.relative_to(LIBRARY).as_posix() != "core/seeds.py":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            values = {n.value for n in nodes if isinstance(n, ast.Constant) and type(n.value) is int}
            assert not values & firsts, f"{path}: take {values & firsts} from core/seeds.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_seeds_of_notebooks_are_in_the_table(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    scenes = re.findall(r"\.real\([^()]*?(?:, |first_seed=)(\d[\d_]*)\)", code)
    samples = re.findall(r"test_annotations\([^()]*first_seed=(\d[\d_]*)\)|\) \+ (\d[\d_]+)\b", code)
    for stream, firsts in ((POCKET, scenes), (GENERATOR, ["".join(pair) for pair in samples])):
        for first in firsts:
            assert any(int(first) in s.seeds for s in stream.values()), first
