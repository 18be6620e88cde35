"""On Colab: installs this project beside the packages that are there, and allows custom widgets.

    %run /content/bdgan_lib/ci/colab.py          in a notebook: the first cell of each does this
    python ci/colab.py [--repository ADDRESS]    writes the repository's address into all files that name it,
                                                 and for one on GitHub a badge and links that open
                                                 the notebooks in Colab, Kaggle and Binder

The address stands in pyproject.toml (`project.urls`); with --repository it is changed there first.
Colab's own torch, torchvision and numpy keep their versions: they match its GPU drivers.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = ("torch", "torchvision", "torchaudio", "numpy")
CELL = """\
# Only on Colab: install the project beside the torch that is there.
import sys

if "google.colab" in sys.modules:
    !test -d /content/bdgan_lib || git clone -q --depth 1 {repository} /content/bdgan_lib
    %run /content/bdgan_lib/ci/colab.py"""
HOSTS = {  # of notebooks on GitHub
    "Colab": "https://colab.research.google.com/github/{owner}/blob/main/notebooks/{name}",
    "Kaggle": "https://www.kaggle.com/kernels/welcome?src=https://github.com/{owner}/blob/main/notebooks/{name}",
    "Binder": "https://mybinder.org/v2/gh/{owner}/main?labpath=notebooks%2F{name}",
}
LINK = f"[▶ Open in Colab]({HOSTS['Colab']})"
UNHOSTED = (
    "example.org is a placeholder: Colab links appear with the address on GitHub "
    "([how](CONTRIBUTING.md#releasing))."
)
HOSTED = "The page about Colab says [what each of the three needs](docs/imagenet.md#colab-kaggle-and-binder)."
BADGE = "[![tests]({repository}/actions/workflows/tests.yml/badge.svg)]({repository}/actions)"


def repository_address(root: Path = ROOT) -> str:
    """The repository's address: `Repository` under `project.urls` in pyproject.toml."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]


def pinned_versions() -> list[str]:
    """Constraints for pip: the installed versions of `PINNED`."""
    constraints = []
    for name in PINNED:
        try:
            constraints.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return constraints


def install(root: Path) -> None:
    """Install the project (editable, so its assets are found) and its dependencies.

    Raises:
        RuntimeError: pip failed; the message quotes pip's last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(pinned_versions()) + "\n", "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                   "--constraint", str(constraints), "--editable", f"{root}[vqgan,widget]"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"the installation failed ({last}); restart the session and run this cell again")


def prepare(root: Path) -> None:
    """Install, make the package importable in this kernel, allow widgets, enter the notebooks' folder."""
    install(root)
    sys.path.insert(0, str(root))
    os.chdir(root / "notebooks")
    from google.colab import output

    output.enable_custom_widget_manager()


def write_address(root: Path, repository: str) -> None:
    """Write the address into pyproject.toml, CITATION.cff, the Markdown pages and the notebooks' Colab cells.

    If the address is on GitHub, the README gets a badge and links that open the notebooks, and each notebook
    a link to Colab; otherwise these are removed.
    """
    old = repository_address(root)
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    for path in (root / "pyproject.toml", root / "CITATION.cff", *pages):
        path.write_text(path.read_text("utf-8").replace(old, repository), "utf-8")
    on_github = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", repository)
    owner = on_github[1] if on_github else ""
    readme = root / "README.md"
    badge = BADGE.format(repository=f"https://github.com/{owner}") if owner else ""
    page = _below_title(readme.read_text("utf-8"), "[![tests](", badge)
    readme.write_text(_with_links(page, owner), "utf-8")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            if "colab" in cell["metadata"].get("tags", []):
                cell["source"] = CELL.format(repository=repository).splitlines(keepends=True)
        link = LINK.format(owner=owner, name=path.name) if owner else ""
        head = _below_title("".join(notebook["cells"][0]["source"]), "[▶ Open in Colab](", link)
        notebook["cells"][0]["source"] = head.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _below_title(text: str, start: str, line: str) -> str:
    """The text with `line` below its title in place of the line that begins with `start`; "": without."""
    text = re.sub(rf"\n\n{re.escape(start)}\S+", "", text, count=1)
    return re.sub(r"^# .*$", rf"\g<0>\n\n{line}", text, count=1, flags=re.MULTILINE) if line else text


def _with_links(readme: str, owner: str) -> str:
    """The README with a third column in its table of notebooks: links that open each; owner "": without."""

    def row(match: re.Match[str]) -> str:
        links = " ".join(
            f"[{host}]({link.format(owner=owner, name=match[2])})" for host, link in HOSTS.items()
        )
        return f"{match[1]} {links} |" if owner else match[1]

    head = r"\g<1> open in |\n\g<2>---|" if owner else r"\g<1>\n\g<2>"
    readme = re.sub(r"(?m)^(\| notebook \| question \|).*\n(\|---\|---\|).*$", head, readme)
    readme = re.sub(r"(?m)^(\| \[[^\]]*\]\(notebooks/([\w.-]+\.ipynb)\) \| [^|]* \|).*$", row, readme)
    return readme.replace(UNHOSTED, HOSTED) if owner else readme.replace(HOSTED, UNHOSTED)


if __name__ == "__main__":
    if "google.colab" in sys.modules:
        prepare(ROOT)
    else:
        about = "Write the repository's address into all files that name it."
        parser = argparse.ArgumentParser(description=about)
        parser.add_argument("--repository", default=repository_address(), help="a new address")
        write_address(ROOT, parser.parse_args().repository)
