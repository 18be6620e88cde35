"""The API reference: a page for each part of the package, filled by Sphinx's autodoc."""

import ast
from pathlib import Path

from prose import overview, plain

LEFT_OUT = {"cli", "__main__"}  # the reference of `cli` is the page of commands
TEMPLATES = "recipe_files"  # a folder of files that are copied, not imported


def write_api(package: Path, out: Path) -> None:
    """Write a page for each part of the package, a folder or a single module, and `index.md`, their list."""
    modules: dict[str, list[str]] = {}  # part -> its modules below the package
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] not in LEFT_OUT | {"__init__"} and TEMPLATES not in parts:
            modules.setdefault(parts[0], []).append(".".join(parts).removesuffix(".__init__"))
    out.mkdir(parents=True)
    items = []
    for part, names in modules.items():
        sections = [
            f"{name}\n{'=-'[k > 0] * len(name)}\n\n.. automodule:: {package.name}.{name}\n"
            for k, name in enumerate(names)
        ]
        (out / f"{part}.rst").write_text("\n".join(sections), "utf-8")
        file = package / part / "__init__.py" if (package / part).is_dir() else package / f"{part}.py"
        about = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n\n")[0]
        items.append(f"[**{part}**]({part}.rst): {plain(about)}")
    text = (
        "A page for each part of `bdgan_lib`, from its docstrings. B, C, H, W in shapes are batch, channels, "
        "height and width; a `BdganError` is a `ValueError` whose line says what was expected, what it got "
        "and what to do next."
    )
    names = [f"{part} <{part}>" for part in modules]
    (out / "index.md").write_text(overview("API reference", text, items, names), "utf-8")
