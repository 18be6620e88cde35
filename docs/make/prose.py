"""Texts as Markdown: plain text in which only `backticks` have a meaning."""

import re


def plain(text: str) -> str:
    """Escape what Markdown would read, but for `code`."""
    parts = re.split(r"(`[^`]+`)", text)  # every second one is code
    parts[0::2] = [re.sub(r"([\\*_<>\[\]#|{}~$^])", r"\\\1", part) for part in parts[0::2]]
    return "".join(parts)


def overview(title: str, text: str, items: list[str], names: list[str]) -> str:
    """A page that lists others: a line for each, and their names for the table of contents."""
    contents = ["```{toctree}", ":hidden:", "", *names, "```"]
    return "\n".join([f"# {title}", "", text, "", *(f"- {item}" for item in items), "", *contents, ""])
