"""Builds the site offline, warnings as errors.

    python docs/make [--out runs/site] [--figures DIR]

The page that runs the model needs a package from npm, fetched once (docs/make/runtime.py) or left out.
The source is gathered in a temporary folder: the pages of docs/, notebooks as chapters, the references of
library and command line, the gallery, tables of shipped results. Sphinx makes HTML of that.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(prog="ci/site.sh", description="Build the project's site, offline.")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/site", help="where the site goes")
    parser.add_argument("--figures", type=Path, help="a folder of `bdgan figures`; else they are drawn now")
    options = parser.parse_args()
    out = options.out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / ".buildinfo").exists():
        sys.exit(f"error: {out} holds something other than a site; choose another folder")
    figures = options.figures or drawn(out.with_name(f"{out.name}-figures"))
    source = Path(tempfile.mkdtemp(prefix="bdgan-site-"))
    gather(source, figures)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto"]
    places = ["-d", source / "doctrees", source / "docs", source / "html"]
    if subprocess.run([*command, *map(str, places)]).returncode:
        sys.exit(f"error: the site has mistakes, listed above; its source is {source}")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source / "html", out)
    shutil.rmtree(source)
    print(out / "index.html")


def drawn(folder: Path) -> Path:
    """The figures, drawn now by `bdgan figures`."""
    command = [sys.executable, "-m", "bdgan_lib.cli", "figures", "--profile", "pocket", "--out", str(folder)]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("error: the figures could not be drawn; give a folder of them with --figures DIR")
    return folder


def gather(source: Path, figures: Path) -> None:
    """Write all that Sphinx reads into an empty folder; its places are those of the repository."""
    from api import write_api
    from chapters import write_chapters
    from commands import write_commands
    from gallery import write_gallery
    from measured import table
    from model_page import write_model_page

    docs = source / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("make", "__pycache__"))
    shutil.copytree(ROOT / "assets/figures", source / "assets/figures")
    shutil.copy(ROOT / "pyproject.toml", source)
    write_chapters(ROOT / "notebooks", docs / "chapters")
    write_api(ROOT / "bdgan_lib", docs / "api")
    write_commands(docs / "commands.md")
    write_gallery(figures, docs)
    plays = write_model_page(docs)

    def notebook(name: str) -> str:
        """A line that leads to a notebook, where there is one."""
        there = (docs / f"chapters/{name}.ipynb").exists()
        return f"A worked example: [notebook {name}](chapters/{name}.ipynb)." if there else ""

    def play(text: str) -> str:
        """A text that leads to the page of the model, where there is one."""
        return text if plays else ""

    makers = {"table": table, "notebook": notebook, "play": play}

    for page in docs.glob("*.md"):  # a line "% table: NAME" stands for what is made
        text = page.read_text("utf-8")
        made = re.sub(rf"(?m)^% ({'|'.join(makers)}): (.+)$", lambda line: makers[line[1]](line[2]), text)
        page.write_text(made, "utf-8")


if __name__ == "__main__":
    main()
