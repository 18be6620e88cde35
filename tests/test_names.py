"""Names are the field's, messages say what was expected, and what others build on is typed without gaps."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdgan_lib

ROOT = Path(bdgan_lib.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
TYPED = ("core/", "datasets/", "generators/", "synthesis/")
OURS = {  # words of our own where the field has a term, or where a variable should say what it holds
    "adversary", "assess", "bench", "came", "dispute", "disputed", "doubt", "doubted", "drawing",
    "elsewhere", "embedded", "evidence", "examples", "follow", "found", "fresh", "ground",
    "grounds", "guards", "in_groups", "judge", "judged", "located", "marks", "material", "named",
    "own", "rising", "selection", "things", "told", "twin", "wanted", "work", "worth",
}  # fmt: skip


def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def identifiers(node: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, line) of every variable, parameter, attribute, function, class and import in a syntax tree."""
    for part in ast.walk(node):
        for field in ("id", "arg", "attr", "name", "asname"):
            name = getattr(part, field, None)
            if isinstance(name, str):
                yield name.rpartition(".")[2], getattr(part, "lineno", 0)


def test_the_reader_of_names_sees_every_kind():
    source = "import a as found\nclass Worth:\n    own: int\ndef f(came):\n    x.told = g(wanted=1)\n"
    seen = {name.lower() for name, _ in identifiers(ast.parse(source))}
    assert {"found", "worth", "own", "came", "told", "wanted"} <= seen


@pytest.mark.parametrize("file", FILES)
def test_names_are_the_field_s(file):
    wrong = [(name, line) for name, line in identifiers(tree(file)) if name.strip("_").lower() in OURS]
    assert not wrong and Path(file).stem not in OURS


@pytest.mark.parametrize("file", FILES)
def test_messages_say_what_was_expected_and_what_was_given(file):
    wrong = [
        (text.value, text.lineno)
        for call in ast.walk(tree(file))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "").endswith("Error")
        for text in ast.walk(call)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
        if re.search(r"\b(came|wanted|wants)\b", text.value)
    ]
    assert not wrong


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith(TYPED)])
def test_no_public_signature_says_any(file):
    scopes: list[ast.Module | ast.ClassDef] = [tree(file)]
    for scope in scopes:
        for part in scope.body:
            if isinstance(part, ast.ClassDef) and not part.name.startswith("_"):
                scopes.append(part)
            if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                hints = [
                    a.annotation for a in (*part.args.args, *part.args.posonlyargs, *part.args.kwonlyargs)
                ]
                names = {
                    n.id
                    for hint in [*hints, part.returns]
                    if hint
                    for n in ast.walk(hint)
                    if isinstance(n, ast.Name)
                }
                assert "Any" not in names, f"{part.name} in line {part.lineno}"
