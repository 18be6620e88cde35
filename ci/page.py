"""The pages of a run: one HTML file per notebook; index.html with cards and the table of figures."""

import html
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbformat import NotebookNode
from run_folder import RunFolder, write

# name: (lower or upper bound, the bar, what it measures)
BARS = {
    "tutorial.seconds": ("≤", 600, "all notebooks, after installation, on two cores"),
    "pocket.frechet": ("≤", 0.005, "Fréchet distance to rendered images, over the trace of their covariance"),
    "pocket.shape_diversity": ("≥", 0.95, "1 − IoU of two foregrounds of a class, generated over rendered"),
    "pocket.sample_class_accuracy": ("≥", 0.99, "samples a classifier takes for the class asked for"),
    "head.fgbg_miou": ("≥", 0.94, "label head against the oracle, 5 labels per class, 1,000 fresh samples"),
    "worth.gain_miou": ("≥", 0.10, "all-class mIoU: BigGAN-sim minus its 60 annotated samples (shipped)"),
}
STYLE = (  # progress bars and warnings come on stderr, which JupyterLab shows on red
    '<style>.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]'
    "{background:transparent;opacity:.75}</style>"
)
VERDICTS = {True: ("met", "✓ met"), False: ("missed", "✗ missed"), None: ("free", "–")}
STATUS = {"done": "done", "failed": "failed", "pending": "not run yet"}


def write_html(executed: NotebookNode, path: Path, names: Collection[str]) -> None:
    """Write an executed notebook to `path` (.ipynb) and, self-contained, beside it as .html.

    names: of the notebooks that have pages beside it; links to others become text.
    """
    from nbconvert import HTMLExporter

    for cell in executed.cells:  # a widget that has died is shown by its picture
        for data in [output.get("data", {}) for output in cell.get("outputs", ())]:
            if any(kind.startswith("image/") for kind in data):
                data.pop("application/vnd.jupyter.widget-view+json", None)
    write(path, nbformat.writes(executed))
    exporter = HTMLExporter(template_name="lab")  # embedding images would close <details> before its content
    page, _ = exporter.from_notebook_node(executed, {"metadata": {"name": title_of(executed) or path.stem}})
    back = (
        STYLE + '<p style="margin:1rem;font-family:system-ui"><a href="../index.html">← all notebooks</a></p>'
    )
    page = re.sub(r"(<body[^>]*>)", lambda body: body[0] + back, page, count=1)
    page = re.sub(
        r'<a href="([\w.%-]+)\.ipynb((?:#[^"]*)?)"[^>]*>(.*?)</a>',
        lambda link: (
            f'<a href="{link[1]}.html{link[2]}">{link[3]}</a>' if unquote(link[1]) in names else link[3]
        ),
        page,
    )
    write(path.with_suffix(".html"), _without_remote_scripts(page))


def _without_remote_scripts(page: str) -> str:
    """Drop scripts that load from elsewhere (MathJax, RequireJS, widgets): pages are read offline."""

    def keep(script: re.Match[str]) -> str:
        from_elsewhere = r"""src\s*=\s*["'](https?:)?//|https://(cdnjs|cdn\.jsdelivr|unpkg)"""
        return "" if re.search(from_elsewhere, script[0]) else script[0]

    return re.sub(r"<script\b[^>]*>.*?</script>", keep, page, flags=re.DOTALL)


def write_index(run: RunFolder, summary: dict, sources: Path) -> None:
    """Write index.html. sources: the folder of the notebooks, for the titles of those not run yet."""
    cards = []
    for entry in run.entries:
        executed = run.notebook(entry.name)
        ran = executed.exists() and entry.status != "pending"
        notebook = nbformat.read(executed if ran else sources / f"{entry.name}.ipynb", as_version=4)
        title, cover = title_of(notebook) or entry.name, cover_of(notebook) if ran else None
        cards.append((entry, title, _inline(goal_of(notebook)), cover, ran))
    done = sum(entry.status == "done" for entry in run.entries)
    facts = [
        f"{done} of {len(run.entries)} notebooks",
        _duration(summary["seconds"]),
        f"profile {summary['profile']}",
        f"Python {summary['python']}",
        run.path.name.replace("T", " ").replace("-", ":").replace(":", "-", 2).replace("Z", " UTC"),
    ]
    if summary["commit"]:
        sha, _, changes = summary["commit"].partition("+")
        facts.append(f"commit {sha[:10]}{' with changes' if changes else ''}")
    folder = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    shown = {"facts": facts, "cards": cards, "rows": _rows(summary), "cached": summary["cached"]}
    page = pages.get_template("index.html.j2").render(shown, status=STATUS, duration=_duration)
    write(run.path / "index.html", page)


def _rows(summary: dict) -> list[tuple[str, ...]]:
    """Kind, name, meaning, value, bar and verdict of every metric."""
    metrics = summary["metrics"]
    rows = []
    for name in [*BARS, *sorted(set(metrics) - set(BARS))]:
        sign, bar, meaning = BARS.get(name, ("", None, ""))
        value = metrics.get(name)
        met = None if value is None or bar is None else (value <= bar if sign == "≤" else value >= bar)
        if name == "tutorial.seconds" and not summary["finished"]:
            met = None  # a part of the notebooks says nothing about all of them
        kind, verdict = VERDICTS[met]
        value_text = "–" if value is None else f"{value:.4g}"
        rows.append((kind, name, meaning, value_text, "–" if bar is None else f"{sign} {bar:g}", verdict))
    return rows


def title_of(notebook: NotebookNode) -> str:
    """The text after "# " in the first markdown cell that has it; "" without one."""
    for cell in notebook.cells:
        heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if heading and "papermill-error-cell-tag" not in cell.metadata.get("tags", []):
            return re.sub(r"[*`]", "", heading[1]).strip()
    return ""


def goal_of(notebook: NotebookNode) -> str:
    """The first paragraph of prose, in markdown, without a leading "Goal:"."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            break
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue
        for paragraph in re.split(r"\n\s*\n", re.sub(r"^#+ .*$", "\n", cell.source, flags=re.MULTILINE)):
            text = " ".join(paragraph.split())
            if text and not re.match(r"[|!<>]|[-*+] |\d+\. ", text):
                return re.sub(r"^\**goal\b[.:]?\**[.:]?\s*", "", text, flags=re.IGNORECASE)
    return ""


def cover_of(notebook: NotebookNode) -> str | None:
    """A data URI: the picture of the cell tagged "cover", otherwise the first picture of all."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in sorted(cells, key=lambda cell: "cover" not in cell.metadata.get("tags", [])):
        for output in cell.outputs:
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    return f"data:{kind};base64,{''.join(output['data'][kind].split())}"
    return None


def _inline(markdown: str) -> Markup:
    """Bold, emphasis, code and link texts of one paragraph; everything else is shown as written."""
    text = html.escape(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown), quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return Markup(re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", text))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
