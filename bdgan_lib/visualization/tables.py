"""Tables as Markdown and as figures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

Row = Mapping[str, object]  # column -> value, printed with str(); all rows have the same columns


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; the keys are the header."""
    body = [[str(value) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def picture(rows: Sequence[Row], title: str = "") -> Figure:
    """Rows as a figure: the first column left-aligned, a rule below the header."""
    cells = [list(map(str, rows[0])), *([str(value) for value in row.values()] for row in rows)]
    width_of = lambda cell: max(map(len, cell.split("\n"))) + 2
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    heights = [max(cell.count("\n") + 1 for cell in line) for line in cells]
    figure, axes = plt.subplots(figsize=(max(3.0, 0.075 * sum(widths)), 0.24 * sum(heights) + 0.4))
    y, total = 0.0, sum(widths)
    for number, (line, height) in enumerate(zip(cells, heights, strict=True)):
        x = 0
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            at, side = (x, "left") if column == 0 else (x + width / 2, "center")
            weight = "bold" if number == 0 else "normal"
            axes.text(at, y + height / 2, cell, ha=side, va="center", fontsize=8, weight=weight)
            x += width
        y += height
        if number in (0, len(cells) - 1):
            axes.axhline(y, color="#222222", linewidth=0.8)
    axes.axhline(0, color="#222222", linewidth=0.8)
    axes.set(xlim=(0, total), ylim=(y + 0.1, -0.1))
    axes.set_title(title, fontsize=10)
    axes.axis("off")
    figure.tight_layout()
    return figure
