"""Imports point one way, in no circle, and take no private name; docs/architecture.md has the table."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdgan_lib

ROOT = Path(bdgan_lib.__file__).parent
ALLOWED: dict[str, set[str]] = {  # room -> rooms that it may import, or single files of them
    "core": set(),
    "checkpoints": {"core"},
    "metrics": {"core"},
    "training": {"core"},
    "visualization": {"core", "metrics"},
    "worlds": {"core"},
    "datasets": {"core"},
    "data": {"datasets"},  # the address in data cards that were written before the rooms were renamed
    "generators": {"core", "checkpoints"},
    "probing": {"core", "generators/hooks"},
    "heads": {"core", "checkpoints", "training", "datasets", "generators"},
    "annotation": {"core", "datasets", "heads", "generators/base", "visualization/colors"},
    "synthesis": {"core", "generators", "heads", "datasets"},
    "downstream": {"core", "metrics", "training", "datasets", "checkpoints", "visualization/colors"},
}
# May import anything below them, and a later one an earlier one; nothing below imports them.
CALLERS = ("profiles", "hub", "workspace", "notebook", "doctor", "recipes", "experiments", "paper", "cli")
FILES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))


def imported(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a source text imports of this library, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by full name, not from {'.' * node.level}"
            pairs = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            pairs = [(alias.name, "") for alias in node.names]
        else:
            continue
        for module, name in pairs:
            package, *parts = module.split(".")
            if package == "bdgan_lib" and name != "__version__":
                module_path = "/".join(filter(None, [*parts, name]))
                is_module = (ROOT / f"{module_path}.py").exists() or (ROOT / module_path).is_dir()
                yield (module_path if is_module else "/".join(parts)), name


def uses(module: str) -> set[tuple[str, str]]:
    return set(imported((ROOT / f"{module}.py").read_text(encoding="utf-8")))


def test_the_reader_of_imports_sees_every_form():
    source = (
        "import torch\nimport bdgan_lib.doctor\nfrom bdgan_lib import __version__, workspace\n"
        "def f():\n    from bdgan_lib.datasets.shards import ShardedSet as S\n    import bdgan_lib.cli as c\n"
        "from bdgan_lib.core import rle\n"
    )
    found = {module for module, _ in imported(source)}
    assert found == {"doctor", "workspace", "datasets/shards", "cli", "core/rle"}


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_only_what_its_row_allows(module):
    room = module.split("/")[0]
    places = {place for place, _ in uses(module)}
    if room == "__init__":
        assert not places, "the package's face imports lazily, by name"
        return
    if room in CALLERS:
        above = set(CALLERS[CALLERS.index(room) + 1 :])
        assert not {place for place in places if place.split("/")[0] in above}
        return
    assert room in ALLOWED, f"{room} is new: give it a row here and in docs/architecture.md"
    allowed = ALLOWED[room] | {room}
    wrong = {place for place in places if place.split("/")[0] not in allowed and place not in allowed}
    assert not wrong, f"{room} may import {sorted(ALLOWED[room])}, but {module}.py imports {sorted(wrong)}"


@pytest.mark.parametrize("module", FILES)
def test_no_private_name_crosses_a_room(module):
    private = {(place, name) for place, name in uses(module)
               if name.startswith("_") and place.split("/")[0] != module.split("/")[0]}  # fmt: skip
    assert not private, f"{module}.py takes private names: {sorted(private)}"


def test_no_circle_between_files():
    graph = {module: {place for place, _ in uses(module) if place in FILES} - {module} for module in FILES}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {module for module, needs in graph.items() if module not in done and needs <= done}
        assert ready, f"a circle among {sorted(set(graph) - done)[:12]}"
        done |= ready


def test_the_table_is_the_one_in_the_docs():
    rows = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room, allowed in ALLOWED.items():
        names = ", ".join(f"`{place}`" for place in sorted(allowed)) or "–"
        assert f"| `{room}` | {names} |" in rows
