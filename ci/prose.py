"""Checks the prose of README, docs and notebooks.

    python ci/prose.py

- No sentence has more than 35 words; the median over all has at most 17.
- Reading ease (Flesch) is 50 or more for the README and for the median notebook.
- No word of `PRIVATE`, whose place a term of the field takes.
- proselint and codespell find nothing; codespell reads the source as well.

Code, tables, headings' marks and links' addresses are not prose.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pyphen

ROOT = Path(__file__).parents[1]
MOST_WORDS, MOST_MEDIAN, LEAST_EASE = 35, 17, 50
PRIVATE = (  # a word, and what is said instead
    (r"doubts?|doubtful|doubted", "uncertainty, or low confidence"),
    (r"disput(?:e|es|ed)", "disagreement"),
    (r"judges?|judged", "a scorer, or an oracle"),
    (r"came as \w+; wanted", "expected, got"),
)
PROSELINT_OFF = ("typography", "lexical_illusions", "spelling", "dates_times", "hedging", "misc.but")
SOURCE = ("bdgan_lib", "tests", "ci", "benchmarks", "docs/make", "assets/README.md")
WORDS = "bui,thi"  # names in the code that codespell takes for mistakes


def prose(text: str) -> str:
    """Markdown without code, tables, directives, addresses and emphasis; a blank line between paragraphs."""
    for pattern, instead in (
        (r"```.*?```", ""), (r"<[^>]+>", ""), (r"(?m)^\s*\|.*$", ""), (r"(?m)^(% |:::|#+ ).*$", ""),
        (r"!?\[([^\]]*)\]\([^)]*\)", r"\1"), (r"\{[a-z:]+\}`([^`<]*)[^`]*`", r"\1"),
        (r"`[^`]*`", "x"), (r"[*_>]", ""), (r"(?m)^\s*(?:[-*]|\d+\.|:)\s", "\n"),
    ):  # fmt: skip
        text = re.sub(pattern, instead, text, flags=re.DOTALL if "```" in pattern else 0)
    return text


def sentences(text: str) -> list[str]:
    """Of prose, those of three words or more."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    found = (s for part in paragraphs for s in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9\"(]|x\b)", part))
    return [s for s in found if len(words(s)) > 2]


def words(sentence: str) -> list[str]:
    """Of a sentence."""
    return re.findall(r"[A-Za-z0-9'’-]+", sentence)


def reading_ease(text: list[str]) -> float:
    """Flesch's reading ease of some sentences, with the syllables at which a word may be hyphenated."""
    hyphenation = pyphen.Pyphen(lang="en_US")
    found = [word for sentence in text for word in re.findall(r"[A-Za-z]+", sentence)]
    syllables = sum(len(hyphenation.positions(word.lower())) + 1 for word in found)
    return 206.835 - 1.015 * len(found) / len(text) - 84.6 * syllables / len(found)


def pages() -> dict[str, str]:
    """The prose of every page by its name."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {path.name: path.read_text("utf-8") for path in paths}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        found[path.name] = "\n\n".join(texts)
    return {name: prose(text) for name, text in found.items()}


def faults(texts: dict[str, str]) -> list[str]:
    """What breaks this project's rules, a line each."""
    found, lengths, ease = [], [], {}
    for name, text in texts.items():
        mine = sentences(text)
        lengths += [len(words(sentence)) for sentence in mine]
        ease[name] = reading_ease(mine)
        found += [
            f"{name}: {len(words(s))} words, at most {MOST_WORDS}: {s}"
            for s in mine
            if len(words(s)) > MOST_WORDS
        ]
        for pattern, instead in PRIVATE:
            for word in re.findall(rf"\b(?:{pattern})\b", text, re.IGNORECASE):
                found.append(f"{name}: {word!r}; say: {instead}")
    if median(lengths) > MOST_MEDIAN:
        found.append(f"the median sentence has {median(lengths)} words, at most {MOST_MEDIAN}")
    notebooks = [value for name, value in ease.items() if name.endswith(".ipynb")]
    for name, value in (("README.md", ease["README.md"]), ("the median notebook", median(notebooks))):
        if value < LEAST_EASE:
            found.append(f"{name}: reading ease {value:.0f}, at least {LEAST_EASE}")
    return found


def linted(texts: dict[str, str]) -> list[str]:
    """What proselint and codespell find."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in texts.items():
            paths.append(Path(folder, name).with_suffix(".txt"))
            paths[-1].write_text("\n\n".join(sentences(text)), "utf-8")
        settings = Path(folder, "proselint.json")
        settings.write_text(json.dumps({"checks": dict.fromkeys(PROSELINT_OFF, False)}), "utf-8")
        places = [*map(str, paths), *(str(ROOT / name) for name in SOURCE)]
        skip = "*.js,*.css,*.json,*.npz,*.safetensors,*.jpg,*.png,*.pyc"
        commands = (
            ["proselint", "check", "--config", str(settings), *map(str, paths)],
            ["codespell_lib", "--ignore-words-list", WORDS, "--skip", skip, *places],
        )
        found = []
        for command in commands:
            ran = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
            lines = [line.replace(f"{folder}/", "") for line in ran.stdout.splitlines() if line.strip()]
            if ran.returncode and not lines:
                lines = [f"{command[0]} failed: {ran.stderr[-500:]}"]
            found += lines
    return found


def main() -> int:
    """Print every fault; 1 if there is one."""
    texts = pages()
    found = [*faults(texts), *linted(texts)]
    print("\n".join(found) or f"{len(texts)} pages: no faults")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
