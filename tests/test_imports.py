"""House rule 3: imports point one way. The table is DESIGN.md's, read from the syntax of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdgan_lib

ROOT = Path(bdgan_lib.__file__).parent
BASE = {"core"}
ALLOWED = {
    "allocation": set(),
    "types": set(),
    "images": {"types"},
    "checkpoint": {"types", "images"},
    "precision": set(),
    "spectral": set(),
    "features": BASE,
    "pocket": BASE,
    "generators": BASE | {"features"},
    "data": BASE,
    "probing": BASE | {"features"},
    "heads": BASE | {"features", "data"},
    "annotation": BASE | {"data", "probing", "heads"},
    "synthesis": BASE | {"generators", "heads", "data"},
    "analysis": BASE | {"data"},
    "downstream": BASE | {"data", "analysis"},
    "figures": BASE | {"analysis"},
}
# may import anything; only callers import them
CALLERS = {"workspace", "profiles", "experiments", "paper", "doctor", "cli", "report", "where", "__main__"}
FILES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))


def is_recipe(module: str) -> bool:
    """pocket's recipes make the assets: they import anything, and nothing imports them."""
    return module.startswith("pocket/train_")


def is_caller(module: str) -> bool:
    return module.split("/")[0] in CALLERS or is_recipe(module)


def imported(source: str) -> Iterator[str]:
    """Modules of this library that a source text imports, anywhere in it: "data/shards", "types" ..."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by full name, not from {'.' * node.level}"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *parts = name.split(".")
            if package == "bdgan_lib" and parts and parts != ["__version__"]:
                yield "/".join(parts)


def test_the_reader_of_imports_sees_every_form():
    source = (
        "import torch\nimport bdgan_lib.core.types\nfrom bdgan_lib import __version__, images\n"
        "def f():\n    from bdgan_lib.datasets.shards import ShardedSet as S\n    import bdgan_lib.cli as c\n"
    )
    assert set(imported(source)) == {"types", "images", "data/shards/ShardedSet", "cli"}


@pytest.mark.parametrize("module", FILES)
def test_a_part_imports_only_what_its_row_allows(module):
    part = module.split("/")[0]
    uses = set(imported((ROOT / f"{module}.py").read_text(encoding="utf-8")))
    assert not any(map(is_recipe, uses)), "nothing imports a recipe: move what is shared out of it"
    if is_caller(module):
        return
    if part == "__init__":
        assert uses <= {"allocation/keep_freed_memory"}, "the root holds a docstring, the version, a setting"
        return
    assert part in ALLOWED, f"{part} is new: give it a row in DESIGN.md and in this test"
    wrong = {use for use in uses if use.split("/")[0] not in ALLOWED[part] | {part}}
    assert not wrong, f"{part} may import {sorted(ALLOWED[part])}, but {module}.py imports {sorted(wrong)}"


def test_the_table_has_no_circle():
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        ready = {part for part, uses in ALLOWED.items() if part not in done and uses <= done}
        assert ready, f"a circle among {sorted(set(ALLOWED) - done)}"
        done |= ready
