"""Sphinx's settings. The pages it reads are gathered by docs/make; see `bash ci/site.sh --help`."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import bdgan_lib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
repository = tomllib.loads(_pyproject.read_text("utf-8"))["project"]["urls"]["Repository"]

project = "bdgan_lib"
author = "The bdgan_lib authors"
html_title = "bdgan_lib"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed as they ran
nb_ipywidgets_js = {}  # widgets need a kernel, and their scripts would come from elsewhere
nb_merge_streams = True

autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autoclass_content = "both"
napoleon_numpy_docstring = False
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
smartquotes = False  # quotes and dashes stand as they were written

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7cb7f5", "color-brand-content": "#7cb7f5"},
    "top_of_page_buttons": [],
    "footer_icons": [{"name": "Repository", "url": repository, "html": "Repository", "class": ""}],
}

COLON = "\ue000"  # stands for a colon, of no Unicode character


def restructured(docstring: str) -> str:
    """A docstring as reStructuredText: `code`, lists, indented code and Google sections have a meaning."""
    if docstring.startswith(("Create new instance of ", "Alias for field number ")):  # of a NamedTuple
        return ""
    chunks = []
    for chunk in re.split(r"\n\s*\n", docstring):
        if chunk.startswith((" ", ">>>")):
            chunks.append(chunk if chunk.startswith(">>>") else f"::\n\n{chunk}")
            continue
        parts = re.split(r"`([^`]+)`", chunk)  # every second one is code
        parts[0::2] = [re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part) for part in parts[0::2]]
        for k in range(1, len(parts), 2):
            name = re.fullmatch(r"[\w.]+(\(\))?", parts[k])
            before = "" if re.search(r"(^|[\s(])$", parts[k - 1]) else r"\ "  # a role stands between spaces
            after = "" if re.match(r"[\s.,;:)]|$", parts[k + 1]) else r"\ "
            parts[k] = before + (f":py:obj:`{parts[k]}`" if name else f"``{parts[k]}``") + after
        text = "".join(parts)
        if not re.match(r"(-|\d+\.) |\w+:\n", text):  # no list, no section: a paragraph
            text = re.sub(r"\n +", "\n", text)
        chunks.append(text)
    return "\n\n".join(chunks)


def _before_napoleon(_app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = restructured("\n".join(lines)).split("\n")
    if what in ("attribute", "data", "property"):  # whose first line "a: b" napoleon takes for a type
        lines[0] = lines[0].replace(":", COLON)


def _after_napoleon(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(COLON, ":") for line in lines]


def _process_signature(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Arrays as they are written, `NDArray[uint8]`; protocols without the arguments that nobody passes."""
    if what == "class" and arguments == "(*args, **kwargs)":
        arguments = ""
    array = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[~?([^][]+)\]\]")
    shorten = lambda text: text and array.sub(r"NDArray[\1]", text)
    return shorten(arguments), shorten(returns)


def _skip_imported(_app: Any, _what: str, _name: str, value: Any, _skip: bool, _options: Any) -> bool | None:
    imported = inspect.isroutine(value) and not (value.__module__ or project).startswith(project)
    return True if imported else None


def setup(app: Sphinx) -> None:
    """Let autodoc read comments behind fields and constants, and docstrings that are no reStructuredText."""
    package = Path(bdgan_lib.__file__).parent
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        source = re.sub(r"(?<=\S)  # (?!noqa|fmt:|type:)", "  #: ", path.read_text("utf-8"))
        ModuleAnalyzer.cache["module", name] = ModuleAnalyzer.for_string(source, name, str(path))
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("autodoc-process-signature", _process_signature)
    app.connect("autodoc-skip-member", _skip_imported)
