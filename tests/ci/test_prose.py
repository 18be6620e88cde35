"""The check of the prose finds what it is there to find, and reads no code, table or address."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("prose", ROOT / "ci/prose.py")
checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)
faults, linted, prose, reading_ease, sentences = (
    getattr(checks, name) for name in ("faults", "linted", "prose", "reading_ease", "sentences")
)

PAGE = """# A heading of many words that nobody would call a sentence at all

The *head* reads [features](https://example.org/long/address), and `code` too. It is small.

| a table | of words |
|---|---|

- A point of a list.
- Another one, with more words.

```python
print("no prose, whatever its length")
```
"""
GOOD = {"README.md": "It is a kit. " * 20, "00.ipynb": "You label five samples. Then it makes more. " * 9}


def test_prose_is_what_is_left_of_a_page():
    assert sentences(prose(PAGE)) == [
        "The head reads features, and x too.",
        "It is small.",
        "A point of a list.",
        "Another one, with more words.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It " + "goes " * 35 + "on.", "37 words, at most 35"),
        ("The doubtful pixels are dropped.", "'doubtful'; say: uncertainty"),
        ("What the heads dispute is dropped.", "'dispute'; say: disagreement"),
        ("Institutional accountability necessitates multidimensional considerations. " * 30, "reading ease"),
    ],
)
def test_what_breaks_a_rule_is_named(text, said):
    assert not faults(GOOD)
    assert any(said in line for line in faults({**GOOD, "README.md": text}))


def test_a_long_median_is_named():
    text = ("we go " * 9 + "on. ").capitalize() * 40
    assert any("median" in line for line in faults({**GOOD, "more.md": text}))


def test_easy_words_read_easily():
    assert (
        reading_ease(["The cat sat on the mat."])
        > 90
        > reading_ease(["Considerable institutional difficulty."])
    )


@pytest.mark.slow
def test_both_linters_read_the_pages():
    found = linted({"page.md": "This is very good advice. We rec" + "ieve it with thanks."})
    assert any("very" in line for line in found) and any("receive" in line for line in found)
