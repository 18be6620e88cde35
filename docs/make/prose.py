"""Docstrings and comments as Markdown: plain text in which only `backticks` have a meaning."""

import ast
import re
from collections.abc import Callable, Collection, Iterator

WIDTH = 110  # columns of a line of code
Link = Callable[[str], str | None]  # a name in a text -> the full name of what it means, where that is known


def plain(text: str, link: Link = lambda name: None) -> str:
    """Escape what Markdown would read; `names` that `link` knows become links to their definitions."""

    def code(name: str) -> str:
        full = link(name.strip("`"))
        return f"{{py:obj}}`{name.strip('`')} <{full}>`" if full else name

    parts = re.split(r"(`[^`]+`)", text)  # every second one is code
    parts[0::2] = [re.sub(r"([\\*_<>\[\]#|{}~$^])", r"\\\1", part) for part in parts[0::2]]
    parts[1::2] = map(code, parts[1::2])
    return "".join(parts)


def blocks(node: ast.AST, parameters: Collection[str], link: Link) -> Iterator[str]:
    """Lines of Markdown of a definition's docstring.

    A line "name: ..." of one of the parameters begins an item of a list; indented lines and sessions (">>>")
    are code; a line that was broken before it was full ends a paragraph.
    """
    assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    for chunk in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
        lines = chunk.splitlines()
        if lines and lines[0] == "Args:":
            lines = [line[4:] for line in lines[1:]]
        if chunk.startswith((" ", ">>>")):
            yield from ("", "```python", *(line.removeprefix("    ") for line in lines), "```")
            continue
        for paragraph in _paragraphs(lines, parameters, WIDTH - node.body[0].col_offset):
            named = re.match(r"(\w+(?:, \w+)*): ", paragraph)
            listed = re.match(r"(-|\d+\.) ", paragraph)
            if named and set(named[1].split(", ")) <= set(parameters):
                yield from ("", f"- `{named[1]}`: " + plain(paragraph[named.end() :], link))
            elif listed:
                yield from ("", listed[0] + plain(paragraph[listed.end() :], link))
            else:
                yield from ("", plain(paragraph, link))


def _paragraphs(lines: list[str], parameters: Collection[str], width: int) -> Iterator[str]:
    """Lines that were broken for want of room, joined again; parameters and errors apart."""
    joined, last = "", width
    for number, line in enumerate(lines):
        full = last + 1 + len(line.split(" ", 1)[0]) > width
        ended = joined.endswith((".", ";", ":")) and not full and not line.startswith(" ")
        begins = line.partition(":")[0] in parameters or re.match(r"(-|\d+\.) ", line)
        joined += ("\n" if begins or ended else " ") + line.strip()
        last = len(line) + (3 if number == 0 else 0)  # the quotes stand before the first
    names = "|".join(parameters) or "$"
    yield from re.split(rf"\n|(?<=[.;]) (?=(?:{names}): )|(?<=\.) (?=BdganError )", joined.strip())


def overview(title: str, text: str, items: list[str], names: list[str]) -> str:
    """A page that lists others: a line for each, and their names for the table of contents."""
    contents = ["```{toctree}", ":hidden:", "", *names, "```"]
    return "\n".join([f"# {title}", "", text, "", *(f"- {item}" for item in items), "", *contents, ""])
