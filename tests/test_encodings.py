"""Text files are read and written in UTF-8, whatever the system's own encoding is."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdgan_lib

ROOT = Path(bdgan_lib.__file__).parent.parent
FOLDERS = ("bdgan_lib", "benchmarks", "ci", "docs/make", "notebooks")
FILES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".ipynb") and not any(part.startswith(".") for part in path.parts)
]
ENCODING = {
    "open": 3,
    "fdopen": 3,
    "read_text": 0,
    "write_text": 1,
    "TemporaryFile": 2,
    "NamedTemporaryFile": 2,
}
OTHERS = ("Image", "os", "tarfile", "webbrowser", "whole", "archive")  # their `open` is of something else


def without_encoding(source: str) -> Iterator[str]:
    """The calls in a source text that open text, or may, and name no encoding."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        owner, _, name = ast.unparse(call.func).rpartition(".")
        if name not in ENCODING or (name == "open" and owner in OTHERS):
            continue
        place = ENCODING[name] - (name == "open" and owner != "")  # a path's has no first argument
        modes = [a for a in call.args[: place + 1] if name not in ("read_text", "write_text")]
        modes += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
        texts = [
            part.value
            for mode in modes[(name in ("open", "fdopen") and owner in ("", "os")) :]
            for part in ast.walk(mode)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        binary = all("b" in text for text in texts) if texts else name.endswith("TemporaryFile")
        if not binary and len(call.args) <= place and "encoding" not in {k.arg for k in call.keywords}:
            yield f"line {call.lineno}: {ast.unparse(call)}"


def test_every_form_is_seen():
    text = (
        "open(p)", "open(p, 'w')", "open(p, mode='r+')", "p.open()", "p.open('a', newline='')",
        "p.read_text()", "p.write_text(x)", "os.fdopen(0)", "a.b().open('w' if x else 'a')",
        "TemporaryFile('w+')", "tempfile.NamedTemporaryFile(mode='w')",
    )  # fmt: skip
    good = (
        "open(p, 'rb')", "open(p, encoding='utf-8')", "p.open('rb')", "p.open('ab' if x else 'wb')",
        "os.open(p, 1)", "p.open('w', encoding='utf-8')", "p.read_text('utf-8')", "p.write_text(x, 'utf-8')",
        "os.fdopen(0, 'rb')",
        "TemporaryFile()", "NamedTemporaryFile('w+b')", "p.write_text(x, encoding='utf-8')", "Image.open(p)",
    )  # fmt: skip
    assert [call for call in text if not [*without_encoding(call)]] == []
    assert [call for call in good if [*without_encoding(call)]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_file_has_an_encoding(path):
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        code = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = re.sub(
            r"^( *)[%!].*", r"\1pass", "\n".join("".join(lines) for lines in code), flags=re.MULTILINE
        )
    assert [*without_encoding(text)] == []
