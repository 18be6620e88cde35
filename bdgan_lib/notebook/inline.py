"""Figures in notebooks: JPEG images with an alternative text."""

from typing import Any

from matplotlib.figure import Figure

_QUALITY = 75


def describe_figures() -> None:
    """Show every figure of this notebook as JPEG with `alt_text`; does nothing outside IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell: Any = get_ipython()  # type: ignore[no-untyped-call]
    if shell is None:
        return
    shell.run_line_magic("matplotlib", "inline")
    shell.run_line_magic("config", 'InlineBackend.figure_formats = ["jpeg"]')
    shell.display_formatter.formatters["image/jpeg"].for_type(Figure, _described)


def alt_text(figure: Figure) -> str:
    """A figure's alternative text: its titles, axis labels, lines and rows."""
    heads = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    parts = [text for text in heads if text]
    for axes in figure.axes:
        parts += [label for label in (axes.get_xlabel(), axes.get_ylabel()) if label]
        parts += [str(label) for label in axes.get_legend_handles_labels()[1]]
        ticks = [tick.get_text() for tick in axes.get_yticklabels()]
        parts += [tick for tick in ticks if any(map(str.isalpha, tick)) and "$" not in tick]
    words = dict.fromkeys(" ".join(text.split()) for text in parts)
    return "Figure: " + "; ".join(words) if words else "Figure without a title"


def _described(figure: Figure) -> tuple[str, dict[str, str]]:
    from IPython.core.pylabtools import print_figure

    picture = print_figure(figure, fmt="jpeg", base64=True, pil_kwargs={"quality": _QUALITY})
    return str(picture), {"alt": alt_text(figure)}
