"""Docstrings and comments as Markdown: plain text in which `backticks` mean code and nothing else has a meaning."""

import ast
import re
from collections.abc import Callable, Collection, Iterator

WIDTH = 110  # columns of a line of code
Link = Callable[[str], str | None]


def plain(text: str, link: Link = lambda name: None) -> str:
    """Escape what Markdown would read; `names` that `link` knows become links to their definitions."""

    def code(match: re.Match[str]) -> str:
        full = link(match[1])
        return f"{{py:obj}}`{match[1]} <{full}>`" if full else match[0]

    parts = re.split(r"(`[^`]+`)", text)
    for k, part in enumerate(parts):
        parts[k] = re.sub("`(.+)`", code, part) if k % 2 else re.sub(r"([\\*_<>\[\]#|{}~$^])", r"\\\1", part)
    return "".join(parts)


def blocks(node: ast.AST, parameters: Collection[str], link: Link) -> Iterator[str]:
    """Lines of Markdown of a definition's docstring.

    A line "name: ..." of one of the parameters begins an item of a list; indented lines and sessions (">>>") are
    code; a line that was broken before it was full ends a paragraph.
    """
    text = ast.get_docstring(node) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else None
    if not text:
        return
    indent = node.body[0].col_offset  # type: ignore[attr-defined]
    for chunk in re.split(r"\n\s*\n", text):
        lines = chunk.splitlines()
        if lines[0] == "Args:":
            lines = [line[4:] for line in lines[1:]]
        if all(line.startswith("    ") for line in lines) or lines[0].startswith(">>>"):
            yield from ("", "```python", *(line.removeprefix("    ") for line in lines), "```")
            continue
        for paragraph in _paragraphs(lines, parameters, WIDTH - indent):
            item = re.match(r"(\w+(?:, \w+)*): ", paragraph)
            if item and set(item[1].split(", ")) <= set(parameters):
                yield from ("", f"- `{item[1]}`: " + plain(paragraph[item.end() :], link))
            elif number := re.match(r"(-|\d+\.) ", paragraph):
                yield from ("", number[0] + plain(paragraph[number.end() :], link))
            else:
                yield from ("", plain(paragraph, link))


def _paragraphs(lines: list[str], parameters: Collection[str], width: int) -> Iterator[str]:
    """Lines that were broken for want of room are joined again."""
    paragraph = lines[0]
    last = len(paragraph) + 3
    for line in lines[1:]:
        words = line.split(" ", 1)[0]
        full = last + 1 + len(words) > width
        begins = line.partition(":")[0] in parameters or re.match(r"(-|\d+\.) ", line)
        if begins or (not full and paragraph.endswith((".", ";", ":")) and not line.startswith(" ")):
            yield paragraph
            paragraph = line
        else:
            paragraph += " " + line.strip()
        last = len(line)
    yield paragraph
